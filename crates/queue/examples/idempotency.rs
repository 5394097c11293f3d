//! Requests that are sent twice, because their caller does not know whether the first one arrived:
//! one job, one answer. `cargo run -p sluice-queue --example idempotency -- redis://127.0.0.1:6379`

mod common;

use common::{Done, connect, result, work};
use sluice_queue::{Idempotency, NewJob, QueueError};

/// What a caller sends, with a key that it has made up for this order.
fn order(key: &str, goods: &str) -> Result<NewJob, QueueError> {
    Ok(NewJob {
        idempotency: Some(Idempotency {
            key: key.into(),
            fingerprint: goods.into(),
        }),
        ..NewJob::new("orders", &goods)?
    })
}

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "orders", async |_| Ok("sent"));
    let first = queues.enqueue(order("17", "a book")?).await?;
    println!("{}", result::<String>(queues, &first.id).await?);

    // For 24 h the key answers with the first job and its result, though that has ended long ago.
    let again = queues.enqueue(order("17", "a book")?).await?;
    assert!(again.existing && again.id == first.id);
    println!("{}", result::<String>(queues, &again.id).await?);

    // The same key for something else is a mistake of the caller.
    match queues.enqueue(order("17", "two books")?).await {
        Err(error @ QueueError::IdempotencyKeyReused { .. }) => println!("{error}"),
        other => return Err(format!("not refused: {other:?}").into()),
    }
    Ok(())
}

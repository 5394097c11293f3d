//! Jobs that are there once: by key, by arguments, for a period, in which states; and requests that are sent twice.
//! `cargo run -p sluice-queue --example unique -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::Done;
use serde_json::json;
use sluice_queue::{Idempotency, JobFilter, NewJob, Queues, State, Unique};

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::main]
async fn main() -> Done {
    run(&common::connect().await?).await
}

pub(crate) async fn run(queues: &Queues) -> Done {
    for unique in [
        Unique::by_key("report of ann"),
        Unique::by_payload(),
        Unique::by_fields(["user"]),
        Unique::by_fields(["user"]).or_completed(),
        Unique::by_key("whatever became of it").in_any_state(),
        Unique::by_key("hourly").per(HOUR),
    ] {
        let report = NewJob {
            unique: Some(unique),
            delay: Some(HOUR),
            ..NewJob::new("reports", &json!({ "user": "ann", "format": "pdf" }))?
        };
        let first = queues.enqueue(report.clone()).await?;
        let second = queues.enqueue(report).await?;
        assert!(second.existing && second.id == first.id);
        println!("the second one is {}", second.id);
        queues.delete(&first.id).await?;
    }

    // A caller that does not know whether its request arrived sends it again, with the same key.
    let order = NewJob {
        idempotency: Some(Idempotency {
            key: "order 17".into(),
            fingerprint: "what was ordered".into(),
        }),
        delay: Some(HOUR),
        ..NewJob::new("reports", &"order")?
    };
    let first = queues.enqueue(order.clone()).await?;
    assert_eq!(queues.enqueue(order).await?.id, first.id);
    let left = JobFilter::new("reports", State::Scheduled);
    println!("{} left, deleted", queues.delete_all(&left).await?);
    Ok(())
}

//! Pausing a queue for all workers, and draining this process.
//! `cargo run -p sluice-queue --example pause -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, answer, result, work};
use sluice_queue::{NewJob, Queues};

#[tokio::main]
async fn main() -> Done {
    run(&common::connect().await?).await
}

pub(crate) async fn run(queues: &Queues) -> Done {
    work(queues, "night", async |_| answer(&"done"));
    queues.pause("night").await?;
    let id = queues.enqueue(NewJob::new("night", &"sleep")?).await?.id;
    let early = queues.wait(&id, Duration::from_millis(300)).await?;
    assert!(early.is_none(), "a paused queue gives out nothing");
    queues.resume("night").await?;
    println!("{}", result(queues, &id).await?);

    // Nothing more is fetched; what runs has a second to end, else it goes back without an attempt counted.
    queues.drain(Duration::from_secs(1)).await;
    println!("drained");
    Ok(())
}

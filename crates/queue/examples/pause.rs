//! Pausing a queue for all workers.
//! `cargo run -p sluice-queue --example pause -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect, result, work};
use sluice_queue::NewJob;

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "night", async |_| Ok("done"));
    queues.pause("night").await?;
    let id = queues.enqueue(NewJob::new("night", &"sleep")?).await?.id;
    let early = queues.wait(&id, Duration::from_millis(300)).await?;
    assert!(early.is_none(), "a paused queue gives out nothing");
    queues.resume("night").await?;
    println!("{}", result::<String>(queues, &id).await?);
    Ok(())
}

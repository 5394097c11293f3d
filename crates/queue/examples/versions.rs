//! New payloads while old workers still run: they leave them to newer ones.
//! `cargo run -p sluice-queue --example versions -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect, result, work_as};
use sluice_queue::{NewJob, WorkerConfig};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let knowing = |version, name: &str| WorkerConfig {
        version,
        ..WorkerConfig::new(name, 1)
    };
    work_as(queues, "upgrade", knowing(1, "old"), async |_| Ok("old"));
    let new = NewJob {
        version: 2,
        ..NewJob::new("upgrade", &"in the new shape")?
    };
    let id = queues.enqueue(new).await?.id;
    let early = queues.wait(&id, Duration::from_millis(300)).await?;
    assert!(early.is_none(), "the old worker leaves it alone");
    work_as(queues, "upgrade", knowing(2, "new"), async |_| Ok("new"));
    println!("run by the {} worker", result::<String>(queues, &id).await?);
    Ok(())
}

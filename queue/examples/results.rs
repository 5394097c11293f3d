//! Enqueueing a job and waiting for its result; priority and delay.
//! `cargo run -p sluice-queue --example results -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, answer, fatal, result, work};
use sluice_queue::{NewJob, Queues};

#[tokio::main]
async fn main() -> Done {
    run(&common::connect().await?).await
}

pub(crate) async fn run(queues: &Queues) -> Done {
    work(queues, "greet", async |running| {
        let name: String = running.payload().map_err(fatal)?;
        answer(&format!("hello {name}"))
    });
    let job = queues.enqueue(NewJob::new("greet", &"you")?).await?;
    println!("{}", result(queues, &job.id).await?);

    // 0 runs first, 9 last; 5 is usual.
    let urgent = NewJob {
        priority: 0,
        delay: Some(Duration::from_millis(200)),
        ..NewJob::new("greet", &"you, a little later")?
    };
    let job = queues.enqueue(urgent).await?;
    println!("{}", result(queues, &job.id).await?);
    Ok(())
}

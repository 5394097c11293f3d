//! How often a job is tried and how long it waits in between; what is tried again and what is not.
//! `cargo run -p sluice-queue --example retries -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, PATIENCE, connect, result, work};
use sluice_queue::{Backoff, JobError, NewJob, Running};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "flaky", async |running: Running| {
        match running.payload::<String>()?.as_str() {
            "no" => Err(JobError::refuse(&"no")),
            "never" => Err(JobError::Fatal("it cannot ever succeed".into())),
            _ if running.attempt() < 4 => Err(JobError::Retry("the other side is away".into())),
            _ => Ok(running.attempt()),
        }
    });

    // Tried until it succeeds, with pauses that grow by half: about 10, 15, 22 ms.
    let stubborn = NewJob {
        max_attempts: None,
        backoff: Some(Backoff::Growing {
            first: Duration::from_millis(10),
            max: Duration::from_secs(60),
            growth: 1.5,
            jitter: 0.2,
        }),
        ..NewJob::new("flaky", &"at last")?
    };
    let job = queues.enqueue(stubborn).await?;
    println!(
        "succeeded in attempt {}",
        result::<u32>(queues, &job.id).await?
    );

    // Tried twice, the second time after exactly 10 ms; then it is a dead letter.
    let listed = NewJob {
        max_attempts: Some(2),
        backoff: Some(Backoff::Listed(vec![Duration::from_millis(10)])),
        ..NewJob::new("flaky", &"too late")?
    };
    for job in [
        listed,
        NewJob::new("flaky", &"never")?,
        NewJob::new("flaky", &"no")?,
    ] {
        let id = queues.enqueue(job).await?.id;
        println!("{:?}", queues.wait(&id, PATIENCE).await?);
    }
    Ok(())
}

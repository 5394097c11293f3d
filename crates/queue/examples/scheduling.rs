//! Jobs for later: after a delay, or at a time by the clock, to the millisecond; in a chain too.
//! `cargo run -p sluice-queue --example scheduling -- redis://127.0.0.1:6379`

mod common;

use std::time::{Duration, SystemTime};

use common::{Done, connect, result, work};
use sluice_queue::{JobId, NewJob, Queues};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "later", async |_| Ok("done"));
    let delayed = NewJob {
        delay: Some(Duration::from_millis(200)),
        ..NewJob::new("later", &"after a while")?
    };
    let at = |run_at| -> Result<_, sluice_queue::QueueError> {
        Ok(NewJob {
            run_at: Some(run_at),
            ..NewJob::new("later", &"at its time")?
        })
    };
    let soon = SystemTime::now() + Duration::from_millis(400);
    // The server's clock decides. What is past by then starts at once.
    for job in [delayed.clone(), at(soon)?, at(SystemTime::UNIX_EPOCH)?] {
        report(queues, &queues.enqueue(job).await?.id).await?;
    }

    // Later in a chain a delay is the pause behind the job before, and a time holds as well: not
    // before it.
    let soon = SystemTime::now() + Duration::from_millis(400);
    let chain = [NewJob::new("later", &"first")?, delayed, at(soon)?];
    for id in queues.enqueue_chain(&chain).await?.jobs {
        report(queues, &id).await?;
    }
    Ok(())
}

async fn report(queues: &Queues, id: &JobId) -> Done {
    result::<String>(queues, id).await?;
    let job = queues.get(id).await?.ok_or("the job is gone")?;
    let started = job.started_at.ok_or("it did not start")?;
    println!(
        "{} was due {} ms after it was added, and started {} ms later",
        job.payload,
        job.run_at - job.created_at,
        started - job.run_at
    );
    Ok(())
}

//! Many jobs at once: adding them in few round trips, finding dead letters, retrying and deleting by a filter.
//! `cargo run -p sluice-queue --example bulk -- redis://127.0.0.1:6379`

mod common;

use common::{Done, PATIENCE, fatal, work};
use sluice_queue::{JobFilter, NewJob, Queues, Running, State};

#[tokio::main]
async fn main() -> Done {
    run(&common::connect().await?).await
}

pub(crate) async fn run(queues: &Queues) -> Done {
    work(queues, "bulk", async |_: Running| {
        Err(fatal("the disk is full"))
    });
    let mut jobs = Vec::new();
    for n in 0..500 {
        jobs.push(NewJob::new("bulk", &n)?);
    }
    for added in queues.enqueue_all(&jobs).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    let page = queues.list("bulk", State::Dead, 0, 3).await?;
    for job in page {
        println!("{}: {}", job.id, job.errors[0].message);
    }
    let full_disk = JobFilter {
        error: Some("disk is full".into()),
        ..JobFilter::new("bulk", State::Dead)
    };
    queues.pause("bulk").await?;
    println!("{} retried", queues.retry_all(&full_disk).await?);
    let waiting = JobFilter::new("bulk", State::Available);
    println!("{} cancelled", queues.cancel_all(&waiting).await?);
    let cancelled = JobFilter::new("bulk", State::Cancelled);
    println!("{} deleted", queues.delete_all(&cancelled).await?);
    queues.resume("bulk").await?;
    Ok(())
}

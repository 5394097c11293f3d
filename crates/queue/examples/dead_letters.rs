//! Jobs that end as dead letters, and what operators do about them: look, retry and delete by a
//! filter. `cargo run -p sluice-queue --example dead_letters -- redis://127.0.0.1:6379`

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::{Done, PATIENCE, connect, work};
use sluice_queue::{Backoff, JobError, JobFilter, NewJob, Running, State};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let has_room = Arc::new(AtomicBool::new(false));
    let room = has_room.clone();
    work(queues, "store", move |running: Running| {
        let has_room = room.load(Ordering::SeqCst);
        async move {
            match running.payload::<String>()?.as_str() {
                "malformed" => Err(JobError::Fatal("it has no title".into())),
                _ if has_room => Ok("stored"),
                _ => Err(JobError::Retry("the disk is full".into())),
            }
        }
    });
    // One cannot ever succeed; the others have used up their attempts.
    let mut jobs = Vec::new();
    for (payload, user) in [("malformed", "ann"), ("page", "ann"), ("page", "bob")] {
        jobs.push(NewJob {
            user: Some(user.into()),
            max_attempts: Some(2),
            backoff: Some(Backoff::Listed(vec![Duration::from_millis(10)])),
            ..NewJob::new("store", &payload)?
        });
    }
    for added in queues.enqueue_all(&jobs).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    for job in queues.list("store", State::Dead, 0, 100).await? {
        let last = job.errors.last().ok_or("no error")?;
        let (user, attempts) = (job.user.unwrap_or_default(), job.attempts);
        println!("{user}: {}, attempt {attempts}", last.message);
    }

    has_room.store(true, Ordering::SeqCst);
    let full_disk = JobFilter {
        error: Some("disk is full".into()),
        ..JobFilter::new("store", State::Dead)
    };
    println!("{} retried", queues.retry_all(&full_disk).await?.done);
    let of_ann = JobFilter {
        user: Some("ann".into()),
        ..JobFilter::new("store", State::Dead)
    };
    println!("{} of ann deleted", queues.delete_all(&of_ann).await?);
    Ok(())
}

//! Watching a job: its states, its progress and its log; cancelling it while it runs; going on from a checkpoint.
//! `cargo run -p sluice-queue --example progress -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, answer, fatal, result, work};
use futures_util::StreamExt;
use serde_json::json;
use sluice_queue::{Backoff, HandlerResult, JobError, LogLevel, NewJob, Queues, Running};

#[tokio::main]
async fn main() -> Done {
    run(&common::connect().await?).await
}

async fn copy(running: Running) -> HandlerResult {
    let total: u32 = running.payload().map_err(fatal)?;
    let begun_at = running.checkpoint::<u32>().unwrap_or(0);
    running.log(LogLevel::Info, format!("copying from {begun_at} on"));
    for copied in begun_at..total {
        if running.cancelled().is_cancelled() {
            return Err(JobError::Cancelled);
        }
        running
            .progress(&json!({ "copied": copied, "total": total }))
            .await
            .map_err(fatal)?;
        if running.attempt() == 1 && copied == 5 {
            running.save_checkpoint(&copied).await.map_err(fatal)?;
            running.log(LogLevel::Warn, "the connection broke");
            return Err(JobError::Retry("the connection broke".into()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    answer(&(total - begun_at))
}

pub(crate) async fn run(queues: &Queues) -> Done {
    work(queues, "copy", copy);
    let soon = Backoff::Listed(vec![Duration::from_millis(10)]);
    let job = NewJob {
        backoff: Some(soon),
        ..NewJob::new("copy", &20)?
    };
    let id = queues.enqueue(job).await?.id;
    println!("{} copied by the last attempt", result(queues, &id).await?);
    for line in queues.get(&id).await?.ok_or("the job is gone")?.log {
        println!("attempt {}: {:?} {}", line.attempt, line.level, line.text);
    }

    let endless = queues.enqueue(NewJob::new("copy", &u32::MAX)?).await?.id;
    let mut changes = Box::pin(queues.watch(&endless));
    while let Some(job) = changes.next().await.transpose()? {
        println!("{:?}, progress {:?}", job.state, job.progress);
        if job.progress.is_some() {
            queues.cancel(&endless).await?;
        }
    }
    Ok(())
}

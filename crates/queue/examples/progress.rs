//! Watching a job: its states, its progress and its log; going on from a checkpoint.
//! `cargo run -p sluice-queue --example progress -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, connect, result, work};
use futures_util::StreamExt;
use serde_json::json;
use sluice_queue::{Backoff, HandlerResult, JobError, LogLevel, NewJob, Running};

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

async fn copy(running: Running) -> HandlerResult<u32> {
    let total: u32 = running.payload()?;
    let begun_at = running.checkpoint::<u32>().unwrap_or(0);
    running.log(LogLevel::Info, format!("copying from {begun_at} on"));
    for copied in begun_at..total {
        running
            .progress(&json!({ "copied": copied, "total": total }))
            .await?;
        if running.attempt() == 1 && copied == 5 {
            running.save_checkpoint(&copied).await?;
            running.log(LogLevel::Warn, "the connection broke");
            return Err(JobError::Retry("the connection broke".into()));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(total - begun_at)
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "copy", copy);
    let soon = Backoff::Listed(vec![Duration::from_millis(10)]);
    let job = NewJob {
        backoff: Some(soon),
        ..NewJob::new("copy", &20)?
    };
    let id = queues.enqueue(job).await?.id;
    let mut changes = Box::pin(queues.watch(&id));
    while let Some(job) = changes.next().await.transpose()? {
        println!("{:?}, progress {:?}", job.state, job.progress);
    }
    println!(
        "{} copied by the last attempt",
        result::<u32>(queues, &id).await?
    );
    for line in queues.get(&id).await?.ok_or("the job is gone")?.log {
        println!("attempt {}: {:?} {}", line.attempt, line.level, line.text);
    }
    Ok(())
}

//! A job that takes its workers down with it. Each crash counts as an attempt and as a lost lease,
//! so it ends as a dead letter and others live.
//! `cargo run -p sluice-queue --example poison -- redis://127.0.0.1:6379`

mod common;

use std::time::Duration;

use common::{Done, PATIENCE, connect, work_as};
use sluice_queue::{HandlerResult, NewJob, WorkerConfig};
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

/// After a second without a sign of life a worker's jobs go to others. Six are usual.
fn settings(name: &str) -> WorkerConfig {
    WorkerConfig {
        lease: Duration::from_secs(1),
        ..WorkerConfig::new(name, 4)
    }
}

/// Stands for a process that dies in the middle of the first job it gets: nothing of it is left but
/// the job's lease.
fn process_that_dies(url: &str, name: &str) -> std::io::Result<()> {
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let (started, mut has_started) = mpsc::channel(1);
        let queues = connect(url).await.map_err(std::io::Error::other)?;
        work_as(&queues, "poisonous", settings(name), move |_| {
            let started = started.clone();
            async move {
                started.send(()).await.ok();
                std::future::pending::<HandlerResult<()>>().await
            }
        });
        has_started.recv().await;
        Ok(())
    })
    // Here the runtime is dropped, and with it all that ran.
}

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    let poison = NewJob {
        max_attempts: Some(2),
        ..NewJob::new("poisonous", &"a file of the wrong kind")?
    };
    let id = queues.enqueue(poison).await?.id;
    for name in ["first", "second"] {
        let url = url.to_owned();
        tokio::task::spawn_blocking(move || process_that_dies(&url, name)).await??;
    }
    // It does not get at the third one.
    work_as(queues, "poisonous", settings("third"), async |_| {
        Ok("never")
    });
    println!("{:?}", queues.wait(&id, PATIENCE).await?);
    for error in queues.get(&id).await?.ok_or("the job is gone")?.errors {
        println!("attempt {}: {}", error.attempt, error.message);
    }
    Ok(())
}

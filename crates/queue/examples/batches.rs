//! Many jobs that are counted together, and what is called back when all of them have ended.
//! `cargo run -p sluice-queue --example batches -- redis://127.0.0.1:6379`

mod common;

use common::{Done, PATIENCE, connect, result, work};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sluice_queue::{BatchCounts, JobError, NewBatch, NewJob, Running};

/// All jobs of a batch are in one queue, so one handler tells them apart.
#[derive(Serialize, Deserialize)]
enum Task {
    Convert { page: u32 },
    Report,
    Publish,
}

#[tokio::main]
async fn main() -> Done {
    run(&common::address()?).await
}

pub(crate) async fn run(url: &str) -> Done {
    let queues = &connect(url).await?;
    work(queues, "book", async |running: Running| {
        match running.payload()? {
            Task::Convert { page: 7 } if running.attempt() == 1 => {
                Err(JobError::Fatal("page 7 is torn".into()))
            }
            Task::Convert { page } => Ok(json!(page)),
            Task::Report => {
                let counts = running.input::<BatchCounts>()?;
                Ok(json!(counts.unwrap_or_default()))
            }
            Task::Publish => Ok(json!("published")),
        }
    });
    let batch = queues
        .open_batch(NewBatch {
            on_end: Some(NewJob::new("book", &Task::Report)?),
            on_success: Some(NewJob::new("book", &Task::Publish)?),
        })
        .await?;
    let mut pages = Vec::new();
    for page in 1..=20 {
        pages.push(NewJob {
            batch: Some(batch.clone()),
            ..NewJob::new("book", &Task::Convert { page })?
        });
    }
    for added in queues.enqueue_all(&pages).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    queues.close_batch(&batch).await?;

    let view = queues.batch(&batch).await?.ok_or("the batch is gone")?;
    let report = view.on_end.ok_or("no callback")?;
    println!("at the end: {}", result::<Value>(queues, &report).await?);
    println!(
        "{} of {} completed",
        view.counts.completed, view.counts.jobs
    );
    Ok(())
}

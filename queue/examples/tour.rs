//! What the queue can do, one feature after the other, each in a queue of its own:
//! `cargo run -p sluice-queue --example tour -- redis://127.0.0.1:6379`

use std::error::Error;
use std::time::Duration;

use apalis::prelude::WorkerBuilder;
use futures_util::StreamExt;
use serde_json::value::to_raw_value;
use sluice_queue::{
    Finished, HandlerResult, JobError, JobFilter, Limits, NewJob, QueueConfig, Queues, Running,
    State, Unique, WorkerConfig,
};

type Done = Result<(), Box<dyn Error>>;

const PATIENCE: Duration = Duration::from_secs(30);

#[tokio::main]
async fn main() -> Done {
    let url = std::env::args().nth(1).ok_or("usage: tour REDIS_URL")?;
    let queues = Queues::connect(&url, QueueConfig::default()).await?;
    for queue in ["result", "watch", "bulk", "pause", "dead"] {
        start(&queues, queue, WorkerConfig::new("tour", 4));
    }
    results(&queues).await?;
    unique_jobs(&queues).await?;
    progress_and_cancellation(&queues).await?;
    many_jobs_under_limits(&queues).await?;
    pause(&queues).await?;
    dead_letters(&queues).await?;
    versions(&queues).await?;
    queues.drain(Duration::ZERO).await;
    Ok(())
}

/// A worker whose handler does what its payload says.
fn start(queues: &Queues, queue: &str, config: WorkerConfig) {
    let worker = WorkerBuilder::new(format!("tour-{queue}-{}", config.name))
        .backend(queues.backend(queue, config))
        .build(handle);
    tokio::spawn(worker.run());
}

async fn handle(running: Running) -> HandlerResult {
    let fatal = |error: &dyn Error| JobError::Fatal(error.to_string());
    let task: String = running.payload().map_err(|error| fatal(&error))?;
    match task.as_str() {
        "fail" => return Err(JobError::Fatal("the disk is full".into())),
        "wait" => {
            let shown = running.progress(&"waiting").await;
            shown.map_err(|error| fatal(&error))?;
            running.cancelled().cancelled().await;
            return Err(JobError::Cancelled);
        }
        _ => {}
    }
    to_raw_value(&format!("{task} done")).map_err(|error| fatal(&error))
}

async fn results(queues: &Queues) -> Done {
    let urgent = NewJob {
        priority: 0,
        delay: Some(Duration::from_millis(100)),
        ..NewJob::new("result", &"greet")?
    };
    let id = queues.enqueue(urgent).await?.id;
    if let Some(Finished::Completed(result)) = queues.wait(&id, PATIENCE).await? {
        println!("result: {result}");
    }
    Ok(())
}

async fn unique_jobs(queues: &Queues) -> Done {
    let unique = NewJob {
        unique: Some(Unique::by_key("report")),
        delay: Some(Duration::from_secs(3600)),
        ..NewJob::new("result", &"report")?
    };
    let first = queues.enqueue(unique.clone()).await?;
    let second = queues.enqueue(unique).await?;
    println!("unique: the same job {}", first.id == second.id);
    queues.delete(&first.id).await?;
    Ok(())
}

async fn progress_and_cancellation(queues: &Queues) -> Done {
    let id = queues.enqueue(NewJob::new("watch", &"wait")?).await?.id;
    let mut changes = Box::pin(queues.watch(&id));
    while let Some(job) = changes.next().await.transpose()? {
        println!("watch: {:?}, progress {:?}", job.state, job.progress);
        if job.progress.is_some() {
            queues.cancel(&id).await?;
        }
    }
    Ok(())
}

async fn many_jobs_under_limits(queues: &Queues) -> Done {
    let limits = Limits {
        all: Some(3),
        per_user: Some(1),
    };
    queues.set_limits("bulk", limits).await?;
    let mut jobs = Vec::new();
    for user in ["ann", "ann", "ann", "bob"] {
        jobs.push(NewJob {
            user: Some(user.into()),
            ..NewJob::new("bulk", &user)?
        });
    }
    for added in queues.enqueue_all(&jobs).await? {
        queues.wait(&added?.id, PATIENCE).await?;
    }
    println!("bulk: {} jobs are done", jobs.len());
    Ok(())
}

async fn pause(queues: &Queues) -> Done {
    queues.pause("pause").await?;
    let id = queues.enqueue(NewJob::new("pause", &"sleep")?).await?.id;
    let early = queues.wait(&id, Duration::from_millis(300)).await?;
    queues.resume("pause").await?;
    let late = queues.wait(&id, PATIENCE).await?;
    println!(
        "pause: ran early {}, late {}",
        early.is_some(),
        late.is_some()
    );
    Ok(())
}

async fn dead_letters(queues: &Queues) -> Done {
    let id = queues.enqueue(NewJob::new("dead", &"fail")?).await?.id;
    queues.wait(&id, PATIENCE).await?;
    let full_disk = JobFilter {
        error: Some("disk is full".into()),
        ..JobFilter::new("dead", State::Dead)
    };
    println!("dead: {} retried", queues.retry_all(&full_disk).await?);
    queues.wait(&id, PATIENCE).await?;
    println!("dead: {} deleted", queues.delete_all(&full_disk).await?);
    Ok(())
}

async fn versions(queues: &Queues) -> Done {
    let knowing = |version, name: &str| WorkerConfig {
        version,
        ..WorkerConfig::new(name, 1)
    };
    let new = NewJob {
        version: 2,
        ..NewJob::new("versions", &"upgrade")?
    };
    start(queues, "versions", knowing(1, "old"));
    let id = queues.enqueue(new).await?.id;
    let early = queues.wait(&id, Duration::from_millis(300)).await?;
    start(queues, "versions", knowing(2, "new"));
    queues.wait(&id, PATIENCE).await?;
    let job = queues.get(&id).await?.ok_or("the job is gone")?;
    println!(
        "versions: ran early {}, by {:?}",
        early.is_some(),
        job.worker
    );
    Ok(())
}

//! What the examples share: the queues of the Valkey that the command line names, workers, and
//! waiting for jobs.
#![allow(dead_code)]

use std::error::Error;
use std::fmt::Debug;
use std::time::Duration;

use apalis::prelude::WorkerBuilder;
use futures_util::StreamExt;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_queue::{
    Finished, HandlerResult, JobId, QueueConfig, QueueError, Queues, Running, State, WorkerConfig,
};

pub type Done = Result<(), Box<dyn Error>>;

/// Longer than anything here takes.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// The address of a Valkey, which is the first argument.
pub fn address() -> Result<String, Box<dyn Error>> {
    let url = std::env::args().nth(1);
    Ok(url.ok_or("give the address of a Valkey, such as redis://127.0.0.1:6379")?)
}

/// The queues of this Valkey, with the usual settings.
pub async fn connect(url: &str) -> Result<Queues, QueueError> {
    Queues::connect(url, QueueConfig::default()).await
}

/// Starts a worker of four places, which runs until the process ends.
pub fn work<F, Fut, T>(queues: &Queues, queue: &str, handler: F)
where
    F: FnMut(Running) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HandlerResult<T>> + Send + 'static,
    T: Serialize + Send + Sync + 'static,
{
    work_as(queues, queue, WorkerConfig::new("example", 4), handler);
}

/// Starts a worker with settings.
pub fn work_as<F, Fut, T>(queues: &Queues, queue: &str, config: WorkerConfig, handler: F)
where
    F: FnMut(Running) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = HandlerResult<T>> + Send + 'static,
    T: Serialize + Send + Sync + 'static,
{
    let worker = WorkerBuilder::new(format!("{queue}-{}", config.name))
        .backend(queues.backend(queue, config))
        .build(handler);
    tokio::spawn(worker.run());
}

/// The result of a job, once it has completed.
pub async fn result<T: DeserializeOwned + Debug>(
    queues: &Queues,
    id: &JobId,
) -> Result<T, Box<dyn Error>> {
    let finished = queues.wait(id, PATIENCE).await?.ok_or("it goes on")?;
    match finished.parse::<T, Value>()? {
        Finished::Completed(result) => Ok(result),
        other => Err(format!("{id} ended as {other:?}").into()),
    }
}

/// Returns when the job runs.
pub async fn running(queues: &Queues, id: &JobId) -> Done {
    let mut changes = Box::pin(queues.watch(id));
    while let Some(job) = changes.next().await.transpose()? {
        if job.state == State::Running {
            return Ok(());
        }
    }
    Err(format!("{id} ended before it was seen running").into())
}

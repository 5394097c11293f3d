//! The queue as a backend of [apalis](https://docs.rs/apalis): jobs are its tasks, a failed handler
//! is a failed task, and its traits are calls of [`Queues`].

mod codec;
mod inspect;
mod layer;
mod raw;
mod results;
mod sink;
mod storage;
mod tasks;

use std::task::{Context, Poll, ready};

use apalis_core::backend::queue::Queue;
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;

pub use codec::JsonCodec;
pub use layer::{LeaseLayer, LeaseService};
pub use raw::RawBackend;
pub use storage::ValkeyStorage;

use crate::id::check_queue;
use crate::worker::{Run, Running, Source, WorkerConfig};
use crate::{JobId, QueueError, Queues};

impl Queues {
    /// Feeds a worker whose handler gets each job as a [`Running`], and decodes the payload itself.
    ///
    /// # Panics
    /// When the queue's name has other characters than `a-z`, `0-9` and `-`: it is a constant of
    /// the program.
    pub fn backend(&self, queue: &str, config: WorkerConfig) -> RawBackend {
        RawBackend::new(source(self, queue, config))
    }
}

fn source(queues: &Queues, queue: &str, config: WorkerConfig) -> Source {
    assert!(check_queue(queue).is_ok(), "invalid queue name {queue:?}");
    Source::new(queues.clone(), queue.to_owned(), config)
}

/// The next job for the worker. When there will be none any more, the worker ends, also when no
/// monitor shuts it down.
fn poll_next(
    source: &mut Source,
    context: &mut Context<'_>,
    worker: &WorkerContext,
) -> Poll<Option<Running>> {
    let running = ready!(source.poll_next(context, || {
        let worker = worker.clone();
        Box::new(move || worker.is_running() && !worker.is_shutting_down())
    }));
    if running.is_none()
        && !worker.is_shutting_down()
        && let Err(error) = worker.stop()
    {
        tracing::debug!(%error, "the worker was not running");
    }
    Poll::Ready(running)
}

/// The task of a run. The run itself is part of its data: the middleware and handlers find it
/// there.
fn task<Args>(queue: &Queue, run: Run, args: Args) -> Task<Args> {
    let attempts = count(run.attempt());
    let mut task = TaskBuilder::new(args)
        .task_id(TaskId::from(run.id()))
        // apalis counts the run that it starts itself.
        .attempt(attempts.saturating_sub(1))
        .queue(queue.clone());
    if let Some(attempts) = run.max_attempts() {
        task = task.max_attempts(count(attempts));
    }
    task.data(run).build()
}

fn count(attempts: u32) -> usize {
    usize::try_from(attempts).unwrap_or(usize::MAX)
}

impl From<&JobId> for TaskId {
    fn from(id: &JobId) -> Self {
        Self::from_string(id.as_str())
    }
}

impl From<JobId> for TaskId {
    fn from(id: JobId) -> Self {
        Self::from(&id)
    }
}

impl TryFrom<&TaskId> for JobId {
    type Error = QueueError;

    fn try_from(id: &TaskId) -> Result<Self, QueueError> {
        match id.as_string() {
            Some(id) => Self::parse(id),
            None => Err(QueueError::InvalidId(id.to_string())),
        }
    }
}

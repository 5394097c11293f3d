//! The backend for handlers that decode the payload themselves.

use std::convert::Infallible;
use std::fmt;
use std::task::{Context, Poll};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::queue::Queue;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;

use super::layer::LeaseLayer;
use super::{poll_next, task};
use crate::worker::{Running, Source, WorkerConfig};

/// Feeds an apalis worker with the jobs of one queue, each as a [`Running`]. It never fails: while
/// Valkey is away it waits.
pub struct RawBackend {
    source: Source,
    queue: Queue,
}

impl RawBackend {
    pub(super) fn new(source: Source) -> Self {
        let queue = Queue::from(source.queue());
        Self { source, queue }
    }
}

impl fmt::Debug for RawBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawBackend")
            .field("queue", &self.source.queue())
            .field("config", &self.source.config())
            .finish_non_exhaustive()
    }
}

impl Backend for RawBackend {
    type Task = Task<Running>;
    type Error = Infallible;

    fn poll_ready(
        &mut self,
        _: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        worker: &WorkerContext,
    ) -> Poll<Option<Result<Self::Task, Infallible>>> {
        poll_next(&mut self.source, context, worker).map(|running| {
            let running = running?;
            Some(Ok(task(&self.queue, running.run.clone(), running)))
        })
    }

    fn poll_close(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        self.source.poll_close(context).map(Ok)
    }
}

impl BackendConfig for RawBackend {
    type Args = Running;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = WorkerConfig;
    type Layer = LeaseLayer;

    fn config(&self) -> &WorkerConfig {
        self.source.config()
    }

    fn middleware(&mut self, worker: &mut WorkerContext) -> LeaseLayer {
        self.source.name_after(worker.name());
        LeaseLayer::new(self.source.config().backoff.clone())
    }
}

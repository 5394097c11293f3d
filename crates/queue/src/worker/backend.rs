//! The apalis backend.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use apalis_core::backend::finalize::Ephemeral;
use apalis_core::backend::queue::Queue;
use apalis_core::backend::{Backend, BackendConfig};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::task_id::TaskId;
use apalis_core::worker::context::WorkerContext;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::WorkerConfig;
use super::fetch::Fetcher;
use super::layer::LeaseLayer;
use super::record::{Ending, record};
use super::running::Running;
use crate::Queues;

/// Feeds an apalis worker with the jobs of one queue. It never fails: while Valkey is away it
/// waits.
///
/// apalis polls a backend only from its worker's task, and not at all while jobs end during a
/// shutdown. So fetching and heartbeats are tasks of their own, and the worker merely takes what
/// they bring.
pub struct ValkeyBackend {
    queues: Queues,
    queue: String,
    config: WorkerConfig,
    feed: Feed,
}

/// Where jobs come from.
enum Feed {
    /// Nobody has asked for jobs yet.
    Unstarted,
    Open {
        jobs: mpsc::UnboundedReceiver<Running>,
        fetcher: JoinHandle<()>,
        /// Ends the fetcher, also when the backend is dropped.
        stop: DropGuard,
    },
    /// Jobs that were fetched and not started are on their way back.
    Closing(BoxFuture<'static, ()>),
    Closed,
}

impl ValkeyBackend {
    pub(super) fn new(queues: Queues, queue: String, config: WorkerConfig) -> Self {
        Self {
            queues,
            queue,
            config,
            feed: Feed::Unstarted,
        }
    }

    fn open(&self, worker: &WorkerContext) -> Feed {
        let (sender, jobs) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let fetcher = Fetcher {
            queues: self.queues.clone(),
            queue: self.queue.clone(),
            config: self.config.clone(),
            worker: worker.clone(),
            slots: Arc::new(Semaphore::new(self.config.concurrency.max(1))),
            jobs: sender,
            stop: stop.clone(),
        };
        Feed::Open {
            jobs,
            fetcher: tokio::spawn(fetcher.run()),
            stop: stop.drop_guard(),
        }
    }

    fn poll_hand_back(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::replace(&mut self.feed, Feed::Closed) {
                Feed::Unstarted | Feed::Closed => return Poll::Ready(()),
                Feed::Open {
                    jobs,
                    fetcher,
                    stop,
                } => {
                    drop(stop);
                    self.feed =
                        Feed::Closing(hand_back(self.queues.clone(), jobs, fetcher).boxed());
                }
                Feed::Closing(mut closing) => {
                    if closing.poll_unpin(context).is_pending() {
                        self.feed = Feed::Closing(closing);
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}

/// Waits for the fetch that may be under way and returns what was not started.
async fn hand_back(
    queues: Queues,
    mut jobs: mpsc::UnboundedReceiver<Running>,
    fetcher: JoinHandle<()>,
) {
    if let Err(error) = fetcher.await {
        tracing::error!(%error, "the fetcher ended by itself");
    }
    while let Some(running) = jobs.recv().await {
        record(&queues, &running.lease, Ending::Released, None).await;
    }
}

impl fmt::Debug for ValkeyBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ValkeyBackend")
            .field("queue", &self.queue)
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl Backend for ValkeyBackend {
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
        if self.queues.shared.workers.draining.is_cancelled() {
            ready!(self.poll_hand_back(context));
            // A worker that no monitor shuts down ends, too.
            if !worker.is_shutting_down()
                && let Err(error) = worker.stop()
            {
                tracing::debug!(%error, "the worker was not running");
            }
            return Poll::Ready(None);
        }
        if matches!(self.feed, Feed::Unstarted) {
            self.feed = self.open(worker);
        }
        let Feed::Open { jobs, .. } = &mut self.feed else {
            return Poll::Ready(None);
        };
        let running = ready!(jobs.poll_recv(context));
        Poll::Ready(running.map(|running| {
            let id = TaskId::from_string(running.id().as_str());
            let attempts = usize::try_from(running.attempt()).unwrap_or(usize::MAX);
            let task = TaskBuilder::new(running)
                .task_id(id)
                // apalis counts the run it starts itself.
                .attempt(attempts.saturating_sub(1))
                .queue(Queue::from(self.queue.as_str()))
                .build();
            Ok(task)
        }))
    }

    fn poll_close(
        &mut self,
        context: &mut Context<'_>,
        _: &WorkerContext,
    ) -> Poll<Result<(), Infallible>> {
        self.poll_hand_back(context).map(Ok)
    }
}

impl BackendConfig for ValkeyBackend {
    type Args = Running;
    type Id = TaskId;
    type Kind = Ephemeral;
    type Config = WorkerConfig;
    type Layer = LeaseLayer;

    fn config(&self) -> &WorkerConfig {
        &self.config
    }

    fn middleware(&mut self, _: &mut WorkerContext) -> LeaseLayer {
        LeaseLayer::new(self.queues.clone(), self.config.backoff.clone())
    }
}

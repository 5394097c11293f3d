//! The jobs of one queue for one worker, one after another.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_util::FutureExt;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::WorkerConfig;
use super::fetch::{Accepts, Fetcher};
use super::finish::{Ending, finish};
use super::run::Running;
use crate::Queues;

/// Leases jobs for as long as it is polled. It never fails: while Valkey is away it waits.
///
/// Fetching is a task of its own: a source may be polled seldom, and not at all while jobs end
/// during a shutdown.
pub(crate) struct Source {
    queues: Queues,
    queue: String,
    config: WorkerConfig,
    feed: Feed,
}

/// Where jobs come from.
enum Feed {
    /// No job was asked for yet.
    Unstarted,
    Open {
        jobs: mpsc::UnboundedReceiver<Running>,
        fetcher: JoinHandle<()>,
        /// Ends the fetcher, also when the source is dropped.
        stop: DropGuard,
    },
    /// Jobs that were fetched and not started are on their way back.
    Closing(JoinHandle<()>),
    Closed,
}

impl Source {
    pub fn new(queues: Queues, queue: String, config: WorkerConfig) -> Self {
        Self {
            queues,
            queue,
            config,
            feed: Feed::Unstarted,
        }
    }

    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    pub fn queue(&self) -> &str {
        &self.queue
    }

    pub fn config(&self) -> &WorkerConfig {
        &self.config
    }

    /// Names the worker as `name` says, unless its settings do.
    pub fn name_after(&mut self, name: &str) {
        if self.config.name.is_empty() {
            name.clone_into(&mut self.config.name);
        }
    }

    /// The next job; none once the process has drained, or after [`Source::poll_close`]. `accepts`
    /// is asked once, for what tells the fetcher whether the worker takes jobs.
    pub fn poll_next(
        &mut self,
        context: &mut Context<'_>,
        accepts: impl FnOnce() -> Accepts,
    ) -> Poll<Option<Running>> {
        if self.queues.shared.workers.draining.is_cancelled() {
            ready!(self.poll_close(context));
            return Poll::Ready(None);
        }
        if matches!(self.feed, Feed::Unstarted) {
            self.feed = self.open(accepts());
        }
        match &mut self.feed {
            Feed::Open { jobs, .. } => jobs.poll_recv(context),
            _ => Poll::Ready(None),
        }
    }

    /// Ends the fetching and hands back what was not started.
    pub fn poll_close(&mut self, context: &mut Context<'_>) -> Poll<()> {
        loop {
            match std::mem::replace(&mut self.feed, Feed::Closed) {
                Feed::Unstarted | Feed::Closed => return Poll::Ready(()),
                Feed::Open {
                    jobs,
                    fetcher,
                    stop,
                } => {
                    drop(stop);
                    let back = hand_back(self.queues.clone(), jobs, fetcher);
                    self.feed = Feed::Closing(tokio::spawn(back));
                }
                Feed::Closing(mut closing) => match closing.poll_unpin(context) {
                    Poll::Pending => {
                        self.feed = Feed::Closing(closing);
                        return Poll::Pending;
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => {
                        tracing::error!(%error, "jobs were not handed back, their leases run out");
                    }
                },
            }
        }
    }

    fn open(&self, accepts: Accepts) -> Feed {
        let (sender, jobs) = mpsc::unbounded_channel();
        let stop = CancellationToken::new();
        let fetcher = Fetcher {
            queues: self.queues.clone(),
            queue: self.queue.clone(),
            config: self.config.clone(),
            accepts,
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
        // What cannot be recorded is logged there, and its lease runs out.
        let _ = finish(&queues, running.lease(), Ending::Released, None).await;
    }
}

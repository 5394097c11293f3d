//! The worker's side: fetches jobs, extends their leases, runs their handlers, records how that
//! ended, and stops in good order.

mod execute;
mod fetch;
mod fetched;
mod finish;
mod heartbeat;
mod idle;
mod job_error;
pub(crate) mod lease;
mod log;
mod progress;
mod run;
mod source;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

pub(crate) use execute::{BoxError, Failure};
pub(crate) use finish::{End, OUTCOMES};
pub(crate) use heartbeat::millis;
pub use job_error::{HandlerResult, JobError};
pub use run::{Run, Running};
pub(crate) use source::Source;

use crate::keys::STOP_GRACE;
use crate::queues::{Queues, Shared};
use crate::{Backoff, Load, QueueError};
use idle::Idle;
use lease::{Leases, Stop};

/// How long the release of a job may take at the end of a drain.
const RELEASE_LIMIT: Duration = Duration::from_secs(2);

/// How a worker treats one queue.
#[derive(Debug, Clone)]
pub struct WorkerConfig {
    /// Shown to operators. Two workers of one name do no harm. Empty: the name
    /// that the worker is built with.
    pub name: String,
    /// How many jobs run at a time; no more are fetched. Default 10.
    pub concurrency: usize,
    /// After this long without a heartbeat others take the worker's jobs. Default 6 s; extended
    /// three times as often.
    pub lease: Duration,
    /// How often a worker looks without being woken. Default 4 s.
    pub poll: Duration,
    /// How long failed jobs wait for their next attempt, unless they
    /// [say it themselves](crate::NewJob::backoff).
    pub backoff: Backoff,
    /// The highest payload version that the handler knows. Jobs of newer ones are set aside, at no
    /// cost of an attempt, until a worker that knows them fetches. Default: all versions.
    pub version: u32,
    /// How many leases in a row a job may lose before it is dead, however many attempts it has
    /// left: it probably ends the processes that run it. At least 1, default 3.
    pub losses: u32,
}

impl WorkerConfig {
    /// The defaults that the fields name, but for these two.
    pub fn new(name: impl Into<String>, concurrency: usize) -> Self {
        Self {
            name: name.into(),
            concurrency,
            lease: Duration::from_secs(6),
            poll: Duration::from_secs(4),
            backoff: Backoff::default(),
            version: u32::MAX,
            losses: 3,
        }
    }
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self::new("", 10)
    }
}

/// What all workers of a process share.
pub(crate) struct Workers {
    pub leases: Arc<Leases>,
    pub idle: Idle,
    /// Fires when this process shall fetch no more.
    pub draining: CancellationToken,
    /// Whether this process fetches no jobs, as an operator asked for.
    pub quiet: watch::Sender<bool>,
    /// How many jobs of each queue this process runs at a time, at most.
    served: Mutex<BTreeMap<String, u64>>,
    /// The time between two heartbeats; dropping it ends the heartbeat's thread.
    beat: OnceLock<watch::Sender<Duration>>,
}

impl Workers {
    pub fn new(leases: Arc<Leases>) -> Self {
        Self {
            leases,
            idle: Idle::default(),
            draining: CancellationToken::new(),
            quiet: watch::Sender::new(false),
            served: Mutex::default(),
            beat: OnceLock::new(),
        }
    }

    /// A worker of a queue begins, which runs so many jobs at a time.
    fn serve(&self, queue: &str, concurrency: usize) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        *served.entry(queue.to_owned()).or_default() += concurrency as u64;
    }

    /// A worker of a queue has ended.
    fn leave(&self, queue: &str, concurrency: usize) {
        let mut served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(total) = served.get_mut(queue) {
            *total = total.saturating_sub(concurrency as u64);
            if *total == 0 {
                served.remove(queue);
            }
        }
    }

    /// The queues that this process serves.
    pub fn served(&self) -> BTreeMap<String, Load> {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let loads = served.iter().map(|(queue, &concurrency)| {
            let load = Load {
                concurrency,
                running: 0,
            };
            (queue.clone(), load)
        });
        loads.collect()
    }
}

impl Shared {
    /// Sees to it that leases of this length are extended in time.
    fn keep_alive(&self, lease: Duration) -> Result<(), QueueError> {
        let interval = lease / 3;
        let beat = match self.workers.beat.get() {
            Some(beat) => beat,
            None => {
                let leases = self.workers.leases.clone();
                let beat = heartbeat::start(&self.valkey, self.scripts.clone(), leases)
                    .map_err(QueueError::Heartbeat)?;
                // Should another worker have been faster, its thread stays and this one ends.
                self.workers.beat.get_or_init(|| beat)
            }
        };
        beat.send_if_modified(|current| {
            let shorter = interval < *current;
            if shorter {
                *current = interval;
            }
            shorter
        });
        Ok(())
    }
}

impl Queues {
    /// Ends this process's work in good order: nothing more is fetched; jobs that were fetched but
    /// not started go back at once, their attempt not counted; running ones have `grace` to end.
    /// Then their tokens fire, and after [`STOP_GRACE`] they are dropped and go back to their place
    /// in line, the attempt not counted either.
    ///
    /// Afterwards the workers have nothing left to do; one that a monitor runs ends as soon as that
    /// is shut down.
    pub async fn drain(&self, grace: Duration) {
        let workers = &self.shared.workers;
        workers.draining.cancel();
        if timeout(grace, workers.leases.none_left()).await.is_err() {
            workers.leases.stop_all(Stop::Shutdown);
            let limit = STOP_GRACE + RELEASE_LIMIT;
            if timeout(limit, workers.leases.none_left()).await.is_err() {
                tracing::warn!("some jobs could not be handed back, their leases run out");
            }
        }
    }
}

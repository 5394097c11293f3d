//! The leases that this process holds.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::JobId;

/// The right to run a job, until another worker gets it. `run` names the run as its job's hash does:
/// what is written by an older one is refused.
pub(crate) struct Lease {
    pub id: JobId,
    pub run: Arc<str>,
    pub length: Duration,
    pub stopped: CancellationToken,
    reason: OnceLock<Stop>,
}

sluice_valkey::statuses! {
    /// What became of something that a run wrote.
    pub(super) enum SaveStatus {
        Saved = "saved",
        /// The lease was lost.
        Lost = "lost",
    }
}

/// Why a handler is asked to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// An operator cancelled the job.
    Cancelled,
    /// Another worker has the job.
    Lost,
    /// The process ends.
    Shutdown,
}

impl Lease {
    pub fn new(id: JobId, run: Arc<str>, length: Duration) -> Self {
        Self {
            id,
            run,
            length,
            stopped: CancellationToken::new(),
            reason: OnceLock::new(),
        }
    }

    /// Asks the handler to end; the first reason counts.
    pub fn stop(&self, reason: Stop) {
        if self.reason.set(reason).is_ok() {
            if reason == Stop::Lost {
                tracing::warn!(job = %self.id, "lost the lease, another worker has the job");
            }
            self.stopped.cancel();
        }
    }

    pub fn stop_reason(&self) -> Option<Stop> {
        self.reason.get().copied()
    }
}

/// All leases of the process. One job may be in it twice, when this process got it again after it
/// had lost it.
#[derive(Default)]
pub(crate) struct Leases {
    held: Mutex<Held>,
    tracker: TaskTracker,
}

#[derive(Default)]
struct Held {
    next: u64,
    leases: HashMap<u64, Arc<Lease>>,
}

impl Leases {
    /// Has the lease extended until the slot is dropped.
    pub fn hold(self: &Arc<Self>, lease: Arc<Lease>, permit: OwnedSemaphorePermit) -> Slot {
        let mut held = self.lock();
        let number = held.next;
        held.next += 1;
        held.leases.insert(number, lease);
        Slot {
            leases: self.clone(),
            number,
            _tracked: self.tracker.token(),
            _permit: permit,
        }
    }

    /// Asks the runs of a job (the ULID part of its id) to end.
    pub fn cancel(&self, job: &str) {
        for lease in self.lock().leases.values() {
            if lease.id.job() == job {
                lease.stop(Stop::Cancelled);
            }
        }
    }

    pub fn stop_all(&self, reason: Stop) {
        for lease in self.lock().leases.values() {
            lease.stop(reason);
        }
    }

    pub fn all(&self) -> Vec<Arc<Lease>> {
        self.lock().leases.values().cloned().collect()
    }

    pub fn count(&self) -> usize {
        self.lock().leases.len()
    }

    /// Returns when no lease is held.
    pub async fn none_left(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of a worker's places, taken by a job. While it lives the job's lease is extended; when it is
/// dropped without the run having been recorded, the lease runs out and others take the job.
pub(crate) struct Slot {
    leases: Arc<Leases>,
    number: u64,
    _tracked: TaskTrackerToken,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.leases.lock().leases.remove(&self.number);
    }
}

//! Tracks which workers of this process wait for jobs, so that one that is added here is left to
//! them.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// By queue. A job that is added by this process reaches a worker that waits here without an event:
/// it is woken at once, and its fetch arrives behind the job, on the same connection.
#[derive(Default)]
pub(crate) struct Idle(Mutex<HashMap<String, Waiting>>);

#[derive(Default)]
struct Waiting {
    fetchers: usize,
    /// Jobs were added without waking other processes.
    wake_deferred: bool,
}

impl Idle {
    /// Whether a worker with a free place waits for a job of `queue`.
    pub fn has(&self, queue: &str) -> bool {
        self.lock().get(queue).is_some_and(|it| it.fetchers > 0)
    }

    /// A job was sent that the next fetch finds. Other processes are woken when that leaves some.
    pub fn defer_wake(&self, queue: &str) {
        if let Some(waiting) = self.lock().get_mut(queue) {
            waiting.wake_deferred = true;
        }
    }

    /// Whether the fetch that comes now has to wake other processes for what it leaves.
    pub fn take_deferred_wake(&self, queue: &str) -> bool {
        let mut queues = self.lock();
        let waiting = queues.get_mut(queue);
        waiting.is_some_and(|it| std::mem::take(&mut it.wake_deferred))
    }

    /// A worker begins to wait.
    pub fn enter(&self, queue: &str) {
        let mut queues = self.lock();
        match queues.get_mut(queue) {
            Some(waiting) => waiting.fetchers += 1,
            None => queues.entry(queue.to_owned()).or_default().fetchers = 1,
        }
    }

    /// It waits no longer.
    pub fn leave(&self, queue: &str) {
        if let Some(waiting) = self.lock().get_mut(queue) {
            waiting.fetchers -= 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

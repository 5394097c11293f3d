//! The progress that a run reports, sent no faster than operators can follow.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::run::Run;
use crate::QueueError;
use crate::keys::PROGRESS_INTERVAL;

/// Progress that was reported faster than it is sent.
pub(super) struct Progress(Mutex<ProgressState>);

struct ProgressState {
    not_before: Instant,
    unsent: Option<String>,
    sender_sleeps: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self(Mutex::new(ProgressState {
            not_before: Instant::now(),
            unsent: None,
            sender_sleeps: false,
        }))
    }

    /// Sends a value of `run`, at once or with the next one that is due.
    pub async fn report(&self, run: &Run, value: String) -> Result<(), QueueError> {
        let now = Instant::now();
        {
            let mut state = self.lock();
            if state.sender_sleeps || now < state.not_before {
                state.unsent = Some(value);
                if !state.sender_sleeps {
                    state.sender_sleeps = true;
                    tokio::spawn(send_later(run.clone()));
                }
                return Ok(());
            }
            state.not_before = now + PROGRESS_INTERVAL;
        }
        run.save(Some(("progress", &value))).await
    }

    /// The last value, if it was not sent; the script that ends the run stores it.
    pub fn take_unsent(&self) -> Option<String> {
        self.lock().unsent.take()
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_later(run: Run) {
    let progress = run.reported();
    loop {
        let until = progress.lock().not_before;
        sleep_until(until).await;
        let value = progress.lock().unsent.clone();
        if let Some(value) = &value
            && let Err(error) = run.save(Some(("progress", value))).await
        {
            tracing::debug!(%error, job = %run.id(), "progress was not stored");
        }
        let mut state = progress.lock();
        state.not_before = Instant::now() + PROGRESS_INTERVAL;
        // It counts as unsent until it has arrived, so that the end of the run cannot overtake it.
        if state.unsent == value {
            state.unsent = None;
            state.sender_sleeps = false;
            return;
        }
    }
}

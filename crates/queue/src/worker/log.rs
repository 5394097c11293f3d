//! The lines that a running job logs, on their way to the queue.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use sluice_valkey::Repeat;
use tokio::time::{Instant, sleep, timeout};

use super::finish::cut;
use super::heartbeat::millis;
use super::lease::{Lease, SaveStatus};
use super::run::Run;
use crate::keys::{LINE_LIMIT, LOG_LINES, PROGRESS_INTERVAL, root};
use crate::{LogLevel, QueueError, Queues};

/// How long the end of a run waits for its last lines to arrive.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);

/// Lines that are not sent yet. There are never more than the queue keeps.
#[derive(Default)]
pub(super) struct Log {
    unsent: Mutex<Unsent>,
    /// Held while lines are under way, so that they arrive in order. Counts the batches.
    sending: tokio::sync::Mutex<u64>,
}

#[derive(Default)]
struct Unsent {
    lines: VecDeque<Line>,
    dropped: u64,
    /// Whether a task is there that sends what comes.
    sender: bool,
    /// Whether there ever was a line.
    used: bool,
}

struct Line {
    at: Instant,
    level: LogLevel,
    text: String,
}

impl Log {
    /// Adds a line of `run`, whose log this is. It is sent soon.
    pub fn add(&self, run: &Run, level: LogLevel, text: &str) {
        let mut unsent = self.lock();
        unsent.used = true;
        if unsent.lines.len() == LOG_LINES {
            unsent.lines.pop_front();
            unsent.dropped += 1;
        }
        unsent.lines.push_back(Line {
            at: Instant::now(),
            level,
            text: cut(text, LINE_LIMIT).to_owned(),
        });
        if !std::mem::replace(&mut unsent.sender, true) {
            let run = run.clone();
            tokio::spawn(async move {
                while run.logged().has_lines() {
                    run.logged().send(run.queues(), run.lease()).await;
                    sleep(PROGRESS_INTERVAL).await;
                }
            });
        }
    }

    /// Sees to it that the lines so far are there before the run ends.
    pub async fn flush(&self, queues: &Queues, lease: &Lease) {
        if self.lock().used
            && timeout(FLUSH_LIMIT, self.send(queues, lease))
                .await
                .is_err()
        {
            tracing::debug!(
                job = %lease.id,
                "the last lines of a job's log were not stored in time"
            );
        }
    }

    /// Whether there is something to send; if not, the sender ends.
    fn has_lines(&self) -> bool {
        let mut unsent = self.lock();
        unsent.sender = !unsent.lines.is_empty();
        unsent.sender
    }

    async fn send(&self, queues: &Queues, lease: &Lease) {
        let mut batch = self.sending.lock().await;
        let (lines, dropped) = {
            let mut unsent = self.lock();
            let dropped = std::mem::take(&mut unsent.dropped);
            (std::mem::take(&mut unsent.lines), dropped)
        };
        if lines.is_empty() {
            return;
        }
        *batch += 1;
        match store(queues, lease, *batch, dropped, &lines).await {
            Ok(SaveStatus::Saved) => {}
            Ok(SaveStatus::Lost) => {
                tracing::debug!(job = %lease.id, "the log of a run that lost its lease")
            }
            Err(error) => {
                tracing::debug!(%error, job = %lease.id, "lines of a job's log were not stored");
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Unsent> {
        self.unsent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn store(
    queues: &Queues,
    lease: &Lease,
    batch: u64,
    dropped: u64,
    lines: &VecDeque<Line>,
) -> Result<SaveStatus, QueueError> {
    let shared = &queues.shared;
    let stored = shared
        .calls
        .function(
            &shared.scripts.log,
            &root(lease.id.queue()),
            Repeat::Safe,
            |command| {
                command.arg(lease.id.job()).arg(&*lease.run);
                command.arg(batch).arg(dropped);
                for line in lines {
                    let age = millis(line.at.elapsed());
                    command.arg(age).arg(line.level.as_str()).arg(&line.text);
                }
            },
        )
        .await?;
    Ok(stored)
}

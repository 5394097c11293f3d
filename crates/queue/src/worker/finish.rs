//! Records in the queue how a run ended.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, RedisResult};
use serde_json::value::RawValue;
use sluice_retry::jittered;
use sluice_valkey::Repeat;
use tokio::time::{Instant, sleep};

use super::heartbeat::millis;
use super::lease::{Lease, Slot, Stop};
use crate::group_commit::{Answers, GroupCommit, Request, submit};
use crate::keys::{FINISH_PATIENCE, MESSAGE_LIMIT, root};
use crate::queues::Shared;
use crate::{QueueError, Queues};

/// The mean pause between two attempts to record the end of a run.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

/// What metrics say of ended runs: [`Ending::outcome`], that the lease was lost, or that the end
/// could not be recorded.
pub(crate) const OUTCOMES: [&str; 10] = [
    "completed",
    "refused",
    "retry",
    "deferred",
    "dead",
    "cancelled",
    "released",
    "yielded",
    "lost",
    "unrecorded",
];

/// How a run ended, as `lua/queue/finish.lua` takes it.
pub(super) enum Ending {
    Completed(Box<RawValue>),
    Refused(Box<RawValue>),
    Retry { message: String, delay: Duration },
    Deferred { message: String, delay: Duration },
    Dead(String),
    Cancelled,
    Released,
    Yielded,
}

impl Ending {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Refused(_) => "refused",
            Self::Retry { .. } => "retry",
            Self::Deferred { .. } => "deferred",
            Self::Dead(_) => "dead",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
            Self::Yielded => "yielded",
        }
    }

    fn body(&self) -> &str {
        match self {
            Self::Completed(json) | Self::Refused(json) => json.get(),
            Self::Retry { message, .. } | Self::Deferred { message, .. } | Self::Dead(message) => {
                cut(message, MESSAGE_LIMIT)
            }
            Self::Cancelled | Self::Released | Self::Yielded => "",
        }
    }
}

/// Ends a run in the queue. Tries for as long as Valkey may be away; should it be in vain, the
/// lease runs out.
///
/// # Errors
/// [`QueueError::LeaseLost`], and the last error when it was in vain. Both are logged.
pub(super) async fn finish(
    queues: &Queues,
    lease: &Arc<Lease>,
    ending: Ending,
    progress: Option<String>,
) -> Result<(), QueueError> {
    let begun = Instant::now();
    let end = End {
        lease: lease.clone(),
        ending: Arc::new(ending),
        progress: progress.map(Arc::from),
    };
    let ending = &end.ending;
    let (outcome, recorded) = loop {
        match submit(&queues.shared, lease.id.queue(), end.clone()).await {
            Ok(state) if state == "lost" => {
                lease.stop(Stop::Lost);
                break ("lost", Err(QueueError::LeaseLost(lease.id.clone())));
            }
            Ok(state) if state == "dead" => break ("dead", Ok(())),
            Ok(_) => break (ending.outcome(), Ok(())),
            Err(error) if begun.elapsed() < FINISH_PATIENCE => {
                if !error.is_outage() {
                    tracing::warn!(%error, job = %lease.id, "cannot record the end of a run yet");
                }
                sleep(jittered(RECORD_PAUSE)).await;
            }
            Err(error) => {
                tracing::error!(
                    %error, job = %lease.id,
                    "cannot record the end of a run, it will be run again"
                );
                break ("unrecorded", Err(error));
            }
        }
    };
    metrics::counter!(
        "sluice_queue_jobs_total",
        "queue" => lease.id.queue().to_owned(), "outcome" => outcome
    )
    .increment(1);
    match &**ending {
        Ending::Retry { message, .. } if outcome == "retry" => {
            tracing::warn!(
                job = %lease.id, error = message,
                "an attempt failed, the job will be tried again"
            );
        }
        Ending::Deferred { message, .. } if outcome == "deferred" => {
            tracing::debug!(
                job = %lease.id, error = message,
                "the job will be tried again after the outage"
            );
        }
        Ending::Retry { message, .. }
        | Ending::Deferred { message, .. }
        | Ending::Dead(message) => {
            tracing::error!(job = %lease.id, outcome, error = message, "the job failed");
        }
        _ => {}
    }
    recorded
}

/// Makes a job that cannot be run a dead letter. That goes on by itself: the others that were
/// fetched with it shall not wait for it.
pub(super) fn bury(queues: &Queues, lease: &Arc<Lease>, slot: Option<Slot>, reason: String) {
    let (queues, lease) = (queues.clone(), lease.clone());
    tokio::spawn(async move {
        // What cannot be recorded is logged there, and its lease runs out.
        let _ = finish(&queues, &lease, Ending::Dead(reason), None).await;
        drop(slot);
    });
}

/// The end of a run, to be recorded.
#[derive(Clone)]
pub(crate) struct End {
    lease: Arc<Lease>,
    ending: Arc<Ending>,
    progress: Option<Arc<str>>,
}

impl Request for End {
    /// The job's state, or "lost".
    type Answer = String;
    type Shared = Shared;

    fn group(shared: &Shared) -> &GroupCommit<Self> {
        &shared.ended
    }

    /// Runs that end together are recorded together.
    fn at_once(shared: &Shared) -> bool {
        shared.workers.leases.count() <= 1
    }

    fn size(&self) -> usize {
        self.ending.body().len() + self.progress.as_ref().map_or(0, |it| it.len())
    }

    async fn send(shared: &Shared, queue: &str, batch: &[Self]) -> RedisResult<Vec<String>> {
        let states: Answers<String> = shared
            .calls
            .function(
                &shared.scripts.finish,
                &root(queue),
                Repeat::Safe,
                |command| {
                    for fetched in batch.chunk_by(|one, next| one.lease.run == next.lease.run) {
                        let run = fetched.first().map_or("", |end| &end.lease.run);
                        command.arg(run).arg(fetched.len());
                        fetched.iter().for_each(|end| end.write(command));
                    }
                },
            )
            .await?;
        Ok(states.each(batch.len(), || "completed".to_owned()))
    }
}

impl End {
    fn write(&self, command: &mut Cmd) {
        command.arg(self.lease.id.job());
        let (body, progress) = (self.ending.body(), self.progress.as_deref());
        if let (Ending::Completed(_), "null", None) = (&*self.ending, body, progress) {
            command.arg("done");
            return;
        }
        let delay = match &*self.ending {
            Ending::Retry { delay, .. } | Ending::Deferred { delay, .. } => millis(*delay),
            _ => 0,
        };
        command
            .arg(self.ending.outcome())
            .arg(body)
            .arg(delay)
            .arg(progress.unwrap_or_default());
    }
}

/// The first bytes of a text, less what would be half a character.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

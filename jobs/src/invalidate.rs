//! `invalidate`: drops a user's entries from Valkey and, when the account was deleted, the
//! documents from Convex.
//!
//! The first step moves the user's epoch, so that syncs, prefetches and fills which began before it
//! are refused. It does not need Convex, which then only says whether a user of whom nothing was
//! cached is known at all. A deletion drops the entries once more at its end: a sync that began in
//! between may have read files which were deleted a moment later.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_queue::Running;
use tokio::time::timeout;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::requests::{InvalidateRequest, InvalidateType, Refusal};

/// How many documents one call to Convex deletes.
const DOCUMENTS_PER_STEP: usize = 500;

/// How long a deletion goes on before it lets others go first: log-outs, which users wait for, and
/// other deletions.
const TURN: Duration = Duration::from_millis(500);

/// How long Convex has for saying whether it knows a user of whom nothing is cached.
const PATIENCE: Duration = Duration::from_secs(2);

/// The job behind `POST /api/v1/e/meta/invalidate`.
pub(crate) struct Invalidate;

/// What a finished invalidate reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct InvalidateAnswer {
    /// The owner of the files.
    pub user: String,
    /// Log-out or deletion.
    #[serde(rename = "type")]
    pub kind: InvalidateType,
    /// Entries removed from the cache.
    pub invalidated: u64,
    /// Documents removed from Convex; only for a deletion.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deleted: Option<u64>,
}

/// What an attempt leaves for the next one, so that a crash half-way changes neither the outcome
/// nor the counts.
#[derive(Default, Serialize, Deserialize)]
struct Checkpoint {
    /// Whether there was anything of this user, in the cache or in Convex.
    #[serde(default = "known_before")]
    known: bool,
    invalidated: u64,
    deleted: u64,
    /// Documents whose deletion was under way. Deleting them again is harmless, and they are
    /// counted then.
    pending: Vec<String>,
}

/// A checkpoint of a version without the field was only saved of known users.
fn known_before() -> bool {
    true
}

#[derive(Serialize)]
struct Progress {
    invalidated: u64,
    deleted: u64,
}

impl Job for Invalidate {
    const QUEUE: &'static str = "invalidate";
    /// Of a log-out: with the queue's backoff these span about an hour. A deletion is tried until
    /// it succeeds.
    const MAX_ATTEMPTS: u32 = 25;
    type Request = InvalidateRequest;
    type Answer = InvalidateAnswer;

    async fn run(
        context: &Context,
        request: InvalidateRequest,
        running: &Running,
    ) -> Result<InvalidateAnswer, Failure> {
        let user = request.user.as_str();
        let deletion = request.kind == InvalidateType::Del;
        let mut checkpoint = match running.checkpoint::<Checkpoint>() {
            Some(checkpoint) => checkpoint,
            None => {
                // Saved before anything is dropped: a later attempt finds nothing left of a user
                // who was known.
                let checkpoint = Checkpoint {
                    known: context.cache.has_any(user).await?,
                    ..Checkpoint::default()
                };
                running.save_checkpoint(&checkpoint).await?;
                checkpoint
            }
        };

        checkpoint.invalidated += context.cache.invalidate(user, deletion).await?;
        if !checkpoint.known {
            let asked = context.files.any(user);
            checkpoint.known = if deletion {
                asked.await?
            } else {
                // The log-out has happened by now, and is not to fail for want of an answer.
                !matches!(timeout(PATIENCE, asked).await, Ok(Ok(false)))
            };
            if !checkpoint.known {
                return Err(Refusal::UserNotFound.into());
            }
        }
        if deletion {
            running.save_checkpoint(&checkpoint).await?;
            delete_documents(context, user, running, &mut checkpoint).await?;
            checkpoint.invalidated += context.cache.invalidate(user, true).await?;
        }
        Ok(InvalidateAnswer {
            user: request.user,
            kind: request.kind,
            invalidated: checkpoint.invalidated,
            deleted: deletion.then_some(checkpoint.deleted),
        })
    }
}

/// Deletes until Convex lists no document of this user, or the job's turn is over.
async fn delete_documents(
    context: &Context,
    user: &str,
    running: &Running,
    checkpoint: &mut Checkpoint,
) -> Result<(), Failure> {
    // What an earlier attempt was deleting counts as deleted, whichever of the two did it.
    let mut begun_before = true;
    let begun = Instant::now();
    loop {
        stop_if_cancelled(running)?;
        if !checkpoint.pending.is_empty() {
            let deleted = context.files.delete(user, &checkpoint.pending).await?;
            checkpoint.deleted += if begun_before {
                checkpoint.pending.len() as u64
            } else {
                deleted
            };
            checkpoint.pending.clear();
            if begun.elapsed() >= TURN {
                running.save_checkpoint(&*checkpoint).await?;
                return Err(Failure::Yield);
            }
        }
        begun_before = false;
        // Saved with the count of those before, and before their own deletion begins.
        checkpoint.pending = context.files.list_ids(user, DOCUMENTS_PER_STEP).await?;
        running.save_checkpoint(&*checkpoint).await?;
        running
            .progress(&Progress {
                invalidated: checkpoint.invalidated,
                deleted: checkpoint.deleted,
            })
            .await?;
        if checkpoint.pending.is_empty() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;

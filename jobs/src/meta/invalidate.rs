//! `invalidate`: drops a user's entries from Valkey and, when the account was deleted, the
//! documents from Convex.
//!
//! The first step moves the user's epoch, so that syncs, prefetches and fills which began before it
//! are refused. It does not need Convex, which then only says whether a user of whom nothing was
//! cached is known at all. A deletion drops the entries once more at its end: a sync that began in
//! between may have read files which were deleted a moment later.

use std::str::FromStr;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sluice_queue::Running;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::UnknownKind;
use super::user::{UserId, user};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::Refusal;

/// How many documents one call to Convex deletes.
const DOCUMENTS_PER_STEP: usize = 500;

/// How long a deletion goes on before it lets others go first: log-outs, which users wait for, and
/// other deletions.
const TURN: Duration = Duration::from_millis(500);

/// How long Convex has for saying whether it knows a user of whom nothing is cached.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where deletions of accounts stand in line: behind log-outs, which are quick, and before batch
/// work.
const DELETION_PRIORITY: u8 = 7;

/// What to drop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = InvalidateBody)]
pub struct Invalidate {
    /// The user whose entries they are.
    #[serde(deserialize_with = "user")]
    #[schema(value_type = UserId)]
    pub user: String,
    /// `OUT`: from the cache. `DEL`: from the cache and from Convex.
    #[serde(rename = "type")]
    pub kind: InvalidateKind,
}

/// What is dropped: entries of the cache, or with them the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
pub enum InvalidateKind {
    /// The user logged out: entries leave Valkey, Convex is untouched.
    Out,
    /// The account was deleted: entries leave Valkey and documents leave Convex.
    Del,
}

impl InvalidateKind {
    /// All kinds, in the order in which the contract lists them.
    pub const ALL: [Self; 2] = [Self::Out, Self::Del];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "OUT",
            Self::Del => "DEL",
        }
    }
}

impl FromStr for InvalidateKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|it| it.as_str() == name);
        kind.ok_or(UnknownKind)
    }
}

/// Answer to an invalidate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct InvalidateResult {
    /// Whose entries they were.
    #[schema(example = "usr_demo1")]
    pub user: String,
    /// `OUT` or `DEL`.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "OUT")]
    pub kind: InvalidateKind,
    /// Entries that left the cache.
    pub invalidated: u64,
    /// Files that left Convex; with `DEL` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
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
    /// Of a log-out: with the queue's backoff these span about an hour.
    const MAX_ATTEMPTS: u32 = 25;
    const VIEWERS: &'static str = super::VIEWERS;
    const FREES_MEMORY: bool = true;
    type Answer = InvalidateResult;
    type Refusal = Refusal;

    fn user(&self) -> Option<&str> {
        Some(&self.user)
    }

    /// Log-outs never share a job: an earlier one that still runs may already have passed the
    /// entries that this caller wants gone.
    fn unique_key(&self) -> Option<String> {
        (self.kind == InvalidateKind::Del).then(|| format!("DEL:{}", self.user))
    }

    fn priority(&self) -> Option<u8> {
        (self.kind == InvalidateKind::Del).then_some(DELETION_PRIORITY)
    }

    /// A deletion is never given up, however long Convex is away.
    fn max_attempts(&self) -> Option<u32> {
        (self.kind == InvalidateKind::Out).then_some(Self::MAX_ATTEMPTS)
    }

    async fn run(self, context: &Context, running: &Running) -> Result<InvalidateResult, Failure> {
        let user = self.user.as_str();
        let deletion = self.kind == InvalidateKind::Del;
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
        Ok(InvalidateResult {
            user: self.user,
            kind: self.kind,
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

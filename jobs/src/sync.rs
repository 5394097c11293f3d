//! `sync`: replaces a user's scattered entries by one bulk set.
//!
//! Files stream from Convex into a staging set, in the order in which they may claim room: the most
//! active first, then the newest. Valkey counts the bytes and admits what fits. Then whatever
//! changed in Convex meanwhile is applied, and one script puts the staging set in the place of the
//! live one. Readers see the old set until then.

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use serde::Serialize;
use sluice_convex::files::File;
use sluice_queue::Running;
use sluice_store::cache::{Committed, Entry, Overflow, Pushed, Staging};

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::late_changes::{LateChanges, entry};
use crate::ranking::most_active;
use crate::requests::{Refusal, SyncRequest, SyncType};

/// The job behind `POST /api/v1/e/meta/sync`.
pub(crate) struct Sync;

/// What a finished sync reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct SyncAnswer {
    /// The owner of the files.
    pub user: String,
    /// Entries that are in the bulk set.
    pub synced: u64,
    /// Entries that did not fit.
    pub skipped: u64,
}

/// How far a sync has come, for progress bars and the board.
#[derive(Serialize)]
struct Progress {
    entries: u64,
    bytes: u64,
    skipped: u64,
}

impl Job for Sync {
    const QUEUE: &'static str = "sync";
    const MAX_ATTEMPTS: u32 = 8;
    type Request = SyncRequest;
    type Answer = SyncAnswer;

    async fn run(
        context: &Context,
        request: SyncRequest,
        running: &Running,
    ) -> Result<SyncAnswer, Failure> {
        let Committed {
            entries,
            skipped,
            bytes,
            ..
        } = load_and_commit(context, &request.user, request.kind, running).await?;
        metrics::counter!("sluice_sync_entries_total").increment(entries);
        metrics::counter!("sluice_sync_bytes_total").increment(bytes);
        Ok(SyncAnswer {
            user: request.user,
            synced: entries,
            skipped,
        })
    }
}

async fn load_and_commit(
    context: &Context,
    user: &str,
    kind: SyncType,
    running: &Running,
) -> Result<Committed, Failure> {
    let policy = match kind {
        SyncType::AllOne | SyncType::MostOne => Overflow::Refuse,
        SyncType::AllTwo | SyncType::MostTwo => Overflow::Skip,
    };
    let whole = matches!(kind, SyncType::AllOne | SyncType::AllTwo);

    let staging = context.cache.stage(user, policy).await?;
    let mut late = LateChanges::from_now(&*context.files, user).await?;
    let mut load = Load {
        context,
        running,
        user,
        staging,
    };
    match load.fill(whole, &mut late).await {
        Ok(true) => {}
        Ok(false) => {
            load.staging.abandon().await?;
            // Whatever is still cached for this user is of files that are gone.
            context.cache.invalidate(user, true).await?;
            return Err(Refusal::UserNotFound.into());
        }
        Err(failure) => {
            // The failure is what matters. What stays behind goes with the next attempt or an
            // invalidate.
            if let Err(error) = load.staging.abandon().await {
                tracing::debug!(user, %error, "a staging set stays until it expires");
            }
            return Err(failure);
        }
    }
    let committed = load.staging.commit(kind.as_str(), late.as_of()).await?;
    // What changed between the last look and the commit is mended in the live set.
    late.apply_to(&context.cache).await?;
    Ok(committed)
}

/// One staging set being filled.
struct Load<'a> {
    context: &'a Context,
    running: &'a Running,
    user: &'a str,
    staging: Staging,
}

impl Load<'_> {
    /// Fills the staging set and brings it up to date. `false` when Convex has no file of this
    /// user.
    async fn fill(&mut self, whole: bool, late: &mut LateChanges<'_>) -> Result<bool, Failure> {
        // So that the epoch to which the set is bound is one of this job's time: a log-out after
        // its end ends this, too.
        self.running.confirm().await?;
        let limit = if whole {
            usize::MAX
        } else {
            self.context.cache.config().most_active_limit as usize
        };
        let context = self.context;
        let mut found = self
            .push_all(most_active(context, self.user), limit)
            .await?;
        if whole || !found {
            found |= self
                .push_all(context.files.newest_first(self.user), limit)
                .await?;
        }
        if !found {
            return Ok(false);
        }
        let mut left = Vec::new();
        while let Some(changes) = late.next().await? {
            left.extend(self.staging.amend(&changes, whole).await?);
        }
        let mut found = late.successors(&left);
        while let Some(changes) = found.try_next().await? {
            self.staging.amend(&changes, true).await?;
        }
        Ok(true)
    }

    /// Stages the first `limit` files of `batches`. `false` when there are none.
    async fn push_all<E>(
        &mut self,
        mut batches: BoxStream<'_, Result<Vec<File>, E>>,
        limit: usize,
    ) -> Result<bool, Failure>
    where
        Failure: From<E>,
    {
        let mut left = limit;
        while left > 0
            && let Some(mut batch) = batches.try_next().await?
        {
            batch.truncate(left);
            left -= batch.len();
            self.push(batch).await?;
        }
        Ok(left < limit)
    }

    async fn push(&mut self, files: Vec<File>) -> Result<(), Failure> {
        stop_if_cancelled(self.running)?;
        let entries: Vec<Entry> = files.into_iter().map(entry).collect();
        let Pushed {
            entries,
            bytes,
            skipped,
        } = self.staging.push(&entries).await?;
        let progress = Progress {
            entries,
            bytes,
            skipped,
        };
        Ok(self.running.progress(&progress).await?)
    }
}

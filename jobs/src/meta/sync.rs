//! `sync`: replaces a user's scattered entries by one bulk set.
//!
//! Files stream from Convex into a staging set, in the order in which they may claim room: the most
//! active first, then the newest. Valkey counts the bytes and admits what fits. Then whatever
//! changed in Convex meanwhile is applied, and one script puts the staging set in the place of the
//! live one. Readers see the old set until then.

use std::str::FromStr;

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use sluice_convex::files::File;
use sluice_queue::Running;
use sluice_store::cache::{Committed, Entry, Overflow, Pushed, Staging};
use utoipa::ToSchema;

use super::UnknownKind;
use super::late_changes::{LateChanges, entry};
use super::ranking::most_active;
use super::user::{UserId, user};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::Refusal;

/// Which files of whom to put into the cache as one set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SyncBody)]
pub struct Sync {
    /// The user whose files they are.
    #[serde(deserialize_with = "user")]
    #[schema(value_type = UserId)]
    pub user: String,
    /// Which files, and what to do when they exceed the limit: `…One` refuses, `…Two` skips those
    /// that do not fit.
    #[serde(rename = "type")]
    pub kind: SyncKind,
}

/// Which files a sync takes, and what it does when they exceed the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SyncKind {
    /// All of the user's files, or none when they exceed the limit.
    AllOne,
    /// As many of the user's files as fit, the rest counted as skipped.
    AllTwo,
    /// The most active files as one group, or none when the group exceeds the limit.
    MostOne,
    /// As many of the most active files as fit, the rest counted as skipped.
    MostTwo,
}

impl SyncKind {
    /// All kinds, in the order in which the contract lists them.
    pub const ALL: [Self; 4] = [Self::AllOne, Self::AllTwo, Self::MostOne, Self::MostTwo];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllOne => "allOne",
            Self::AllTwo => "allTwo",
            Self::MostOne => "mostOne",
            Self::MostTwo => "mostTwo",
        }
    }
}

impl FromStr for SyncKind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        let kind = Self::ALL.into_iter().find(|it| it.as_str() == name);
        kind.ok_or(UnknownKind)
    }
}

/// Answer to a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SyncResult {
    /// Whose files they are.
    #[schema(example = "usr_demo1")]
    pub user: String,
    /// Entries in the set.
    pub synced: u64,
    /// Files that did not fit the limit.
    pub skipped: u64,
}

/// How far a sync has come, for progress bars and the board.
#[derive(Serialize)]
struct Progress {
    entries: u64,
    bytes: u64,
    skipped: u64,
    /// About how many entries there will be: as many as the last sync left.
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u64>,
}

impl Job for Sync {
    const QUEUE: &'static str = "sync";
    const MAX_ATTEMPTS: u32 = 8;
    const VIEWERS: &'static str = super::VIEWERS;
    type Answer = SyncResult;
    type Refusal = Refusal;

    fn user(&self) -> Option<&str> {
        Some(&self.user)
    }

    fn unique_key(&self) -> Option<String> {
        Some(format!("{}:{}", self.kind.as_str(), self.user))
    }

    fn group(&self) -> Option<String> {
        Some(self.user.clone())
    }

    async fn run(self, context: &Context, running: &Running) -> Result<SyncResult, Failure> {
        let Committed {
            entries,
            skipped,
            bytes,
            ..
        } = load_and_commit(context, &self.user, self.kind, running).await?;
        metrics::counter!("sluice_sync_entries_total").increment(entries);
        metrics::counter!("sluice_sync_bytes_total").increment(bytes);
        Ok(SyncResult {
            user: self.user,
            synced: entries,
            skipped,
        })
    }
}

async fn load_and_commit(
    context: &Context,
    user: &str,
    kind: SyncKind,
    running: &Running,
) -> Result<Committed, Failure> {
    let policy = match kind {
        SyncKind::AllOne | SyncKind::MostOne => Overflow::Refuse,
        SyncKind::AllTwo | SyncKind::MostTwo => Overflow::Skip,
    };
    let whole = matches!(kind, SyncKind::AllOne | SyncKind::AllTwo);

    let before = context.cache.list(user, None, 1).await?;
    let expected = Some(before.total).filter(|&total| whole && total > 0);
    let staging = context.cache.stage(user, policy).await?;
    let mut late = LateChanges::from_now(&*context.files, user).await?;
    let mut load = Load {
        context,
        running,
        user,
        staging,
        expected,
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
    expected: Option<u64>,
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
            expected: self.expected,
        };
        Ok(self.running.progress(&progress).await?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn sync(user: &str, kind: SyncKind) -> Sync {
        let user = user.to_owned();
        Sync { user, kind }
    }

    #[test]
    fn syncs_of_one_user_share_a_job_by_kind_and_run_one_after_the_other() {
        let [all, most] = [SyncKind::AllOne, SyncKind::MostOne].map(|kind| sync("u", kind));
        assert_eq!(all.unique_key(), sync("u", SyncKind::AllOne).unique_key());
        assert_ne!(all.unique_key(), most.unique_key());
        assert_ne!(all.unique_key(), sync("v", SyncKind::AllOne).unique_key());
        assert_eq!(all.group(), most.group());
        assert_ne!(all.group(), sync("v", SyncKind::AllOne).group());
    }

    #[test]
    fn a_kind_has_one_name() {
        for kind in SyncKind::ALL {
            assert_eq!(kind.as_str().parse(), Ok(kind));
            let payload = sync("u", kind).new_job().unwrap().payload;
            let expected = format!(r#"{{"user":"u","type":"{}"}}"#, kind.as_str());
            assert_eq!(payload.get(), expected);
        }
        assert_eq!("all".parse::<SyncKind>(), Err(UnknownKind));
    }
}

//! `prefetch`: refreshes the entries that are read most, then the newest, before they expire.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use sluice_queue::Running;
use sluice_store::cache::Entry;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::late_changes::{LateChanges, entry};
use crate::ranking::most_active;
use crate::requests::{PrefetchRequest, Refusal};

/// The job behind `POST /api/v1/e/meta/prefetch`.
pub(crate) struct Prefetch;

/// What is asked of it: by a caller, or by the sweep.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PrefetchWork {
    #[serde(flatten)]
    pub request: PrefetchRequest,
    /// The second, since 1970, of the access for which the user's entries are kept warm; nothing is
    /// done after a log-out since then. None for a caller, who wants it whatever was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_at: Option<u64>,
}

/// What a finished prefetch reports.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct PrefetchAnswer {
    /// The owner of the files.
    pub user: String,
    /// Entries written.
    pub prefetched: u64,
}

#[derive(Serialize)]
struct Progress {
    entries: u64,
}

impl Job for Prefetch {
    const QUEUE: &'static str = "prefetch";
    const MAX_ATTEMPTS: u32 = 5;
    type Request = PrefetchWork;
    type Answer = PrefetchAnswer;

    async fn run(
        context: &Context,
        PrefetchWork { request, read_at }: PrefetchWork,
        running: &Running,
    ) -> Result<PrefetchAnswer, Failure> {
        let Context { cache, files, .. } = context;
        let user = request.user.as_str();
        let epoch = cache.epoch(user).await?;
        // So that the epoch is one of this job's time: a log-out after its end refuses what
        // follows.
        running.confirm().await?;
        if read_at.is_some_and(|second| epoch >= second.saturating_mul(1_000_000)) {
            return Ok(PrefetchAnswer {
                user: request.user,
                prefetched: 0,
            });
        }
        let mut late = LateChanges::from_now(&**files, user).await?;
        let since = late.as_of();

        let mut left = request.limit as usize;
        let mut taken = HashSet::new();
        let mut prefetched = 0;
        let newest = files.newest_first(user).map_err(Failure::from);
        let mut batches = most_active(context, user).chain(newest);
        while left > 0
            && let Some(mut hot) = batches.try_next().await?
        {
            stop_if_cancelled(running)?;
            hot.retain(|file| !taken.contains(&file.id));
            hot.truncate(left);
            left -= hot.len();
            taken.extend(hot.iter().map(|file| file.id.clone()));
            let entries: Vec<Entry> = hot.into_iter().map(entry).collect();
            prefetched += cache.prefetch(user, epoch, since, &entries).await?;
            running
                .progress(&Progress {
                    entries: prefetched,
                })
                .await?;
        }
        if taken.is_empty() {
            return Err(Refusal::UserNotFound.into());
        }
        late.apply_to(cache).await?;
        metrics::counter!("sluice_prefetch_entries_total").increment(prefetched);
        Ok(PrefetchAnswer {
            user: user.to_owned(),
            prefetched,
        })
    }
}

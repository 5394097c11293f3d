//! `prefetch`: refreshes the entries that are read most, before they expire.

use serde::Serialize;
use sluice_queue::Running;
use sluice_store::cache::Entry;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::late_changes::{LateChanges, entry};
use crate::requests::{PrefetchRequest, Refusal};
use crate::sync::missing;

/// How many files are fetched and written at once.
const FILES_PER_STEP: usize = 200;

/// The job behind `POST /api/v1/e/meta/prefetch`.
pub(crate) struct Prefetch;

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
    type Request = PrefetchRequest;
    type Answer = PrefetchAnswer;

    async fn run(
        context: &Context,
        request: PrefetchRequest,
        running: &Running,
    ) -> Result<PrefetchAnswer, Failure> {
        let Context { cache, files, .. } = context;
        let user = request.user.as_str();
        let epoch = cache.epoch(user).await?;
        let mut late = LateChanges::from_now(&**files, user).await?;

        let mut found = false;
        let mut prefetched = 0;
        let ids = cache.most_active(user, request.limit as usize).await?;
        for ids in ids.chunks(FILES_PER_STEP) {
            stop_if_cancelled(running)?;
            let hot = files.get_many(user, ids).await?;
            if hot.len() < ids.len() {
                cache.forget_activity(user, &missing(ids, &hot)).await?;
            }
            found |= !hot.is_empty();
            let entries: Vec<Entry> = hot.into_iter().map(entry).collect();
            prefetched += cache.prefetch(user, epoch, &entries).await?;
            running
                .progress(&Progress {
                    entries: prefetched,
                })
                .await?;
        }
        if !found && !files.any(user).await? {
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

//! `prefetch`: refreshes the entries that are read most, then the newest, before they expire.

use std::collections::HashSet;

use futures_util::{StreamExt, TryStreamExt};
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use sluice_queue::{QueueError, Running};
use sluice_store::cache::Entry;
use utoipa::ToSchema;

use super::late_changes::{LateChanges, entry};
use super::ranking::most_active;
use super::user::{UserId, user};
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::Refusal;

/// Most files one prefetch may ask for.
pub const MAX_PREFETCH: u32 = 100_000;

/// Where a sweep's prefetches stand in line: behind what callers ask for.
const SWEEP_PRIORITY: u8 = 9;

/// How many of the most read files to refresh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = PrefetchBody)]
pub struct Prefetch {
    /// The user whose files they are.
    #[serde(deserialize_with = "user")]
    #[schema(value_type = UserId)]
    pub user: String,
    /// At most this many files.
    #[serde(deserialize_with = "limit")]
    #[schema(minimum = 1, maximum = 100_000, example = 100)]
    pub limit: u32,
    /// Of a sweep's prefetch: the second, since 1970, of the access for which the user's entries
    /// are kept warm. Nothing is done after a log-out since then. A caller wants it whatever was
    /// before, and cannot set it: only [`Prefetch::of`] reads it.
    #[serde(skip_deserializing, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    read_at: Option<u64>,
}

/// Answer to a prefetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PrefetchResult {
    /// Whose files they are.
    #[schema(example = "usr_demo1")]
    pub user: String,
    /// Files that went into the cache; may be below the limit asked for.
    pub prefetched: u64,
}

#[derive(Serialize)]
struct Progress {
    entries: u64,
    /// How many may come; the user may have fewer.
    expected: u64,
}

impl Prefetch {
    /// What a caller asks for: at most `limit` (1 to [`MAX_PREFETCH`]) files of a user.
    pub fn new(user: String, limit: u32) -> Self {
        Self {
            user,
            limit,
            read_at: None,
        }
    }

    /// What a sweep asks for, for a user who read something at this second, since 1970.
    pub(super) fn keep_warm(user: String, limit: u32, read_at: u64) -> Self {
        Self {
            user,
            limit,
            read_at: Some(read_at),
        }
    }
}

impl Job for Prefetch {
    const QUEUE: &'static str = "prefetch";
    const MAX_ATTEMPTS: u32 = 5;
    const VIEWERS: &'static str = super::VIEWERS;
    type Answer = PrefetchResult;
    type Refusal = Refusal;

    fn of(running: &Running) -> Result<Self, QueueError> {
        let Kept {
            user,
            limit,
            read_at,
        } = running.payload()?;
        Ok(Self {
            user,
            limit,
            read_at,
        })
    }

    fn user(&self) -> Option<&str> {
        Some(&self.user)
    }

    fn unique_key(&self) -> Option<String> {
        let Self { user, limit, .. } = self;
        Some(match self.read_at {
            None => format!("{limit}:{user}"),
            // Not that of callers, who may ask for it after a log-out that ends this one.
            Some(_) => format!("sweep:{user}"),
        })
    }

    fn priority(&self) -> Option<u8> {
        self.read_at.map(|_| SWEEP_PRIORITY)
    }

    async fn run(self, context: &Context, running: &Running) -> Result<PrefetchResult, Failure> {
        let Context { cache, files, .. } = context;
        let Self {
            user,
            limit,
            read_at,
        } = self;
        let epoch = cache.epoch(&user).await?;
        // So that the epoch is one of this job's time: a log-out after its end refuses what
        // follows.
        running.confirm().await?;
        if read_at.is_some_and(|second| epoch >= second.saturating_mul(1_000_000)) {
            return Ok(PrefetchResult {
                user,
                prefetched: 0,
            });
        }
        let mut late = LateChanges::from_now(&**files, &user).await?;
        let since = late.as_of();

        let mut left = limit as usize;
        let mut taken = HashSet::new();
        let mut prefetched = 0;
        let newest = files.newest_first(&user).map_err(Failure::from);
        let mut batches = most_active(context, &user).chain(newest);
        while left > 0
            && let Some(mut hot) = batches.try_next().await?
        {
            stop_if_cancelled(running)?;
            hot.retain(|file| !taken.contains(&file.id));
            hot.truncate(left);
            left -= hot.len();
            taken.extend(hot.iter().map(|file| file.id.clone()));
            let entries: Vec<Entry> = hot.into_iter().map(entry).collect();
            prefetched += cache.prefetch(&user, epoch, since, &entries).await?;
            running
                .progress(&Progress {
                    entries: prefetched,
                    expected: self.limit.into(),
                })
                .await?;
        }
        if taken.is_empty() {
            return Err(Refusal::UserNotFound.into());
        }
        late.apply_to(cache).await?;
        metrics::counter!("sluice_prefetch_entries_total").increment(prefetched);
        drop((late, batches));
        Ok(PrefetchResult { user, prefetched })
    }
}

/// A prefetch as the queue keeps it.
#[derive(Deserialize)]
struct Kept {
    user: String,
    limit: u32,
    #[serde(default)]
    read_at: Option<u64>,
}

/// For `deserialize_with`: a whole number from 1 to [`MAX_PREFETCH`].
fn limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Limit;
    impl Visitor<'_> for Limit {
        type Value = u32;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "a whole number from 1 to {MAX_PREFETCH}")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number)
                .ok()
                .filter(|limit| (1..=MAX_PREFETCH).contains(limit))
                .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }
    deserializer.deserialize_u32(Limit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{from_str, to_value};

    use super::*;

    #[test]
    fn what_a_sweep_asks_for_is_kept_and_no_caller_can_say_it() {
        let warm = Prefetch::keep_warm("u".to_owned(), 100, 7);
        let job = warm.new_job().unwrap();
        let kept: Kept = from_str(job.payload.get()).unwrap();
        assert_eq!((&*kept.user, kept.limit, kept.read_at), ("u", 100, Some(7)));
        let refused = from_str::<Prefetch>(job.payload.get()).unwrap_err();
        let message = refused.to_string();
        assert!(message.contains("unknown field `read_at`"), "{message}");
    }

    #[test]
    fn a_sweep_shares_no_prefetch_with_a_caller_and_stands_behind_it() {
        let warm = Prefetch::keep_warm("u".to_owned(), 100, 7);
        let asked = Prefetch::new("u".to_owned(), 100);
        assert_ne!(warm.unique_key(), asked.unique_key());
        let [warm, asked] = [warm, asked].map(|it| it.new_job().unwrap());
        assert!(warm.priority > asked.priority);
        assert_eq!(
            to_value(asked.payload).unwrap(),
            serde_json::json!({"user": "u", "limit": 100})
        );
    }
}

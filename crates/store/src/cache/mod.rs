//! The metadata cache: per user one bulk set that a sync replaces as a whole, single entries cached
//! on access, and the ranking of what is read most.
//!
//! Each step that must be atomic is one script under `lua/cache/`; `keys` lists what they work on.

mod activity;
mod amend;
mod functions;
mod invalidate;
mod keys;
mod list;
mod many;
mod read_through;
mod recent;
mod single;
mod staging;
mod whole;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use sluice_valkey::Valkey;

use crate::StoreError;
use crate::library::METRICS;
use keys::Keys;

pub use amend::Amended;
pub use list::{ListCursor, ListPage, ListPhase};
pub use many::Lookups;
pub use read_through::{Origin, Read, ReadError, ReadOutcome, ReadThrough};
pub use single::{FetchLease, Lookup, Source};
pub use staging::{Committed, Pushed, Staging};

/// The highest limit of a bulk set: 450 MB of ids and serialized entries, summed.
pub const MAX_LIMIT_BYTES: u64 = 450_000_000;

/// Payload of one script call: long enough that its fixed cost vanishes, short enough that others
/// wait for milliseconds only.
const CHUNK_BYTES: usize = 512 * 1024;
/// Entries of one script call. Lua's `unpack` takes at most 7,999 values, and an entry is two.
const CHUNK_ENTRIES: usize = 1_000;

/// The metadata cache of all users. Cheap to clone.
#[derive(Clone)]
pub struct Cache {
    valkey: Valkey,
    /// The same server for lookups: small commands, many at once. On one connection they share round
    /// trips, which costs both ends less than to divide them among several.
    lookups: Valkey,
    config: CacheConfig,
    gathered: Arc<Mutex<activity::Gathered>>,
    noted: Arc<Mutex<recent::Noted>>,
}

/// What can be set about the cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheConfig {
    /// Most bytes of a bulk set (ids and serialized entries, summed), at most [`MAX_LIMIT_BYTES`].
    pub limit_bytes: u64,
    /// How long a bulk set lives after its commit.
    pub sync_ttl: Duration,
    /// How long a single entry lives after it was written.
    pub entry_ttl: Duration,
    /// Size of the group of most active files. Ten times as many ids are ranked.
    pub most_active_limit: u32,
    /// Time in which the weight of an access halves.
    pub activity_half_life: Duration,
}

impl Default for CacheConfig {
    fn default() -> Self {
        CacheConfig {
            limit_bytes: MAX_LIMIT_BYTES,
            sync_ttl: Duration::from_secs(24 * 60 * 60),
            entry_ttl: Duration::from_secs(60 * 60),
            most_active_limit: 1_000,
            activity_half_life: Duration::from_secs(24 * 60 * 60),
        }
    }
}

/// What happens to an entry that does not fit below the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// The whole set is refused (`allOne`, `mostOne`).
    Refuse,
    /// The entry is left out and counted; smaller ones after it may still go in (`allTwo`,
    /// `mostTwo`).
    Skip,
}

/// One file's metadata as it is cached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What readers ask for.
    pub id: Box<str>,
    /// The document's `_id` in Convex; often the same.
    pub doc_id: Box<str>,
    /// The serialized entry, an object with `id`; never empty. `id.len() + json.len()` bytes count
    /// against the limit.
    pub json: Bytes,
}

/// What a transaction in Convex did to a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// When it was committed, ns. Of two changes of one document the later holds, in whichever
    /// order they arrive.
    pub ts: i64,
    /// The document's `_id` in Convex.
    pub doc_id: Box<str>,
    /// What it did.
    pub kind: ChangeKind,
}

/// See [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChangeKind {
    /// It has this revision now.
    Put(Entry),
    /// It was deleted, or belongs to another user.
    Remove {
        /// What readers knew it by, where that is known: fetches of it that are under way are told.
        id: Option<Box<str>>,
    },
}

impl Cache {
    /// Where it is kept.
    pub fn valkey(&self) -> &Valkey {
        &self.valkey
    }

    /// A cache kept in `valkey`.
    ///
    /// # Errors
    /// [`StoreError::Config`] when the limit is above [`MAX_LIMIT_BYTES`], or a duration is below a
    /// millisecond.
    pub fn new(valkey: &Valkey, config: CacheConfig) -> Result<Cache, StoreError> {
        if config.limit_bytes > MAX_LIMIT_BYTES {
            return Err(StoreError::Config(format!(
                "the limit of a bulk set is {} bytes, above the {MAX_LIMIT_BYTES} allowed",
                config.limit_bytes
            )));
        }
        let durations = [
            ("the TTL of a bulk set", config.sync_ttl),
            ("the TTL of an entry", config.entry_ttl),
            ("the half-life of activity", config.activity_half_life),
        ];
        for (name, duration) in durations {
            if duration.as_millis() == 0 {
                return Err(StoreError::Config(format!("{name} is zero")));
            }
        }
        Ok(Cache {
            lookups: valkey.ordered().measured(METRICS),
            valkey: valkey.pooled().measured(METRICS),
            config,
            gathered: Arc::default(),
            noted: Arc::default(),
        })
    }

    /// The configuration it was made with.
    pub fn config(&self) -> &CacheConfig {
        &self.config
    }

    fn keys(&self, user: &str) -> Keys {
        Keys::new(user, self.config.activity_half_life)
    }
}

impl Entry {
    /// Bytes that this entry counts against the limit.
    pub fn size(&self) -> u64 {
        (self.id.len() + self.json.len()) as u64
    }

    /// The Convex `_id` as scripts take it: empty where it is the id, as it mostly is.
    fn doc_id_if_different(&self) -> &str {
        if self.doc_id == self.id {
            ""
        } else {
            &self.doc_id
        }
    }
}

/// Cuts `items` into runs of at most [`CHUNK_ENTRIES`] and [`CHUNK_BYTES`], though never an item
/// apart.
fn chunks<'a, T>(
    mut items: &'a [T],
    bytes: impl Fn(&T) -> usize + 'a,
) -> impl Iterator<Item = &'a [T]> {
    std::iter::from_fn(move || {
        let mut sum = 0;
        let fitting = items
            .iter()
            .take(CHUNK_ENTRIES)
            .take_while(|item| {
                sum += bytes(item);
                sum <= CHUNK_BYTES
            })
            .count();
        let (chunk, rest) = items.split_at_checked(fitting.max(1))?;
        items = rest;
        Some(chunk)
    })
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::{CHUNK_BYTES, CHUNK_ENTRIES, chunks};

    #[test]
    fn chunks_hold_everything_in_order_within_both_bounds() {
        let items: Vec<usize> = (0..5_000).map(|at| at * 7919 % 3_000).collect();
        let cut: Vec<&[usize]> = chunks(&items, |&size| size).collect();
        assert_eq!(cut.concat(), items);
        for chunk in cut {
            assert!(chunk.len() <= CHUNK_ENTRIES);
            assert!(chunk.iter().sum::<usize>() <= CHUNK_BYTES);
        }
    }

    #[test]
    fn an_item_larger_than_a_chunk_goes_alone() {
        let items = [1, CHUNK_BYTES + 1, 2];
        let cut: Vec<&[usize]> = chunks(&items, |&size| size).collect();
        assert_eq!(cut, [&[1][..], &[CHUNK_BYTES + 1], &[2]]);
    }
}

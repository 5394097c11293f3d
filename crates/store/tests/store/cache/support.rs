//! One Valkey and one cache for a test, and entries to put in.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use redis::Commands;
use sluice_store::cache::{Cache, CacheConfig, Change, ChangeKind, Entry, Overflow, Source};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

pub struct Store {
    pub server: TestValkey,
    pub cache: Cache,
}

impl Store {
    pub fn start() -> Store {
        Store::with(CacheConfig::default())
    }

    pub fn with(config: CacheConfig) -> Store {
        let server = TestValkey::start();
        let cache = cache_at(&server.url(), config);
        Store { server, cache }
    }

    pub fn with_limit(limit_bytes: u64) -> Store {
        Store::with(CacheConfig {
            limit_bytes,
            ..CacheConfig::default()
        })
    }

    pub fn with_entry_ttl(entry_ttl: Duration) -> Store {
        Store::with(CacheConfig {
            entry_ttl,
            ..CacheConfig::default()
        })
    }

    /// Syncs `entries` as one set.
    pub async fn sync(&self, user: &str, kind: &str, entries: &[Entry]) {
        let mut staging = self.cache.stage(user, Overflow::Skip).await.unwrap();
        staging.push(entries).await.unwrap();
        staging.commit(kind, AS_OF).await.unwrap();
    }

    /// Reads an entry that is not cached, and caches what was fetched.
    pub async fn fill(&self, user: &str, entry: &Entry) -> bool {
        let missed = self.cache.read(user, &entry.id).await.unwrap();
        let lease = missed.fetch_lease.unwrap();
        self.cache.fill(user, lease, entry).await.unwrap()
    }

    /// Reads an entry, whether or not it is cached, and ranks it.
    pub async fn access(&self, user: &str, id: &str) {
        let lookup = self.cache.read(user, id).await.unwrap();
        self.cache.note_access(user, id, lookup.epoch);
        self.cache.record_accesses().await;
    }

    pub async fn recent_users(&self, limit: usize) -> Vec<String> {
        let users = self.cache.recent_users(0, limit).await.unwrap();
        users.into_iter().map(|(user, _)| user).collect()
    }

    /// What a reader gets, without leaving a trace in the ranking.
    pub async fn look(&self, user: &str, id: &str) -> Option<(Source, Bytes)> {
        self.cache.read(user, id).await.unwrap().hit
    }

    /// No key may outlive its use, not even one that an amendment brought into being.
    pub fn assert_every_key_expires(&self) {
        let mut connection = self.server.connection();
        let keys: Vec<String> = connection.keys("*").unwrap();
        assert!(!keys.is_empty());
        for key in keys {
            let ttl: i64 = connection.pttl(&key).unwrap();
            assert!(ttl > 0, "{key} never expires");
        }
    }

    /// Fields of the one hash whose key ends so.
    pub fn field_count(&self, suffix: &str) -> usize {
        let mut connection = self.server.connection();
        let keys: Vec<String> = connection.keys(format!("*{suffix}")).unwrap();
        assert_eq!(keys.len(), 1);
        connection.hlen(&keys[0]).unwrap()
    }

    /// All pages of a list.
    pub async fn list_all(&self, user: &str, page: usize) -> Vec<Bytes> {
        let mut listed = Vec::new();
        let mut cursor = None;
        loop {
            let page = self.cache.list(user, cursor, page).await.unwrap();
            listed.extend(page.entries);
            cursor = page.cursor;
            if cursor.is_none() {
                return listed;
            }
        }
    }
}

pub fn cache_at(url: &str, config: CacheConfig) -> Cache {
    Cache::new(&Valkey::at(url).unwrap(), config).unwrap()
}

/// An entry whose `_id` is its id.
pub fn entry(id: &str, json: &str) -> Entry {
    entry_of_doc(id, id, json)
}

pub fn entry_of_doc(id: &str, doc_id: &str, json: &str) -> Entry {
    Entry {
        id: id.into(),
        doc_id: doc_id.into(),
        json: Bytes::copy_from_slice(json.as_bytes()),
    }
}

/// An entry that counts `size` bytes.
pub fn entry_of_size(id: &str, size: usize) -> Entry {
    entry(id, &"x".repeat(size - id.len()))
}

/// A change later than all that were made before.
pub fn put(entry: Entry) -> Change {
    put_at(next_ts(), entry)
}

pub fn put_at(ts: i64, entry: Entry) -> Change {
    Change {
        ts,
        doc_id: entry.doc_id.clone(),
        kind: ChangeKind::Put(entry),
    }
}

/// A removal later than all changes that were made before, of a document known by its `_id` alone.
pub fn remove(doc_id: &str) -> Change {
    remove_at(next_ts(), doc_id, None)
}

pub fn remove_at(ts: i64, doc_id: &str, id: Option<&str>) -> Change {
    Change {
        ts,
        doc_id: doc_id.into(),
        kind: ChangeKind::Remove {
            id: id.map(Into::into),
        },
    }
}

/// Up to when sets hold every change; later than what a double could tell apart.
pub const AS_OF: i64 = 1_800_000_000_000_000_000;

fn next_ts() -> i64 {
    static LAST: AtomicI64 = AtomicI64::new(AS_OF);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

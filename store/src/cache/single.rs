//! Single entries, cached on access or by prefetch, and the ranking of what is accessed most.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use redis::{Pipeline, Value};

use super::keys::{ACTIVITY_HALF_LIVES, FETCH_LEASE};
use super::{CHUNK_ENTRIES, Cache, Entry, chunks, millis};
use crate::{Script, StoreError};

static READ: LazyLock<Script> =
    LazyLock::new(|| Script::new("read", include_str!("../../../lua/cache/read.lua")));
static FILL: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "fill",
        concat!(
            include_str!("../../../lua/cache/rivals.lua"),
            include_str!("../../../lua/cache/fill.lua")
        ),
    )
});
static EXTEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "extend_fetch",
        include_str!("../../../lua/cache/extend_fetch.lua"),
    )
});
static HAS_ANY: LazyLock<Script> =
    LazyLock::new(|| Script::new("has_any", include_str!("../../../lua/cache/has_any.lua")));

/// Ids ranked per place in the group of most active files: room for newcomers to rise.
const RANKED_PER_ACTIVE: u64 = 10;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The entry and where it was, if it was cached.
    pub hit: Option<(Source, Bytes)>,
    /// On a miss: given to the one caller that should fetch the entry. The others should look again shortly.
    pub fetch_lease: Option<FetchLease>,
}

/// The right to fetch an entry and to cache it: for [`FetchLease::LIFE`], then as often as [`Cache::extend_fetch`] renews it.
/// What is fetched without it is good for an answer, but may be a former revision by the time it would be cached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchLease {
    epoch: u64,
    nonce: u64,
}

impl FetchLease {
    /// How long a lease is good for.
    pub const LIFE: Duration = FETCH_LEASE;
}

/// Where a cached entry was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// In the set that a sync wrote.
    Bulk,
    /// Among the entries cached one by one.
    Single,
}

/// How far what was fetched can be relied on.
#[derive(Clone, Copy)]
enum Fetched {
    /// It is as new as the lease with this nonce, if that still holds.
    Under(u64),
    /// Later changes than this (ns) may be missing, and follow.
    Since(i64),
}

impl Cache {
    /// Looks up the entry `id`, first in the bulk set, then among the single ones, and records the access when `record`.
    /// On a miss one caller gets the lease for fetching it, until [`Cache::fill`] or [`Cache::release_fetch`] ends it.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn read(&self, user: &str, id: &str, record: bool) -> Result<Lookup, StoreError> {
        if record {
            self.note_reader(user).await;
        }
        let keys = self.keys(user);
        let half_life = self.config.activity_half_life;
        let mut cmd = READ.command(&[
            &keys.epoch,
            &keys.live.entries,
            &keys.single_entries,
            &keys.single_expiry,
            &keys.activity,
            &keys.lease(id),
        ]);
        let nonce = rand::random();
        cmd.arg(id)
            .arg(nonce)
            .arg(millis(FETCH_LEASE))
            .arg(u8::from(record))
            .arg(millis(half_life))
            .arg(RANKED_PER_ACTIVE * u64::from(self.config.most_active_limit.max(1)))
            .arg(millis(half_life * ACTIVITY_HALF_LIVES));
        let (epoch, source, rest): (u64, u8, Value) = READ.run(&self.valkey, &cmd).await?;
        let (hit, fetch_lease) = match (source, rest) {
            (1, Value::BulkString(json)) => (Some((Source::Bulk, json.into())), None),
            (2, Value::BulkString(json)) => (Some((Source::Single, json.into())), None),
            (_, Value::Int(1)) => (None, Some(FetchLease { epoch, nonce })),
            _ => (None, None),
        };
        Ok(Lookup { hit, fetch_lease })
    }

    /// Caches one fetched entry for the entry TTL and ends the lease. Not cached, and `false`, when the user was invalidated
    /// since the lease was granted, when [`Cache::amend`] saw a change of the entry during the fetch, or when the lease ran
    /// out, so that it might have. Where a sync has cached the id meanwhile, its entry stays.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn fill(
        &self,
        user: &str,
        lease: FetchLease,
        entry: &Entry,
    ) -> Result<bool, StoreError> {
        let fetched = Fetched::Under(lease.nonce);
        let written = self
            .write(user, lease.epoch, std::slice::from_ref(entry), fetched)
            .await?;
        Ok(written == Some(1))
    }

    /// Renews the lease for a fetch that takes long; `false` when it has ended.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn extend_fetch(
        &self,
        user: &str,
        id: &str,
        lease: FetchLease,
    ) -> Result<bool, StoreError> {
        let mut cmd = EXTEND.command(&[&self.keys(user).lease(id)]);
        cmd.arg(lease.nonce).arg(millis(FetchLease::LIFE));
        EXTEND.run(&self.valkey, &cmd).await
    }

    /// Gives up the lease that [`Cache::read`] granted, when there is nothing to fill in.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn release_fetch(&self, user: &str, id: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(self.keys(user).lease(id));
        self.valkey.query("release_fetch", &cmd, None).await
    }

    /// Caches many entries for the entry TTL and returns how many. One that is in the bulk set is refreshed there instead,
    /// unless that set expires earlier: then the entry leaves it. `since` (ns) is a time before they were fetched: what the
    /// bulk set has of a later one stays. Changes after it are to be given to [`Cache::amend`] when this is done.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when the user was invalidated since `epoch`.
    pub async fn prefetch(
        &self,
        user: &str,
        epoch: u64,
        since: i64,
        entries: &[Entry],
    ) -> Result<u64, StoreError> {
        let mut written = 0;
        for chunk in chunks(entries, |entry| entry.id.len() + entry.json.len()) {
            let of_chunk = self
                .write(user, epoch, chunk, Fetched::Since(since))
                .await?;
            written += of_chunk.ok_or(StoreError::Superseded)?;
        }
        Ok(written)
    }

    /// Writes one chunk. `None` when the epoch moved.
    async fn write(
        &self,
        user: &str,
        epoch: u64,
        entries: &[Entry],
        fetched: Fetched,
    ) -> Result<Option<u64>, StoreError> {
        let keys = self.keys(user);
        let leases: Vec<String> = entries.iter().map(|entry| keys.lease(&entry.id)).collect();
        let mut all_keys = vec![
            &*keys.epoch,
            &keys.live.info,
            &keys.live.entries,
            &keys.live_stamps,
            &keys.single_entries,
            &keys.single_expiry,
            &keys.single_docs,
        ];
        all_keys.extend(leases.iter().map(String::as_str));
        let bytes = entries
            .iter()
            .map(|entry| entry.id.len() + entry.doc_id.len() + entry.json.len())
            .sum();
        let mut cmd = FILL.command_with_capacity(&all_keys, 5 + 3 * entries.len(), bytes);
        cmd.arg(epoch)
            .arg(millis(self.config.entry_ttl) * 1_000)
            .arg(self.config.limit_bytes);
        match fetched {
            Fetched::Under(nonce) => cmd.arg(nonce).arg(""),
            Fetched::Since(since) => cmd.arg("").arg(since),
        };
        for entry in entries {
            cmd.arg(&*entry.id)
                .arg(entry.doc_id_if_different())
                .arg(&entry.json[..]);
        }
        match FILL.run::<Vec<u64>>(&self.valkey, &cmd).await?[..] {
            [0, written] => Ok(Some(written)),
            _ => Ok(None),
        }
    }

    /// The user's epoch: it moves with each invalidate. 0 when there was none of late.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn epoch(&self, user: &str) -> Result<u64, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys(user).epoch).arg("value");
        let epoch: Option<u64> = self.valkey.query("epoch", &cmd, None).await?;
        Ok(epoch.unwrap_or(0))
    }

    /// Whether anything at all is cached for the user.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn has_any(&self, user: &str) -> Result<bool, StoreError> {
        let keys = self.keys(user);
        let cmd = HAS_ANY.command(&[&keys.live.info, &keys.single_expiry]);
        HAS_ANY.run(&self.valkey, &cmd).await
    }

    /// The ids with the highest access score, best first; none for a user without recorded activity.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn most_active(&self, user: &str, limit: usize) -> Result<Vec<String>, StoreError> {
        // Valkey counts in i64.
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("ZREVRANGE");
        cmd.arg(self.keys(user).activity).arg(0).arg(limit - 1);
        self.valkey.query("most_active", &cmd, None).await
    }

    /// As [`Cache::forget_activity`], of many users in one round trip: pairs of user and id.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn forget_accesses(
        &self,
        files: &[(impl AsRef<str>, String)],
    ) -> Result<(), StoreError> {
        let mut commands = Pipeline::new();
        for (user, id) in files {
            commands.zrem(self.keys(user.as_ref()).activity, id);
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.valkey
            .query_all("forget_accesses", &commands, None)
            .await
    }

    /// Drops ids from the ranking: files that no longer exist.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn forget_activity(&self, user: &str, ids: &[String]) -> Result<(), StoreError> {
        let activity = self.keys(user).activity;
        for chunk in ids.chunks(CHUNK_ENTRIES) {
            let mut cmd = redis::cmd("ZREM");
            cmd.arg(&activity).arg(chunk);
            self.valkey
                .query::<()>("forget_activity", &cmd, None)
                .await?;
        }
        Ok(())
    }
}

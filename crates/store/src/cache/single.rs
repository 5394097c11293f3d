//! Single entries, cached on access or by prefetch.

use std::time::Duration;

use bytes::Bytes;
use redis::{FromRedisValue, Value};

use super::functions::FUNCTIONS;
use super::keys::{FETCH_LEASE, LookupKeys};
use super::{Cache, Entry, chunks, millis};
use crate::StoreError;

/// The answer to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookup {
    /// The entry and where it was, if it was cached.
    pub hit: Option<(Source, Bytes)>,
    /// On a miss: given to the one caller that should fetch the entry.
    pub fetch_lease: Option<FetchLease>,
    /// On a miss: another caller has the lease. Look again shortly.
    pub fetched_elsewhere: bool,
    /// The user's epoch, to record the access in.
    pub epoch: u64,
}

/// The right to fetch an entry and to cache it: for [`FetchLease::LIFE`], then as often as
/// [`Cache::extend_fetch`] renews it. What is fetched without it is good for an answer, but may be
/// a former revision by the time it would be cached.
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

sluice_valkey::statuses! {
    /// Where an entry was found.
    enum Found {
        Bulk = "bulk",
        Single = "single",
        /// Nowhere; the lease for fetching it is the caller's.
        Granted = "granted",
        /// Nowhere, and another caller has the lease, or nobody.
        Missing = "missing",
    }
}

/// What the functions `read` and `look` return: where the entry is, the epoch, and its JSON when it
/// is there.
fn lookup(reply: Vec<Value>, nonce: u64) -> Result<Lookup, StoreError> {
    let corrupt = || StoreError::Corrupt("an entry");
    let mut reply = reply.into_iter();
    let mut next = || reply.next().ok_or_else(corrupt);
    let status = Found::from_redis_value(next()?).map_err(|_| corrupt())?;
    let epoch = u64::from_redis_value(next()?).map_err(|_| corrupt())?;
    let mut json = || match next()? {
        Value::BulkString(json) => Ok(Bytes::from(json)),
        _ => Err(corrupt()),
    };
    let hit = match status {
        Found::Bulk => Some((Source::Bulk, json()?)),
        Found::Single => Some((Source::Single, json()?)),
        Found::Granted | Found::Missing => None,
    };
    let granted = status == Found::Granted;
    Ok(Lookup {
        fetched_elsewhere: hit.is_none() && !granted,
        hit,
        fetch_lease: granted.then_some(FetchLease { epoch, nonce }),
        epoch,
    })
}

sluice_valkey::statuses! {
    /// How filling in went.
    enum FillStatus {
        Filled = "filled",
        /// The epoch has moved on.
        Superseded = "superseded",
    }
}

sluice_valkey::statuses! {
    /// How renewing the lease for a fetch went.
    enum ExtendStatus {
        Extended = "extended",
        /// It is not the caller's any more.
        Ended = "ended",
    }
}

/// What the function `fill` returns: the status, and how many entries were written.
type Filled = (FillStatus, u64);

/// How far what was fetched can be relied on.
#[derive(Clone, Copy)]
enum Fetched {
    /// It is as new as the lease with this nonce, if that still holds.
    Under(u64),
    /// Later changes than this (ns) may be missing, and follow.
    Since(i64),
}

impl Cache {
    /// Looks up the entry `id`, first in the bulk set, then among the single ones. What is cached
    /// is found in one round trip that writes nothing. On a miss one caller gets the lease for
    /// fetching it, until [`Cache::fill`] or [`Cache::release_fetch`] ends it; where Valkey cannot
    /// be written, nobody does.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn read(&self, user: &str, id: &str) -> Result<Lookup, StoreError> {
        let keys = LookupKeys::new(user);
        let mut cmd = FUNCTIONS.look.read_only_command(&keys.all());
        cmd.arg(id);
        let found: Vec<Value> = FUNCTIONS.look.run(&self.lookups, &cmd).await?;
        let found = lookup(found, 0)?;
        if found.hit.is_some() {
            return Ok(found);
        }
        let nonce = rand::random();
        let lease = self.keys(user).lease(id);
        let mut all_keys = keys.all().to_vec();
        all_keys.push(&lease);
        let mut cmd = FUNCTIONS.read.command(&all_keys);
        cmd.arg(id).arg(nonce).arg(millis(FETCH_LEASE));
        match FUNCTIONS.read.run_if_writable(&self.lookups, &cmd).await? {
            Some(reply) => lookup(reply, nonce),
            None => Ok(Lookup {
                fetched_elsewhere: false,
                ..found
            }),
        }
    }

    /// Caches one fetched entry for the entry TTL and ends the lease. Not cached, and `false`, when
    /// the user was invalidated since the lease was granted, when [`Cache::amend`] saw a change of
    /// the entry during the fetch, or when the lease ran out, so that it might have. Where a sync
    /// has cached the id meanwhile, its entry stays.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
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
    /// [`StoreError::Valkey`].
    pub async fn extend_fetch(
        &self,
        user: &str,
        id: &str,
        lease: FetchLease,
    ) -> Result<bool, StoreError> {
        let mut cmd = FUNCTIONS
            .extend_fetch
            .command(&[&self.keys(user).lease(id)]);
        cmd.arg(lease.nonce).arg(millis(FetchLease::LIFE));
        let extended: ExtendStatus = FUNCTIONS.extend_fetch.run(&self.valkey, &cmd).await?;
        Ok(extended == ExtendStatus::Extended)
    }

    /// Gives up the lease that [`Cache::read`] granted, when there is nothing to fill in.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn release_fetch(&self, user: &str, id: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("DEL");
        cmd.arg(self.keys(user).lease(id));
        Ok(self.valkey.query("release_fetch", &cmd).await?)
    }

    /// Caches many entries for the entry TTL and returns how many. One that is in the bulk set is
    /// refreshed there instead, unless that set expires earlier: then the entry leaves it. `since`
    /// (ns) is a time before they were fetched: what the bulk set has of a later one stays. Changes
    /// after it are to be given to [`Cache::amend`] when this is done.
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
        let mut all_keys = vec![&*keys.epoch];
        all_keys.extend(keys.readable());
        all_keys.extend(leases.iter().map(String::as_str));
        let bytes = entries
            .iter()
            .map(|entry| entry.id.len() + entry.doc_id.len() + entry.json.len())
            .sum();
        let mut cmd = FUNCTIONS
            .fill
            .command_with_capacity(&all_keys, 5 + 3 * entries.len(), bytes);
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
        let reply: Filled = match fetched {
            // The caller has an answer to give, whether or not it can be kept.
            Fetched::Under(_) => FUNCTIONS
                .fill
                .run_if_writable(&self.valkey, &cmd)
                .await?
                .unwrap_or((FillStatus::Filled, 0)),
            Fetched::Since(_) => FUNCTIONS.fill.run(&self.valkey, &cmd).await?,
        };
        Ok(match reply {
            (FillStatus::Filled, written) => Some(written),
            (FillStatus::Superseded, _) => None,
        })
    }

    /// The user's epoch: it moves with each invalidate. 0 when there was none of late.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn epoch(&self, user: &str) -> Result<u64, StoreError> {
        let mut cmd = redis::cmd("HGET");
        cmd.arg(self.keys(user).epoch).arg("value");
        let epoch: Option<u64> = self.valkey.query("epoch", &cmd).await?;
        Ok(epoch.unwrap_or(0))
    }

    /// Whether anything at all is cached for the user.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn has_any(&self, user: &str) -> Result<bool, StoreError> {
        let keys = self.keys(user);
        let cmd = FUNCTIONS
            .has_any
            .read_only_command(&[&keys.live.info, &keys.single_expiry]);
        Ok(FUNCTIONS.has_any.run(&self.valkey, &cmd).await?)
    }
}

//! Reading through the cache: a missing entry is fetched from its origin once, however many ask.
//!
//! Between processes, Valkey hands out a lease: the one caller that gets it fetches, the others
//! look again until the entry is there. Inside a process, all that miss an entry share one
//! [`Fetch`], so that they also share "there is no such entry" and errors, which leave no trace in
//! Valkey.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use tokio::time::{Instant, sleep, timeout};

use super::{Cache, Entry, FetchLease, Lookup, Lookups, Source};
use crate::StoreError;

/// How long the cache may take to look an entry up, its own retries included.
const LOOKUP_LIMIT: Duration = Duration::from_secs(5);
/// How often to look whether another process has fetched the entry.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long to rely on another process. Longer than its lease, which passes to one of those who
/// look again.
const RELY_ON_OTHERS: Duration = Duration::from_secs(6);

/// How many of the entries that one caller asks for together are fetched at a time.
const FETCHES_AT_ONCE: usize = 16;

/// Where entries are fetched from that are not cached.
pub trait Origin: Send + Sync + 'static {
    /// Why one could not be fetched.
    type Error: Display + Send + Sync + 'static;

    /// The user's entry of that id; none when the user has none.
    fn fetch(
        &self,
        user: &str,
        id: &str,
    ) -> impl Future<Output = Result<Option<Entry>, Self::Error>> + Send;
}

/// An entry that was read, and where it was.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The serialized entry.
    pub json: Bytes,
    /// Where in the cache it was; none when it came from its origin.
    pub cached: Option<Source>,
}

/// Why an entry could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E> {
    /// The cache took too long to look it up.
    #[error("the cache does not answer")]
    TimedOut,
    /// The cache failed.
    #[error(transparent)]
    Cache(#[from] StoreError),
    /// The origin failed.
    #[error("{0}")]
    Origin(E),
}

/// The entry, if there is one.
pub type ReadOutcome<E> = Result<Option<Read>, Arc<ReadError<E>>>;

/// Which entry: user and id.
type Key = (String, String);
/// Errors are shared by reference, since they cannot be cloned.
type Outcome<E> = Result<Option<Bytes>, Arc<ReadError<E>>>;
type Fetch<E> = Shared<BoxFuture<'static, Outcome<E>>>;
/// The fetches that run in this process.
type Fetches<E> = Arc<Mutex<HashMap<Key, Fetch<E>>>>;

/// The cache with what is behind it. Cheap to clone.
pub struct ReadThrough<O: Origin> {
    cache: Cache,
    origin: Arc<O>,
    fetches: Fetches<O::Error>,
}

impl<O: Origin> Clone for ReadThrough<O> {
    fn clone(&self) -> Self {
        Self {
            cache: self.cache.clone(),
            origin: self.origin.clone(),
            fetches: self.fetches.clone(),
        }
    }
}

impl<O: Origin> ReadThrough<O> {
    /// Reads through `cache`, which is filled from `origin`.
    pub fn new(cache: Cache, origin: O) -> Self {
        Self {
            cache,
            origin: Arc::new(origin),
            fetches: Arc::default(),
        }
    }

    /// The user's entry of that id, from the cache, or else from the origin and put into the cache
    /// on the way; none when the user has none. Counts as an access.
    ///
    /// # Errors
    /// Any [`ReadError`], which all have in common who waited for the same fetch.
    pub async fn read(&self, user: &str, id: &str) -> ReadOutcome<O::Error> {
        let lookup = timeout(LOOKUP_LIMIT, self.cache.read(user, id)).await;
        let lookup = lookup.map_err(|_| Arc::new(ReadError::TimedOut))?;
        let mut lookup = lookup.map_err(|error| Arc::new(ReadError::Cache(error)))?;
        let epoch = lookup.epoch;
        let read = match lookup.hit.take() {
            Some((source, json)) => Some(Read {
                json,
                cached: Some(source),
            }),
            None => {
                let key = (user.to_owned(), id.to_owned());
                let fetched = self.join_or_start(key, lookup).await?;
                fetched.map(|json| Read { json, cached: None })
            }
        };
        if read.is_some() {
            self.cache.note_access(user, id, epoch);
        }
        Ok(read)
    }

    /// As [`ReadThrough::read`], of many ids, each with an outcome of its own, in their order. What is
    /// cached is found in one round trip.
    ///
    /// # Errors
    /// [`ReadError::TimedOut`] and [`ReadError::Cache`], when the cache does not say what it has.
    pub async fn read_many(
        &self,
        user: &str,
        ids: &[String],
    ) -> Result<Vec<ReadOutcome<O::Error>>, ReadError<O::Error>> {
        let found = timeout(LOOKUP_LIMIT, self.cache.look_many(user, ids)).await;
        let Lookups { hits, epoch } = found.map_err(|_| ReadError::TimedOut)??;
        let mut missed = Vec::new();
        let mut outcomes: Vec<ReadOutcome<O::Error>> = Vec::with_capacity(ids.len());
        for (place, (hit, id)) in hits.into_iter().zip(ids).enumerate() {
            let read = hit.map(|(source, json)| {
                self.cache.note_access(user, id, epoch);
                let cached = Some(source);
                Read { json, cached }
            });
            if read.is_none() {
                missed.push((place, id.clone()));
            }
            outcomes.push(Ok(read));
        }
        let fetching = missed.into_iter().map(|(place, id)| {
            let (this, user) = (self.clone(), user.to_owned());
            async move { (place, this.read(&user, &id).await) }
        });
        let mut fetched = stream::iter(fetching).buffer_unordered(FETCHES_AT_ONCE);
        while let Some((place, outcome)) = fetched.next().await {
            outcomes[place] = outcome;
        }
        Ok(outcomes)
    }

    fn join_or_start(&self, key: Key, missed: Lookup) -> Fetch<O::Error> {
        let mut running = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetch) = running.get(&key)
            // Who holds the lease must not wait for one that waits for the lease.
            && missed.fetch_lease.is_none()
        {
            return fetch.clone();
        }
        let fetch = {
            let (this, key) = (self.clone(), key.clone());
            async move { this.fetch(&key, missed).await.map_err(Arc::new) }
        };
        let fetch = fetch.boxed().shared();
        running.insert(key.clone(), fetch.clone());
        drop(running);

        // Runs to its end also when every caller hangs up: the lease would be lost on them.
        let entry = Running {
            fetches: self.fetches.clone(),
            key,
            fetch: fetch.clone(),
        };
        tokio::spawn(async move {
            let _outcome = entry.fetch.clone().await;
            drop(entry);
        });
        fetch
    }

    async fn fetch(
        &self,
        (user, id): &Key,
        mut missed: Lookup,
    ) -> Result<Option<Bytes>, ReadError<O::Error>> {
        let relied_until = Instant::now() + RELY_ON_OTHERS;
        while missed.fetched_elsewhere && Instant::now() < relied_until {
            sleep(LOOK_AGAIN).await;
            missed = self.cache.read(user, id).await?;
            if let Some((_, json)) = missed.hit {
                return Ok(Some(json));
            }
        }
        metrics::counter!("sluice_entry_fetches_total").increment(1);
        let fetched = self.fetch_holding(user, id, missed.fetch_lease).await;
        let entry = match fetched {
            Ok(Some(entry)) => entry,
            nothing => {
                // The others need not wait for what will not come. If this fails, the lease runs
                // out by itself.
                if missed.fetch_lease.is_some() {
                    let _ = self.cache.release_fetch(user, id).await;
                }
                return nothing.map(|_| None).map_err(ReadError::Origin);
            }
        };
        // The answer is good whether or not it can be kept: the fill is refused when the user was
        // invalidated meanwhile.
        if let Some(lease) = missed.fetch_lease
            && let Err(error) = self.cache.fill(user, lease, &entry).await
        {
            tracing::warn!(%error, "a fetched entry could not be cached");
        }
        Ok(Some(entry.json))
    }

    /// Asks the origin, and keeps the lease, if this caller has one, for as long as that takes.
    async fn fetch_holding(
        &self,
        user: &str,
        id: &str,
        lease: Option<FetchLease>,
    ) -> Result<Option<Entry>, O::Error> {
        let mut fetched = std::pin::pin!(self.origin.fetch(user, id));
        loop {
            tokio::select! {
                entry = &mut fetched => return entry,
                () = sleep(FetchLease::LIFE / 3) => {
                    if let Some(lease) = lease
                        && let Err(error) = self.cache.extend_fetch(user, id, lease).await
                    {
                        tracing::debug!(%error, "a fetch lease could not be renewed");
                    }
                }
            }
        }
    }
}

/// A fetch in the map, which it leaves when it has ended, even by a panic.
struct Running<E> {
    fetches: Fetches<E>,
    key: Key,
    fetch: Fetch<E>,
}

impl<E> Drop for Running<E> {
    fn drop(&mut self) {
        let mut running = self.fetches.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .get(&self.key)
            .is_some_and(|fetch| fetch.ptr_eq(&self.fetch))
        {
            running.remove(&self.key);
        }
    }
}

//! Fetching one missing entry from Convex once, however many ask for it.
//!
//! Between processes, Valkey hands out a lease: the one caller that gets it fetches, the others
//! look again until the entry is there. Inside a process, all that miss an entry share one
//! [`Fetch`], so that they also share "there is no such file" and errors, which leave no trace in
//! Valkey.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, Shared};
use futures_util::{FutureExt as _, TryStreamExt as _};
use sluice_convex::{ConvexError, File};
use sluice_store::cache::{Entry, FetchLease, Lookup};
use tokio::time::Instant;

use crate::{ApiError, AppState};

/// How often to look whether another process has fetched the entry.
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// How long to rely on another process. Longer than its lease, which passes to one of those who
/// look again.
const RELY_ON_OTHERS: Duration = Duration::from_secs(6);

/// Which entry: user and file id.
type Key = (String, String);
/// Errors are shared by reference, since they cannot be cloned.
type Outcome = Result<Option<Bytes>, Arc<ApiError>>;
type Fetch = Shared<BoxFuture<'static, Outcome>>;

/// The fetches that run in this process.
#[derive(Clone, Default)]
pub(crate) struct Fetches(Arc<Mutex<HashMap<Key, Fetch>>>);

impl Fetches {
    /// The entry's JSON from Convex, which is put into the cache on the way; `None` when the user
    /// has no such file.
    ///
    /// `missed` is the lookup that did not find it in the cache.
    pub(crate) async fn entry(
        &self,
        state: &AppState,
        user: &str,
        id: &str,
        missed: Lookup,
    ) -> Outcome {
        let key = (user.to_owned(), id.to_owned());
        self.join_or_start(state, key, missed).await
    }

    fn join_or_start(&self, state: &AppState, key: Key, missed: Lookup) -> Fetch {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(fetch) = running.get(&key)
            // Who holds the lease must not wait for one that waits for the lease.
            && missed.fetch_lease.is_none()
        {
            return fetch.clone();
        }
        let fetch = {
            let (state, key) = (state.clone(), key.clone());
            async move { fetch(&state, &key, missed).await.map_err(Arc::new) }
        };
        let fetch = fetch.boxed().shared();
        running.insert(key.clone(), fetch.clone());
        drop(running);

        // Runs to its end also when every caller hangs up: the lease would be lost on them.
        let (running, this) = (self.0.clone(), fetch.clone());
        tokio::spawn(async move {
            let _remove = Remove {
                running,
                key,
                fetch: this.clone(),
            };
            let _outcome = this.await;
        });
        fetch
    }
}

/// Takes a fetch out of the map when it has ended, even by a panic.
struct Remove {
    running: Arc<Mutex<HashMap<Key, Fetch>>>,
    key: Key,
    fetch: Fetch,
}

impl Drop for Remove {
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if running
            .get(&self.key)
            .is_some_and(|fetch| fetch.ptr_eq(&self.fetch))
        {
            running.remove(&self.key);
        }
    }
}

async fn fetch(
    state: &AppState,
    (user, id): &Key,
    mut missed: Lookup,
) -> Result<Option<Bytes>, ApiError> {
    let relied_until = Instant::now() + RELY_ON_OTHERS;
    while missed.fetched_elsewhere && Instant::now() < relied_until {
        tokio::time::sleep(LOOK_AGAIN).await;
        missed = state.cache.read(user, id).await?;
        if let Some((_, json)) = missed.hit {
            return Ok(Some(json));
        }
    }
    metrics::counter!("sluice_entry_fetches_total").increment(1);
    let file = match fetch_holding(state, user, id, missed.fetch_lease).await {
        Ok(Some(file)) => file,
        nothing => {
            // The others need not wait for what will not come. If this fails, the lease runs out by
            // itself.
            if missed.fetch_lease.is_some() {
                let _ = state.cache.release_fetch(user, id).await;
            }
            return Ok(nothing?.map(|file| file.json));
        }
    };
    let entry = Entry {
        id: file.id,
        doc_id: file.doc_id,
        json: file.json,
    };
    // The answer is good whether or not it can be kept: the fill is refused when the user was
    // invalidated meanwhile.
    if let Some(lease) = missed.fetch_lease
        && let Err(error) = state.cache.fill(user, lease, &entry).await
    {
        tracing::warn!(%error, "a fetched entry could not be cached");
    }
    Ok(Some(entry.json))
}

/// Reads the file from Convex, and keeps the lease, if this caller has one, for as long as that
/// takes.
async fn fetch_holding(
    state: &AppState,
    user: &str,
    id: &String,
    lease: Option<FetchLease>,
) -> Result<Option<File>, ConvexError> {
    let mut batches = state.files.get_many(user, std::slice::from_ref(id));
    let mut fetched = batches.try_next();
    loop {
        tokio::select! {
            batch = &mut fetched => {
                return batch.map(|batch| batch.and_then(|files| files.into_iter().next()));
            }
            () = tokio::time::sleep(FetchLease::LIFE / 3) => {
                if let Some(lease) = lease
                    && let Err(error) = state.cache.extend_fetch(user, id, lease).await
                {
                    tracing::debug!(%error, "a fetch lease could not be renewed");
                }
            }
        }
    }
}

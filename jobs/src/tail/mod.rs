//! The tail: follows the files of a Convex deployment for as long as workers live.
//!
//! Every worker process runs one; the one that holds the lease in Valkey tails, the others wait for
//! it to be free ([`lease`]). The holder walks over all documents once ([`walk`]) and then follows
//! the deltas ([`follow`]). What each change means is worked out and brought about in `effects`:
//! the cache is amended, file sync's log gets an entry, and then the change is settled in the
//! ledger, which publishes the nudges.
//! `docs/tail.md` says what is guaranteed and why that holds.

mod config;
mod effects;
mod follow;
mod lease;
mod nudges;
mod report;
mod trouble;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use sluice_convex::Files;
use sluice_retry::{Pauses, jittered};
use sluice_store::StoreError;
use sluice_store::cache::Cache;
use sluice_store::filesync::Filesync;
use sluice_store::tail::Tail;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

pub use self::config::TailConfig;
use self::follow::Follower;
use self::lease::Held;
use self::trouble::Trouble;

/// How long a worker waits before it asks again whether the lease is free.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failure, which doubles with each one in a row, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Tails whenever no other worker does, until `shutdown`. Never gives up: after a failure another
/// worker gets its chance, and this one pauses.
pub(crate) async fn run(
    cache: Cache,
    files: Arc<dyn Files>,
    config: TailConfig,
    worker: String,
    shutdown: CancellationToken,
) {
    report::leads(false);
    let tail = Tail::new(cache.valkey());
    let filesync = Filesync::new(cache.valkey());
    let mut pauses = Pauses::new(PAUSES.0, PAUSES.1);
    while !shutdown.is_cancelled() {
        let pause = match tail.claim(&worker).await {
            Ok(None) => jittered(CLAIM_EVERY),
            Ok(Some(lead)) => {
                let (held, on_loss) = Held::new(lead);
                let follower = Follower::new(&held, &cache, &filesync, &*files, &config);
                let ended = lead_until(follower, on_loss, &shutdown, &mut pauses).await;
                held.release().await;
                ended
            }
            Err(error) => after(&error.into(), &mut pauses),
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
}

/// Tails until the shutdown, a failure or the loss of the lease. Returns how long to keep from
/// trying again.
async fn lead_until(
    mut follower: Follower<'_>,
    on_loss: oneshot::Receiver<StoreError>,
    shutdown: &CancellationToken,
    pauses: &mut Pauses,
) -> Duration {
    report::leads(true);
    let trouble = tokio::select! {
        () = shutdown.cancelled() => None,
        lost = on_loss => Some(lost.unwrap_or(StoreError::Superseded).into()),
        trouble = follower.run(pauses) => Some(trouble),
    };
    report::leads(false);
    let Some(trouble) = trouble else {
        return Duration::ZERO;
    };
    if !matches!(trouble, Trouble::Store(_)) {
        follower.tell(&trouble).await;
    }
    after(&trouble, pauses)
}

/// Reports a failure and says how long to pause after it.
fn after(trouble: &Trouble, pauses: &mut Pauses) -> Duration {
    report::trouble(trouble);
    // Another worker tails now, or this one goes on from what there is: that is no failure.
    if matches!(
        trouble,
        Trouble::Store(StoreError::Superseded | StoreError::DataLost)
    ) {
        return jittered(CLAIM_EVERY);
    }
    match trouble {
        // Nothing but a mended key helps; until then an error a minute is enough.
        Trouble::Convex(error) if error.is_refused_key() => jittered(PAUSES.1),
        _ => pauses.next_pause(),
    }
}

//! The tail: follows the files of a Convex deployment for as long as workers live.
//!
//! Every worker process runs one; the one that holds the lease in Valkey tails, the others wait for
//! it to be free ([`lease`]). The holder walks over all documents once ([`walk`]) and then follows
//! the deltas ([`follow`]). What each change means is worked out and brought about in `effects`:
//! the cache is amended, and then the change is settled in the ledger, which tells whoever listens.
//! `docs/tail.md` says what is guaranteed and why that holds.

mod effects;
mod follow;
mod lease;
mod nudges;
mod report;
mod walk;

use std::sync::Arc;
use std::time::Duration;

use rand::RngExt;
use sluice_convex::{ConvexError, Files, History};
use sluice_store::StoreError;
use sluice_store::cache::Cache;
use sluice_store::tail::Tail;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::follow::Follower;
use self::lease::Held;

/// How long a worker waits before it asks again whether the lease is free.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failure, which doubles with each one in a row …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// How the tail follows Convex.
#[derive(Debug, Clone)]
pub struct TailConfig {
    /// What it follows.
    pub history: History,
    /// How long it waits, when it knows all there is, before it asks again.
    pub interval: Duration,
    /// How often the ledger is compared with the whole table, to find what went unsaid; `None`:
    /// only when there is a reason.
    pub compare_every: Option<Duration>,
}

/// Why the tail could not go on.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Convex(#[from] ConvexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Tails whenever nobody else does, until `shutdown`. Never gives up: after a failure another
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
    let mut failures = 0;
    while !shutdown.is_cancelled() {
        let pause = match tail.claim(&worker).await {
            Ok(None) => jittered(CLAIM_EVERY),
            Ok(Some(lead)) => {
                let (held, on_loss) = Held::new(lead);
                let follower = Follower::new(&held, &cache, &*files, &config);
                let ended = lead_until(follower, on_loss, &shutdown, &mut failures).await;
                held.release().await;
                ended
            }
            Err(error) => after(&error.into(), &mut failures),
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
    failures: &mut u32,
) -> Duration {
    report::leads(true);
    let trouble = tokio::select! {
        () = shutdown.cancelled() => None,
        lost = on_loss => Some(lost.unwrap_or(StoreError::Superseded).into()),
        trouble = follower.run(failures) => Some(trouble),
    };
    report::leads(false);
    let Some(trouble) = trouble else {
        return Duration::ZERO;
    };
    if !matches!(trouble, Trouble::Store(_)) {
        follower.tell(&trouble).await;
    }
    after(&trouble, failures)
}

/// Reports a failure and says how long to pause after it.
fn after(trouble: &Trouble, failures: &mut u32) -> Duration {
    report::trouble(trouble);
    // Somebody else tails now, or this one goes on from what there is: that is no failure.
    if matches!(
        trouble,
        Trouble::Store(StoreError::Superseded | StoreError::DataLost)
    ) {
        return jittered(CLAIM_EVERY);
    }
    *failures += 1;
    let doublings = failures.saturating_sub(1).min(16);
    let refused = matches!(trouble, Trouble::Convex(error) if error.is_refused_key());
    // Nothing but a mended key helps; until then an error a minute is enough.
    let pause = if refused {
        LONGEST_PAUSE
    } else {
        (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    };
    jittered(pause)
}

/// About this long: workers that failed together should not come back together.
fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}

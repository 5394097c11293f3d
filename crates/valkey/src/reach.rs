//! One line in the log when Valkey goes away, and one when it is back, whoever in the process
//! notices.

use std::fmt::Display;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::Fault;

/// An answer this soon after the first failure may have been under way before it.
const SETTLING: Duration = Duration::from_secs(1);

/// Since when Valkey is away, in ms since [`START`]; 0 while it answers.
static AWAY_SINCE: AtomicU64 = AtomicU64::new(0);
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

/// Takes note of a call that failed.
pub fn failed(fault: Fault, error: &dyn Display) {
    // Another error is an answer, too.
    if !matches!(fault, Fault::Outage | Fault::Busy) {
        return answered();
    }
    let first = AWAY_SINCE.compare_exchange(0, now(), Ordering::Relaxed, Ordering::Relaxed);
    if first.is_ok() {
        tracing::warn!(%error, "Valkey {}, trying again until it does", fault.as_str());
    }
}

/// Takes note of a call that was answered. Costs one read of memory while all is well.
pub fn answered() {
    let since = AWAY_SINCE.load(Ordering::Relaxed);
    let away = Duration::from_millis(now().saturating_sub(since));
    if since == 0 || away < SETTLING {
        return;
    }
    let ended = AWAY_SINCE.compare_exchange(since, 0, Ordering::Relaxed, Ordering::Relaxed);
    if ended.is_ok() {
        tracing::info!(?away, "Valkey answers again");
    }
}

/// At least 1, for 0 means that Valkey answers.
fn now() -> u64 {
    u64::try_from(START.elapsed().as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

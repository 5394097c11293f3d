//! How long the tail pauses.

use std::time::Duration;

use rand::RngExt;

/// How long a worker waits before it asks again whether the lease is free.
const CLAIM_EVERY: Duration = Duration::from_secs(1);
/// The pause after the first failure, which doubles with each one in a row …
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// … up to this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Before a worker asks for the lease again.
pub(super) fn before_claim() -> Duration {
    jittered(CLAIM_EVERY)
}

/// After so many failures in a row; `refused` when Convex refuses the key.
pub(super) fn after(failures: u32, refused: bool) -> Duration {
    // Nothing but a mended key helps; until then an error a minute is enough.
    let pause = if refused {
        LONGEST_PAUSE
    } else {
        let doublings = failures.saturating_sub(1).min(16);
        (FIRST_PAUSE * (1 << doublings)).min(LONGEST_PAUSE)
    };
    jittered(pause)
}

/// About this long: workers that failed together should not come back together.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..1.0))
}

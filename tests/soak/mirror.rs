//! Two folders that are kept in step while everything is killed.
//!
//! `SLUICE_SOAK_SECS` is for how long they are changed (a short while by default, `make soak`: 30
//! minutes), in rounds.

#[path = "../e2e/mirror/chaos.rs"]
mod chaos;
#[path = "../e2e/mirror/world.rs"]
#[allow(dead_code)]
mod world;

use std::time::{Duration, Instant};

use super::setting;

/// After so long a round comes to rest and is checked.
const ROUND: Duration = Duration::from_secs(120);
const SHORT_SECS: u64 = 10;

#[tokio::test(flavor = "multi_thread")]
async fn folders_and_server_agree_after_any_edits_and_faults() {
    let length = Duration::from_secs(setting("SLUICE_SOAK_SECS").unwrap_or(SHORT_SECS));
    let seed = setting("SLUICE_SOAK_SEED").unwrap_or_else(|| rand::random::<u64>() >> 16);
    let end = Instant::now() + length;
    let mut round = 0;
    while Instant::now() < end {
        chaos::run(ROUND.min(end - Instant::now()), seed + round).await;
        round += 1;
    }
}

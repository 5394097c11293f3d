//! All parts of Sluice as processes under a mixed load, while a nemesis kills, stops and fills
//! them; then a checker reads what was recorded and says which promise was broken.
//!
//! `SLUICE_SOAK_SECS` is after how long no further round begins (one short round by default,
//! `make soak`: 30 minutes); rounds share the processes. `SLUICE_SOAK_SEED` repeats the faults of
//! another run. The histories of a run that fails are kept.
#![allow(clippy::unwrap_used, missing_docs)]

mod call;
mod caller;
mod checker;
mod cluster;
#[path = "../e2e/harness.rs"]
#[allow(dead_code)]
mod harness;
mod history;
mod load;
mod mirror;
mod nemesis;
mod round;
mod settle;

use std::time::{Duration, Instant};

use cluster::Cluster;

/// How long a round's load lasts at most, in seconds: long enough for every kind of fault.
const ROUND_SECS: u64 = 25;
/// How much is printed of what the checker finds.
const FINDINGS: usize = 40;
const FINDING_CHARS: usize = 600;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_promised_holds_while_parts_are_killed_stopped_and_filled() {
    let secs = setting("SLUICE_SOAK_SECS").unwrap_or(ROUND_SECS);
    let seed = setting("SLUICE_SOAK_SEED").unwrap_or_else(|| rand::random::<u64>() >> 16);
    let folder = tempfile::tempdir().unwrap().keep();
    let mut cluster = Cluster::start(&folder).await;
    let end = Instant::now() + Duration::from_secs(secs);
    let mut round = 0_usize;
    while Instant::now() < end {
        if round.is_multiple_of(2) {
            // Nothing of earlier rounds is asked for any more; the processes go on with what is
            // gone.
            cluster.empty();
        }
        let load = Duration::from_secs(ROUND_SECS).min(end - Instant::now());
        let history = folder.join(format!("round-{round}.jsonl"));
        let seed = seed + round as u64;
        // In case that it does not come to its end.
        eprintln!(
            "round {round}: SLUICE_SOAK_SEED={seed}, {}",
            history.display()
        );
        let found = round::run(&mut cluster, round, seed, load, &history).await;
        if !found.is_empty() {
            std::fs::write(history.with_extension("findings"), found.join("\n")).unwrap();
            panic!(
                "with SLUICE_SOAK_SEED={seed} promises were broken; histories and logs are in {}\n{}",
                folder.display(),
                told(&found)
            );
        }
        std::fs::remove_file(history).unwrap();
        round += 1;
    }
    std::fs::remove_dir_all(folder).unwrap();
}

/// The first findings, and of each as much as a reader takes in.
fn told(found: &[String]) -> String {
    let short = |it: &String| it.chars().take(FINDING_CHARS).collect::<String>();
    let first: Vec<String> = found.iter().take(FINDINGS).map(short).collect();
    format!("{} findings\n{}", found.len(), first.join("\n"))
}

fn setting(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?.parse();
    Some(value.unwrap_or_else(|_| panic!("{name} must be a number")))
}

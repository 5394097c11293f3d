//! How many changes a second the tail takes in, against a bare walk over the same deltas that does
//! nothing with them, in the same run and from the same Convex-compatible store.
//!
//! Once with nothing cached of the users whose files change, once with a complete set of each, which
//! gains every file, and once with the log of file sync in place of that. The worker and the store run as processes of their own, as deployed.
//! `SLUICE_BENCH_CHANGES` sets how many changes there are (100,000), `SLUICE_BENCH_ROUNDS` how
//! often each is measured (3).
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::time::{Duration, Instant};

use harness::{DEPLOY_KEY, Deployment, file, tail_progress};
use redis::Commands;
use serde_json::Value;
use sluice_convex::{Client, ClientConfig, History};
use sluice_store::cache::{Cache, CacheConfig, Overflow};
use sluice_valkey::Valkey;

const USERS: usize = 200;
const STATE: &str = "st1:{tail}:state";

fn main() {
    let setting = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let changes = setting("SLUICE_BENCH_CHANGES", 100_000);
    let rounds = setting("SLUICE_BENCH_ROUNDS", 3);
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(compare(changes, rounds));
}

async fn compare(changes: usize, rounds: usize) {
    let mut deployment = Deployment::start_with(&[("SLUICE_TAIL_TENANT", "off")]).await;
    deployment.wait_until_tailed().await;
    deployment.workers.clear();
    // What the tail knows of the empty table: it goes on from there in every round.
    let progress: String = deployment
        .valkey
        .connection()
        .hget(STATE, "progress")
        .unwrap();
    let cursor = tail_progress(&deployment.valkey)["cursor"]
        .as_i64()
        .unwrap();
    let documents: Vec<Value> = (0..changes)
        .map(|n| {
            file(
                &format!("user-{}", n % USERS),
                &format!("file-{n}"),
                n as u64,
            )
        })
        .collect();
    deployment.client.import(&documents).await;
    let url = format!("http://{}", deployment.convex_address());
    let config = ClientConfig::new(url.parse().unwrap(), DEPLOY_KEY.into());
    let history = History::new(Client::new(config).unwrap());

    println!(
        "| cached | changes | bytes | bare walk, changes/s | tail, changes/s | tail as a share of the walk |"
    );
    println!("|---|---|---|---|---|---|");
    let cases = [
        ("nothing", false, "off"),
        ("complete sets", true, "off"),
        ("nothing, with the log of file sync", false, "default"),
    ];
    for (name, is_cached, tenant) in cases {
        let mut results = Vec::new();
        let mut bytes = 0;
        for _ in 0..rounds {
            let begun = Instant::now();
            bytes = walk(&history, cursor, changes).await;
            let bare = begun.elapsed();
            let mut valkey = deployment.valkey.connection();
            redis::cmd("FLUSHALL").exec(&mut valkey).unwrap();
            let _: () = valkey.hset(STATE, "progress", &progress).unwrap();
            if is_cached {
                commit_empty_sets(&deployment, cursor).await;
            }
            results.push((bare, tail(&mut deployment, tenant).await));
            if is_cached {
                let first = deployment.client.listed_ids("user-0").await;
                assert_eq!(first.len(), changes / USERS);
            }
        }
        let share = |(bare, tail): &(Duration, Duration)| bare.as_secs_f64() / tail.as_secs_f64();
        results.sort_by(|one, other| share(one).total_cmp(&share(other)));
        let (bare, tail) = results[results.len() / 2];
        let speed = |time: Duration| changes as f64 / time.as_secs_f64();
        println!(
            "| {name} | {changes} | {:.1} MB | {:.0} | {:.0} | {:.2} |",
            bytes as f64 / 1e6,
            speed(bare),
            speed(tail),
            share(&(bare, tail)),
        );
    }
}

/// Reads all deltas and gives the bytes of their files.
async fn walk(history: &History, cursor: i64, changes: usize) -> usize {
    let mut walk = history.deltas(cursor);
    let (mut seen, mut bytes) = (0, 0);
    loop {
        let batch = walk.next().await.unwrap();
        seen += batch.changes.len();
        let files = batch
            .changes
            .iter()
            .filter_map(|change| change.file.as_ref());
        bytes += files.map(|file| file.json.len()).sum::<usize>();
        if batch.end.is_some_and(|end| !end.has_more) {
            assert_eq!(seen, changes);
            return bytes;
        }
    }
}

/// A complete set without any file yet, of each user.
async fn commit_empty_sets(deployment: &Deployment, as_of: i64) {
    let valkey = Valkey::at(&deployment.valkey.url()).unwrap();
    let cache = Cache::new(&valkey, CacheConfig::default()).unwrap();
    for user in 0..USERS {
        let user = format!("user-{user}");
        let staging = cache.stage(&user, Overflow::Refuse).await.unwrap();
        staging.commit("allOne", as_of).await.unwrap();
    }
}

/// Has a worker take in all changes; from when it got the lease.
async fn tail(deployment: &mut Deployment, tenant: &str) -> Duration {
    let now = deployment.client.convex_now().await;
    let worker = deployment.worker_with(&[("SLUICE_TAIL_TENANT", tenant)]);
    deployment.workers.push(worker);
    let mut valkey = deployment.valkey.connection();
    while !valkey.exists::<_, bool>("st1:{tail}:lease").unwrap() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let begun = Instant::now();
    while tail_progress(&deployment.valkey)["cursor"]
        .as_i64()
        .unwrap()
        < now
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let took = begun.elapsed();
    deployment.workers.clear();
    took
}

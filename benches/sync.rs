//! How long a user's metadata takes from the Convex-compatible store until it is visible in Valkey,
//! against a bare client that writes the same bytes with pipelined `SET … EX`, in the same run and
//! on the same server.
//!
//! Also: the longest time that another client's PING took meanwhile, and in the second after the
//! user was logged out, which frees the set, beside an idle second; and the worker's peak memory
//! above idle. The parts run as processes of their own, as deployed. Valkey keeps its append-only
//! file, but does not rewrite it by itself meanwhile: a rewrite stalls clients by as much as 150
//! ms, whoever wrote the data. `SLUICE_BENCH_ROUNDS` sets how often each size is measured (3).
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use harness::{Deployment, file};
use rand::distr::{Alphanumeric, SampleString};
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};
use serde_json::Value;

/// The sizes to compare, in bytes of id and entry as the limit counts them.
const SIZES: [(&str, u64); 2] = [("45 MB", 45_000_000), ("450 MB", 449_000_000)];

/// SETs per pipeline of the baseline.
const PIPELINE: usize = 200;

fn main() {
    let rounds = std::env::var("SLUICE_BENCH_ROUNDS").map_or(3, |rounds| rounds.parse().unwrap());
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        println!("| user | entries | baseline MB/s | sync MB/s | time as a multiple of the baseline's | longest PING, baseline | longest PING, sync | longest PING, log-out | longest PING, idle | worker's memory above idle |");
        println!("|---|---|---|---|---|---|---|---|---|---|");
        for (name, size) in SIZES {
            measure(name, size, rounds).await;
        }
    });
}

async fn measure(name: &str, size: u64, rounds: usize) {
    let mut deployment = Deployment::without_workers(&[("SLUICE_REQUEST_WAIT_SECS", "120")]).await;
    let client = deployment.client.clone();
    let entries = import(&deployment, size).await;
    let port = deployment.valkey.port();
    redis::cmd("CONFIG")
        .arg(&["SET", "auto-aof-rewrite-percentage", "0"])
        .query::<()>(&mut connection(port))
        .unwrap();

    let mut results = Vec::new();
    for _ in 0..rounds {
        let baseline = with_pings(port, async {
            let bytes = entries.clone();
            tokio::task::spawn_blocking(move || set_each(port, &bytes))
                .await
                .unwrap()
        })
        .await;
        flush(port);

        deployment.workers.clear();
        deployment.add_worker();
        let pid = deployment.workers[0].pid();
        // The flush took away what the worker knew of Convex: let it walk over all files first, as
        // it does once.
        deployment.wait_until_tailed().await;
        // The first, tiny job loads scripts and opens connections.
        client.sync("warm-up", "allOne").await;
        let idle = memory(pid, "VmRSS");
        let sync = with_pings(port, async {
            let begun = Instant::now();
            let (status, body) = client.sync("bench", "allOne").await;
            assert!(
                status.is_success() && body["synced"] == entries.len(),
                "{status} {body}"
            );
            begun.elapsed()
        })
        .await;
        let peak = memory(pid, "VmHWM").saturating_sub(idle);
        let idle = with_pings(port, rest()).await;
        let out = with_pings(port, async {
            let (status, body) = client.invalidate("bench", "OUT").await;
            assert!(status.is_success(), "{status} {body}");
            rest().await
        })
        .await;
        flush(port);
        results.push(Round {
            baseline,
            sync,
            out,
            idle,
            peak,
        });
    }

    let bytes: usize = entries.iter().map(|(id, json)| id.len() + json.len()).sum();
    let speed = |time: Duration| bytes as f64 / 1e6 / time.as_secs_f64();
    results.sort_by(|one, other| one.ratio().total_cmp(&other.ratio()));
    let median = &results[results.len() / 2];
    let peak = results.iter().map(|round| round.peak).max().unwrap_or(0);
    let stall = |of: fn(&Round) -> Timed| {
        let longest = results.iter().map(|round| of(round).longest_ping).max();
        longest.unwrap_or_default().as_secs_f64() * 1e3
    };
    println!(
        "| {name} | {} | {:.0} | {:.0} | {:.2} | {:.1} ms | {:.1} ms | {:.1} ms | {:.1} ms | {:.0} MB |",
        entries.len(),
        speed(median.baseline.time),
        speed(median.sync.time),
        median.ratio(),
        stall(|round| round.baseline),
        stall(|round| round.sync),
        stall(|round| round.out),
        stall(|round| round.idle),
        peak as f64 / 1e6,
    );
}

#[derive(Clone, Copy)]
struct Timed {
    time: Duration,
    longest_ping: Duration,
}

struct Round {
    baseline: Timed,
    sync: Timed,
    out: Timed,
    idle: Timed,
    peak: u64,
}

impl Round {
    fn ratio(&self) -> f64 {
        self.sync.time.as_secs_f64() / self.baseline.time.as_secs_f64()
    }
}

/// As long as freed memory may take to be given back.
async fn rest() -> Duration {
    let second = Duration::from_secs(1);
    tokio::time::sleep(second).await;
    second
}

/// Fills Convex with a user of `size` bytes, and gives the entries as the cache will hold them.
async fn import(deployment: &Deployment, size: u64) -> Arc<Vec<(String, String)>> {
    let mut random = StdRng::seed_from_u64(7);
    let mut left = size as i64;
    let mut batch: Vec<Value> = vec![file("warm-up", "warm-up-0", 1)];
    let mut entries = Vec::new();
    // What Convex adds to each document: `_id` and `_creationTime`.
    const SYSTEM_FIELDS: i64 = 75;
    while left > 5000 {
        let id = format!("file_{:032x}", random.random::<u128>());
        let mut document = file("bench", &id, random.next_u32().into());
        let length = random.random_range(250..3700);
        document["filenameEnc"] = Alphanumeric.sample_string(&mut random, length).into();
        let json = document.to_string() + &" ".repeat(SYSTEM_FIELDS as usize);
        left -= (id.len() + json.len()) as i64;
        entries.push((id, json));
        batch.push(document);
        if batch.len() == 2000 {
            deployment.client.import(&std::mem::take(&mut batch)).await;
        }
    }
    deployment.client.import(&batch).await;
    Arc::new(entries)
}

/// The baseline: one client, one key per entry, pipelined `SET key value EX 86400`.
fn set_each(port: u16, entries: &[(String, String)]) -> Duration {
    let mut valkey = connection(port);
    let begun = Instant::now();
    for chunk in entries.chunks(PIPELINE) {
        let mut pipeline = redis::pipe();
        for (id, json) in chunk {
            pipeline
                .cmd("SET")
                .arg(id)
                .arg(json)
                .arg("EX")
                .arg(86_400)
                .ignore();
        }
        pipeline.query::<()>(&mut valkey).unwrap();
    }
    begun.elapsed()
}

/// Runs `work` while another client sends a PING every millisecond.
async fn with_pings(port: u16, work: impl Future<Output = Duration>) -> Timed {
    let done = Arc::new(AtomicBool::new(false));
    let watched = done.clone();
    let pinging = std::thread::spawn(move || {
        let mut valkey = connection(port);
        let mut longest = Duration::ZERO;
        while !watched.load(Ordering::Relaxed) {
            let begun = Instant::now();
            redis::cmd("PING").query::<String>(&mut valkey).unwrap();
            longest = longest.max(begun.elapsed());
            std::thread::sleep(Duration::from_millis(1));
        }
        longest
    });
    let time = work.await;
    done.store(true, Ordering::Relaxed);
    Timed {
        time,
        longest_ping: pinging.join().unwrap(),
    }
}

fn flush(port: u16) {
    redis::cmd("FLUSHALL")
        .arg("SYNC")
        .query::<()>(&mut connection(port))
        .unwrap();
}

fn connection(port: u16) -> redis::Connection {
    redis::Client::open(format!("redis://127.0.0.1:{port}"))
        .unwrap()
        .get_connection()
        .unwrap()
}

/// A field of `/proc/<pid>/status`, in bytes.
fn memory(pid: u32, field: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kilobytes * 1024
}

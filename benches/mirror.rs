//! A mirror against rsync of the same files to the same disk, in the same run: 10,000 small files and
//! one of 1 GB, at first and again without a change; and how many requests a restart without a change
//! makes, with 1,000 files and with 100,000.
//!
//! rsync copies from folder to folder. A mirror goes through the server: up from one folder, which
//! ends durable on the server's disk, and down into another, where each file is synced.
//! `SLUICE_BENCH_FILES` (10,000), `SLUICE_BENCH_BYTES` (of the large file, 1,000,000,000),
//! `SLUICE_BENCH_RESTART_FILES` (100,000) and `SLUICE_BENCH_ROUNDS` (3) set the numbers.
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../tests/e2e/mirror/world.rs"]
#[allow(dead_code)]
mod world;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use sluice_test_support::project_root;
use world::{Mirror, World};

const SMALL_BYTES: usize = 2_000;
const FILES_A_FOLDER: usize = 100;

/// What a process took.
#[derive(Clone, Copy)]
struct Cost {
    time: Duration,
    peak_bytes: u64,
}

fn main() {
    let setting = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let files = setting("SLUICE_BENCH_FILES", 10_000);
    let bytes = setting("SLUICE_BENCH_BYTES", 1_000_000_000);
    let many = setting("SLUICE_BENCH_RESTART_FILES", 100_000);
    let rounds = setting("SLUICE_BENCH_ROUNDS", 3);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        println!("| what | by | s | files/s | MB/s | peak MB |");
        println!("|---|---|---|---|---|---|");
        compare("small files, first", "small files, again", files, 0, rounds).await;
        compare(
            "one large file, first",
            "one large file, again",
            1,
            bytes,
            rounds,
        )
        .await;
        println!("\n| files | requests of a restart without a change | s | peak MB |");
        println!("|---|---|---|---|");
        for files in [many / 100, many] {
            restart(files).await;
        }
    });
}

/// Fills a folder: with one file of so many bytes, or with small files.
fn fill(folder: &Path, files: usize, bytes: usize) {
    if bytes > 0 {
        let mut file = fs::File::create(folder.join("large")).unwrap();
        let mut state = 1_u64;
        let mut left = bytes;
        while left > 0 {
            let mut block = vec![0; left.min(1 << 20)];
            for chunk in block.chunks_mut(8) {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1);
                chunk.copy_from_slice(&state.to_le_bytes()[..chunk.len()]);
            }
            file.write_all(&block).unwrap();
            left -= block.len();
        }
        return;
    }
    for number in 0..files {
        let inner = folder.join(format!("folder-{}", number / FILES_A_FOLDER));
        if number % FILES_A_FOLDER == 0 {
            fs::create_dir(&inner).unwrap();
        }
        let mut text = format!("file {number}\n").repeat(SMALL_BYTES / 8);
        text.truncate(SMALL_BYTES);
        fs::write(inner.join(format!("file-{number}")), text).unwrap();
    }
}

async fn compare(first: &str, again: &str, files: usize, bytes: usize, rounds: usize) {
    let mut results: Vec<(&str, &str, Vec<Cost>)> = Vec::new();
    let mut record = |what, by, cost| match results.iter_mut().find(|it| (it.0, it.1) == (what, by))
    {
        Some((.., costs)) => costs.push(cost),
        None => results.push((what, by, vec![cost])),
    };
    for _ in 0..rounds {
        let world = World::start().await;
        let (one, other) = (world.mirror("one"), world.mirror("other"));
        fill(one.folder(), files, bytes);
        let copy = tempfile::tempdir().unwrap();
        // Once, so that both find the files in memory.
        let warm = tempfile::tempdir().unwrap();
        rsync(one.folder(), warm.path());
        drop(warm);
        record(first, "rsync", rsync(one.folder(), copy.path()));
        record(first, "mirror, up", mirror(&one));
        record(first, "mirror, down", mirror(&other));
        record(again, "rsync", rsync(one.folder(), copy.path()));
        record(again, "mirror", mirror(&one));
        assert!(world::tree(one.folder()) == world::tree(other.folder()));
    }
    let total = if bytes > 0 {
        bytes
    } else {
        files * SMALL_BYTES
    };
    for (what, by, mut costs) in results {
        costs.sort_by_key(|cost| cost.time);
        let Cost { time, peak_bytes } = costs[costs.len() / 2];
        let secs = time.as_secs_f64();
        println!(
            "| {what} | {by} | {secs:.2} | {:.0} | {:.0} | {:.0} |",
            files as f64 / secs,
            total as f64 / 1e6 / secs,
            peak_bytes as f64 / 1e6,
        );
    }
}

/// A restart without a change.
async fn restart(files: usize) {
    let world = World::start().await;
    let one = world.mirror("one");
    fill(one.folder(), files, 0);
    mirror(&one);
    let before = world.requests().await;
    let Cost { time, peak_bytes } = mirror(&one);
    let requests = world.requests().await - before;
    let peak = peak_bytes as f64 / 1e6;
    println!(
        "| {files} | {requests} | {:.2} | {peak:.0} |",
        time.as_secs_f64()
    );
}

fn mirror(mirror: &Mirror) -> Cost {
    cost(mirror.command(&["--once"]))
}

fn rsync(from: &Path, to: &Path) -> Cost {
    let own = project_root().join(".servers/rsync/rsync");
    let mut rsync = Command::new(if own.exists() {
        own.as_path()
    } else {
        Path::new("rsync")
    });
    rsync.args(["-a", "--exclude", ".sluice-mirror"]);
    rsync.arg(format!("{}/", from.display())).arg(to);
    cost(rsync)
}

/// Runs a command to its end.
fn cost(mut command: Command) -> Cost {
    let begun = Instant::now();
    let quiet = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut child = quiet.spawn().unwrap();
    let mut peak_bytes = 0;
    loop {
        peak_bytes = peak(&child).max(peak_bytes);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{command:?}");
            let time = begun.elapsed();
            return Cost { time, peak_bytes };
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The most memory that a process has had so far.
fn peak(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kb = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kb.unwrap_or_default() * 1024
}

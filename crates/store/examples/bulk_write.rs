//! How fast a sync's set is staged and committed, against the plainest way of writing the same
//! entries: pipelined `SET key value EX ttl` straight into a socket. Both alternate on one private
//! server; a third client measures how long it waits for a PING meanwhile.
//!
//! `cargo run --release -p sluice-store --example bulk_write [megabytes]`
#![allow(clippy::unwrap_used)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use sluice_store::cache::{Cache, CacheConfig, Entry, Overflow};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;

const ROUNDS: usize = 5;
/// Bytes of commands written before their answers are read.
const BATCH: usize = 512 * 1024;

#[tokio::main]
async fn main() {
    let megabytes: usize = std::env::args()
        .nth(1)
        .map_or(120, |text| text.parse().unwrap());
    let server = TestValkey::start();
    let cache = Cache::new(&Valkey::at(&server.url()).unwrap(), CacheConfig::default()).unwrap();
    let entries = entries(megabytes * 1_000_000);
    let bytes: u64 = entries.iter().map(Entry::size).sum();
    println!("{} entries, {} MB", entries.len(), bytes / 1_000_000);

    let (mut speeds, mut costs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        flush(&server);
        let stall = Stall::watch(&server);
        let (begun, busy) = (Instant::now(), server_busy(&server));
        set_pipelined(&server, &entries);
        let (plain, plain_busy) = (begun.elapsed(), server_busy(&server) - busy);
        let plain_stall = stall.longest();

        flush(&server);
        let stall = Stall::watch(&server);
        let (begun, busy) = (Instant::now(), server_busy(&server));
        let mut staging = cache.stage("u", Overflow::Refuse).await.unwrap();
        // As they arrive from Convex: a page at a time.
        for page in entries.chunks(512) {
            staging.push(page).await.unwrap();
        }
        staging.commit("allOne", 0).await.unwrap();
        let (staged, staged_busy) = (begun.elapsed(), server_busy(&server) - busy);
        let staged_stall = stall.longest();

        let megabytes = bytes as f64 / 1e6;
        let report = |took: Duration, busy: f64, stall: Duration| {
            format!(
                "{:4.0} MB/s, server busy {busy:.2} s, longest PING {stall:.1?}",
                megabytes / took.as_secs_f64()
            )
        };
        println!(
            "SET … EX: {}   stage and commit: {}",
            report(plain, plain_busy, plain_stall),
            report(staged, staged_busy, staged_stall)
        );
        speeds.push(plain.as_secs_f64() / staged.as_secs_f64());
        costs.push(staged_busy / plain_busy);
    }
    println!(
        "stage and commit: {:.2} times as fast, and the server works {:.2} times as long (medians)",
        median(speeds),
        median(costs)
    );
}

fn median(mut ratios: Vec<f64>) -> f64 {
    ratios.sort_by(f64::total_cmp);
    ratios[ratios.len() / 2]
}

/// Processor time of the server's main thread, which runs all commands, in seconds. Other load on
/// the machine does not blur it.
fn server_busy(server: &TestValkey) -> f64 {
    let info: String = redis::cmd("INFO")
        .arg("cpu")
        .query(&mut server.connection())
        .unwrap();
    info.lines()
        .filter(|line| line.contains("main_thread"))
        .map(|line| {
            line.split(':')
                .nth(1)
                .unwrap()
                .trim()
                .parse::<f64>()
                .unwrap()
        })
        .sum()
}

/// Entries of 0.5 to 4 KB, `bytes` in all.
fn entries(bytes: usize) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut sum = 0;
    while sum < bytes {
        let number = entries.len();
        let id = format!("{number:08x}-0000-4000-8000-{:012x}", number * 7);
        let json = format!(
            "{{\"id\":\"{id}\",\"filenameEnc\":\"{}\"}}",
            "x".repeat(450 + number * 7919 % 3_500)
        );
        sum += id.len() + json.len();
        entries.push(Entry {
            doc_id: id.clone().into(),
            id: id.into(),
            json: Bytes::from(json),
        });
    }
    entries
}

fn flush(server: &TestValkey) {
    redis::cmd("FLUSHALL")
        .arg("SYNC")
        .exec(&mut server.connection())
        .unwrap();
}

fn set_pipelined(server: &TestValkey, entries: &[Entry]) {
    let mut socket = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    let mut batch = Vec::with_capacity(BATCH + 8 * 1024);
    let mut commands = 0;
    for entry in entries {
        write!(
            batch,
            "*5\r\n$3\r\nSET\r\n${}\r\n{}\r\n${}\r\n",
            entry.id.len(),
            entry.id,
            entry.json.len()
        )
        .unwrap();
        batch.extend_from_slice(&entry.json);
        batch.extend_from_slice(b"\r\n$2\r\nEX\r\n$5\r\n86400\r\n");
        commands += 1;
        if batch.len() >= BATCH {
            send(&mut socket, &batch, commands);
            batch.clear();
            commands = 0;
        }
    }
    send(&mut socket, &batch, commands);
}

/// Writes the commands and reads as many `+OK`.
fn send(socket: &mut TcpStream, batch: &[u8], commands: usize) {
    socket.write_all(batch).unwrap();
    let mut answers = vec![0; commands * b"+OK\r\n".len()];
    socket.read_exact(&mut answers).unwrap();
    assert!(answers.starts_with(b"+OK\r\n") || commands == 0);
}

/// A client that sends one PING after another and remembers the longest wait.
struct Stall {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Duration>,
}

impl Stall {
    fn watch(server: &TestValkey) -> Stall {
        let mut connection = server.connection();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut longest = Duration::ZERO;
            while !stopped.load(Ordering::Relaxed) {
                let begun = Instant::now();
                redis::cmd("PING").exec(&mut connection).unwrap();
                longest = longest.max(begun.elapsed());
                std::thread::sleep(Duration::from_micros(500));
            }
            longest
        });
        Stall { stop, thread }
    }

    fn longest(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

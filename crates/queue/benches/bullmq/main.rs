//! The queue against [BullMQ](https://docs.bullmq.io) on the same Valkey, in the same run: no-op
//! jobs a second, the time from adding a job to its start and to its result, and memory. Needs
//! Node.js; `make bench` installs BullMQ beside this file.
//!
//! Each side is a process of its own that takes the same commands: `ours.rs` and `side.mjs`. Each
//! is warmed up. The settings that each leaves open are tried first, and those that suit it best
//! are used: the concurrency of a worker, and for BullMQ the jobs per `addBulk` and the automatic
//! pipelining of its client. Then the sides take turns, and the first one to go changes from round
//! to round. Valkey keeps its append-only file (`everysec`) and does not rewrite it meanwhile, for
//! that stalls whoever comes next.
//!
//! What is printed is the median of the rounds for each side, and the median of the rounds' ratios.
//! `SLUICE_BENCH_ROUNDS` sets how many there are (5), `SLUICE_BENCH_WAITING` how many jobs wait in
//! the full queue (1,000,000).
#![allow(clippy::unwrap_used, missing_docs)]

mod ours;

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use serde_json::{Value, json};
use sluice_test_support::TestValkey;

/// How many jobs wait in the queue that is almost empty.
const FEW: u64 = 1_000;

const ALONE: u64 = 20_000;
const TOGETHER: u64 = 20_000;
const BULK: u64 = 50_000;
const SAMPLES: u64 = 500;
const BUSY_SAMPLES: u64 = 200;

/// How many jobs must wait for a worker to be busy for as long as that takes.
const BUSY_FROM: u64 = 500_000;

/// Callers that add jobs at the same time, each one by one.
const CALLERS: u64 = 100;

/// Jobs that a draining worker runs at a time; the one that suits a side best is used.
const CONCURRENCY: [u64; 5] = [25, 50, 100, 200, 400];

/// Jobs that a worker runs at a time where latency is measured, on both sides: a job waits for
/// those that a busy worker has.
const AT_HAND: u64 = 100;

/// A day, in ms: not due while this runs.
const LATER: u64 = 86_400_000;

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let [_, role, url] = &arguments[..]
        && role == "ours"
    {
        ours::serve(url);
        return;
    }
    let setting = |name, default| std::env::var(name).map_or(default, |it| it.parse().unwrap());
    let rounds = setting("SLUICE_BENCH_ROUNDS", 5);
    let many = setting("SLUICE_BENCH_WAITING", 1_000_000);

    let valkey = TestValkey::start_with(&["--auto-aof-rewrite-percentage", "0"]);
    let mut sides = [Side::ours(&valkey), Side::bullmq(&valkey)];
    tune_ours(&mut sides[0]);
    tune_bullmq(&mut sides[1]);
    println!("Sluice's settings: {}", sides[0].settings);
    println!("BullMQ's settings: {}", sides[1].settings);
    println!();
    println!("| | Sluice | BullMQ | ratio |");
    println!("|---|---|---|---|");
    for waiting in [FEW, many] {
        compare(&valkey, &mut sides, waiting, rounds);
    }
}

/// All measures with so many jobs waiting.
fn compare(valkey: &TestValkey, sides: &mut [Side; 2], waiting: u64, rounds: u64) {
    let (line, idle) = (format!("line-{waiting}"), format!("idle-{waiting}"));
    let memory = [0, 1].map(|side| {
        let before = valkey.used_memory();
        sides[side].seconds(json!({ "do": "bulk", "queue": line, "jobs": waiting, "delay": 0 }));
        let after = valkey.used_memory();
        sides[side]
            .seconds(json!({ "do": "bulk", "queue": idle, "jobs": waiting, "delay": LATER }));
        (after - before) as f64 / waiting as f64
    });

    let mut table = Table::default();
    for round in 0..rounds {
        for turn in 0..2 {
            let number = ((round + turn) % 2) as usize;
            let side = &mut sides[number];
            let mut rate = |what: &'static str, jobs: u64, command: Value| {
                let rate = jobs as f64 / side.seconds(command);
                table.add(number, what, rate);
            };
            rate(
                "added one by one, by 100 callers, jobs/s",
                TOGETHER,
                json!({ "do": "one", "queue": line, "jobs": TOGETHER, "callers": CALLERS }),
            );
            rate(
                "added in bulk, jobs/s",
                BULK,
                json!({ "do": "bulk", "queue": line, "jobs": BULK, "delay": 0 }),
            );
            let added = TOGETHER + BULK;
            rate(
                "drained by a worker, jobs/s",
                added,
                json!({ "do": "drain", "queue": line, "jobs": added }),
            );
            // One caller waits for one answer after the other, and so for as many round trips,
            // which a PING is the least of.
            let each = |seconds: f64| seconds * 1e6 / ALONE as f64;
            let ping = side.seconds(json!({ "do": "ping", "count": ALONE }));
            table.add(number, "PING, by one caller, µs each", each(ping));
            let alone = side.seconds(
                json!({ "do": "one", "with": "alone", "queue": line, "jobs": ALONE, "callers": 1 }),
            );
            table.add(
                number,
                "added one by one, by one caller, µs each",
                each(alone),
            );
            side.seconds(json!({ "do": "drain", "queue": line, "jobs": ALONE }));
            let (start, result) = side.latencies(&idle, SAMPLES);
            table.add_percentiles(
                number,
                ["push → start, idle, p50, ms", "push → start, idle, p99, ms"],
                start,
            );
            table.add_percentiles(
                number,
                [
                    "push → result, idle, p50, ms",
                    "push → result, idle, p99, ms",
                ],
                result,
            );
            if waiting >= BUSY_FROM {
                let (start, result) = side.latencies(&line, BUSY_SAMPLES);
                table.add_percentiles(
                    number,
                    ["push → start, busy, p50, ms", "push → start, busy, p99, ms"],
                    start,
                );
                table.add_percentiles(
                    number,
                    [
                        "push → result, busy, p50, ms",
                        "push → result, busy, p99, ms",
                    ],
                    result,
                );
            }
        }
    }
    println!("| **{waiting} jobs waiting** | | | |");
    table.print();
    let [ours, theirs] = memory;
    println!(
        "| memory per waiting job, bytes | {ours:.0} | {theirs:.0} | {:.2} |",
        ours / theirs
    );
}

/// Results of both sides by what was measured, in the order of measuring.
#[derive(Default)]
struct Table(Vec<(&'static str, [Vec<f64>; 2])>);

impl Table {
    fn add(&mut self, side: usize, what: &'static str, value: f64) {
        let row = self
            .0
            .iter()
            .position(|(name, _)| *name == what)
            .unwrap_or_else(|| {
                self.0.push((what, Default::default()));
                self.0.len() - 1
            });
        self.0[row].1[side].push(value);
    }

    fn add_percentiles(
        &mut self,
        side: usize,
        [p50, p99]: [&'static str; 2],
        mut samples: Vec<f64>,
    ) {
        samples.sort_by(f64::total_cmp);
        self.add(side, p50, samples[samples.len() / 2]);
        self.add(side, p99, samples[samples.len() * 99 / 100]);
    }

    fn print(&self) {
        for (what, [ours, theirs]) in &self.0 {
            let ratios = ours.iter().zip(theirs).map(|(ours, theirs)| ours / theirs);
            let digits = match what.rsplit_once(", ") {
                Some((_, "ms")) => 2,
                Some((_, "µs each")) => 1,
                _ => 0,
            };
            println!(
                "| {what} | {:.digits$} | {:.digits$} | {:.2} |",
                median(ours.clone()),
                median(theirs.clone()),
                median(ratios.collect()),
            );
        }
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How many jobs a setting is tried with.
const TRIED: u64 = 20_000;

/// Tries Sluice's concurrencies, which also warms it up.
fn tune_ours(ours: &mut Side) {
    let fill = |queue: &str| json!({ "do": "bulk", "queue": queue, "jobs": TRIED, "delay": 0 });
    let choices = CONCURRENCY.map(|it| json!({ "concurrency": it }));
    ours.best(&fill("tune"), vec![json!({})], fill);
    let drain = json!({ "do": "drain", "jobs": TRIED });
    ours.best(&drain, choices.to_vec(), fill);
    let drain = ours.best(&drain, choices.to_vec(), fill);
    ours.settings = json!({ "drain": drain, "latency": { "concurrency": AT_HAND } });
}

/// Tries BullMQ's settings, which also warms it up.
fn tune_bullmq(bullmq: &mut Side) {
    let fill = |queue: &str| json!({ "do": "bulk", "queue": queue, "jobs": TRIED, "chunk": 1000, "autoPipelining": false });
    let pipelining = || [false, true].map(|it| json!({ "autoPipelining": it }));
    let both = |name: &str, values: &[u64]| {
        let values = values
            .iter()
            .flat_map(|value| pipelining().map(|it| merged(&it, &json!({ name: value }))));
        values.collect::<Vec<_>>()
    };
    let one = json!({ "do": "one", "queue": "tune", "jobs": TRIED, "callers": CALLERS });
    bullmq.best(&one, pipelining().to_vec(), fill);
    let one = bullmq.best(&one, pipelining().to_vec(), fill);
    let alone = json!({ "do": "one", "queue": "tune", "jobs": TRIED, "callers": 1 });
    let alone = bullmq.best(&alone, pipelining().to_vec(), fill);
    let bulk = json!({ "do": "bulk", "queue": "tune", "jobs": TRIED });
    let bulk = bullmq.best(&bulk, both("chunk", &[100, 500, 1000, 2000]), fill);
    let drain = json!({ "do": "drain", "jobs": TRIED });
    bullmq.best(&drain, both("concurrency", &CONCURRENCY), fill);
    let drain = bullmq.best(&drain, both("concurrency", &CONCURRENCY), fill);
    let latency = merged(&drain, &json!({ "concurrency": AT_HAND }));
    bullmq.settings =
        json!({ "one": one, "alone": alone, "bulk": bulk, "drain": drain, "latency": latency });
}

fn merged(one: &Value, other: &Value) -> Value {
    let mut both = one.clone();
    for (name, value) in other.as_object().unwrap() {
        both[name] = value.clone();
    }
    both
}

/// One of the two processes. It ends with this.
struct Side {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    /// What is added to a command, by what it does or is to be done with.
    settings: Value,
}

impl Side {
    fn ours(valkey: &TestValkey) -> Self {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command.args(["ours", &valkey.url()]);
        Self::start(command)
    }

    fn bullmq(valkey: &TestValkey) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/bullmq");
        assert!(
            folder.join("node_modules/bullmq").exists(),
            "BullMQ is not installed in {}; `make bench` installs it",
            folder.display()
        );
        let mut command = std::process::Command::new("node");
        command
            .arg("side.mjs")
            .arg(valkey.port().to_string())
            .current_dir(folder);
        Self::start(command)
    }

    fn start(mut command: std::process::Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        Self {
            input: child.stdin.take().unwrap(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            settings: json!({}),
        }
    }

    fn ask(&mut self, command: &Value) -> Value {
        let with = command.get("with").unwrap_or(&command["do"]);
        let settings = with.as_str().and_then(|it| self.settings.get(it));
        let command = settings.map_or_else(|| command.clone(), |it| merged(command, it));
        writeln!(self.input, "{command}").unwrap();
        let mut answer = String::new();
        self.output.read_line(&mut answer).unwrap();
        serde_json::from_str(&answer).unwrap_or_else(|_| panic!("no answer to {command}"))
    }

    /// The choice with which the command is fastest. What is drained is filled before, by what
    /// `fill` says for a queue.
    fn best(
        &mut self,
        command: &Value,
        choices: Vec<Value>,
        fill: impl Fn(&str) -> Value,
    ) -> Value {
        let timed = choices.into_iter().enumerate().map(|(number, choice)| {
            let mut command = merged(command, &choice);
            if command["do"] == "drain" {
                let queue = format!("tune-{number}");
                self.ask(&fill(&queue));
                command["queue"] = json!(queue);
            }
            (self.seconds(command), choice)
        });
        let fastest = timed.min_by(|one, other| one.0.total_cmp(&other.0));
        fastest.unwrap().1
    }

    fn seconds(&mut self, command: Value) -> f64 {
        self.ask(&command).as_f64().unwrap()
    }

    /// To the start and to the result, in ms.
    fn latencies(&mut self, queue: &str, samples: u64) -> (Vec<f64>, Vec<f64>) {
        let command = json!({ "do": "latency", "queue": queue, "samples": samples });
        let answer = self.ask(&command);
        let list = |name: &str| serde_json::from_value(answer[name].clone()).unwrap();
        (list("toStart"), list("toResult"))
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

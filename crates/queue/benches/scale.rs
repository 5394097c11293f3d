//! What a very long queue costs: everyday operations with a million jobs due, a million scheduled
//! and a hundred thousand dead letters, as multiples of what they take in a queue a thousandth of
//! that size; and memory for each job.
//!
//! `cargo bench -p sluice-queue --bench scale -- [due] [scheduled] [dead]`
#![allow(clippy::unwrap_used, missing_docs)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use apalis::prelude::{WorkerBuilder, WorkerContext};
use serde_json::value::RawValue;
use sluice_queue::{
    HandlerResult, JobError, JobFilter, NewJob, QueueConfig, Queues, Running, State, WorkerConfig,
};
use sluice_test_support::TestValkey;

/// How often each operation is measured.
const SAMPLES: usize = 100;

/// Jobs worked off to measure the time for each.
const WORKED_OFF: u64 = 5_000;

/// How many jobs one step of an operation on many looks at.
const STEP: u64 = 100;

const PAGE: u64 = 50;
const DAY: Duration = Duration::from_secs(86_400);

#[tokio::main]
async fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|it| it.parse().ok()).collect();
    let [due, scheduled, dead] = numbers
        .try_into()
        .unwrap_or([1_000_000, 1_000_000, 100_000]);
    let valkey = TestValkey::start_with(&["--auto-aof-rewrite-percentage", "0"]);
    let config = QueueConfig {
        backlog_limit: usize::MAX,
        ..QueueConfig::default()
    };
    let queues = Queues::connect(&valkey.url(), config).await.unwrap();

    let small = Queue {
        queues: &queues,
        name: "small",
        due: 1_000,
        scheduled: 1_000,
        dead: 100,
    };
    small.fill(&valkey).await;
    let long = Queue {
        queues: &queues,
        name: "long",
        due,
        scheduled,
        dead,
    };
    let memory = long.fill(&valkey).await;

    println!(
        "| operation | {} jobs | {} jobs | ratio |",
        small.size(),
        long.size()
    );
    println!("|---|---|---|---|");
    for ((what, short), (_, long)) in small.measure().await.into_iter().zip(long.measure().await) {
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let ratio = ms(long) / ms(short);
        println!(
            "| {what} | {:.3} ms | {:.3} ms | {ratio:.2} |",
            ms(short),
            ms(long)
        );
    }
    println!();
    for (state, bytes) in ["due", "scheduled", "dead"].iter().zip(memory) {
        println!("memory for each job that is {state}: {bytes:.0} bytes");
    }
}

struct Queue<'a> {
    queues: &'a Queues,
    name: &'static str,
    due: u64,
    scheduled: u64,
    dead: u64,
}

impl Queue<'_> {
    fn size(&self) -> u64 {
        self.due + self.scheduled + self.dead
    }

    /// Returns the bytes that each job takes in its state: due, scheduled, dead.
    async fn fill(&self, valkey: &TestValkey) -> [f64; 3] {
        let empty = valkey.used_memory() as f64;
        self.add(self.dead, None).await;
        self.work(self.dead, async |_| {
            Err(JobError::Fatal("it cannot be done".into()))
        })
        .await;
        let with_dead = valkey.used_memory() as f64;
        self.add(self.scheduled, Some(DAY)).await;
        let with_scheduled = valkey.used_memory() as f64;
        self.add(self.due, None).await;
        let all = valkey.used_memory() as f64;
        [
            (all - with_scheduled) / self.due as f64,
            (with_scheduled - with_dead) / self.scheduled as f64,
            (with_dead - empty) / self.dead as f64,
        ]
    }

    async fn add(&self, count: u64, delay: Option<Duration>) {
        let mut left = count;
        while left > 0 {
            let step = left.min(10_000);
            let jobs = (0..step).map(|n| NewJob {
                delay,
                ..NewJob::new(self.name, &serde_json::json!({ "n": n })).unwrap()
            });
            self.queues
                .enqueue_all(&jobs.collect::<Vec<_>>())
                .await
                .unwrap();
            left -= step;
        }
    }

    /// Has a worker run so many jobs. Returns how long it took.
    async fn work<F, Fut>(&self, count: u64, handler: F) -> Duration
    where
        F: Fn(Running) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let done = Arc::new(AtomicU64::new(0));
        let counted = done.clone();
        let context = WorkerContext::new("w");
        let worker = WorkerBuilder::new(&context)
            .backend(self.queues.backend(self.name, WorkerConfig::new("w", 100)))
            .build(move |running: Running| {
                counted.fetch_add(1, Ordering::Relaxed);
                handler(running)
            });
        let begun = Instant::now();
        let running = tokio::spawn(async move { worker.run().await.unwrap() });
        while done.load(Ordering::Relaxed) < count {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let took = begun.elapsed();
        context.stop().unwrap();
        running.await.unwrap();
        took
    }

    async fn measure(&self) -> Vec<(&'static str, Duration)> {
        let page = async |state, offset| {
            let jobs = self
                .queues
                .list(self.name, state, offset, PAGE)
                .await
                .unwrap();
            assert_eq!(jobs.len() as u64, PAGE);
        };
        let mut results = vec![
            (
                "counts",
                median(async || drop(self.queues.queues().await.unwrap())).await,
            ),
            (
                "a page of those due",
                median(async || page(State::Available, 0).await).await,
            ),
            (
                "a page from the middle of those due",
                median(async || page(State::Available, self.due / 2).await).await,
            ),
            (
                "a page of those scheduled",
                median(async || page(State::Scheduled, 0).await).await,
            ),
            (
                "a page of the dead",
                median(async || page(State::Dead, 0).await).await,
            ),
            (
                "adding a job",
                median(async || self.add(1, None).await).await,
            ),
        ];
        let filter = JobFilter {
            user: Some("nobody".into()),
            ..JobFilter::new(self.name, State::Dead)
        };
        let begun = Instant::now();
        assert_eq!(self.queues.retry_all(&filter).await.unwrap().done, 0);
        let steps = u32::try_from(self.dead / STEP).unwrap();
        results.push((
            "a step of an operation on all the dead",
            begun.elapsed() / steps.max(1),
        ));
        self.add(WORKED_OFF, None).await;
        let took = self
            .work(WORKED_OFF, async |_| Ok(RawValue::NULL.to_owned()))
            .await;
        results.push((
            "a job's fetch and end",
            took / u32::try_from(WORKED_OFF).unwrap(),
        ));
        results
    }
}

async fn median(operation: impl AsyncFn()) -> Duration {
    let mut times = Vec::with_capacity(SAMPLES);
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        operation().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[SAMPLES / 2]
}

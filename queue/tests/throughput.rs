//! How fast the queue is. Not a check; run it with
//! `cargo test --release -p sluice-queue --test throughput -- --ignored --nocapture`.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use futures_util::{StreamExt, TryStreamExt, stream};
use sluice_queue::{State, WorkerConfig};
use sluice_test_support::TestValkey;

const JOBS: u32 = 50_000;
const SAMPLES: usize = 1_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn no_op_jobs_per_second_and_latency() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;

    let begun = Instant::now();
    stream::iter(0..JOBS)
        .map(|n| {
            let queues = queues.clone();
            async move { queues.enqueue(job(&n)).await }
        })
        .buffer_unordered(100)
        .try_collect::<Vec<_>>()
        .await
        .unwrap();
    report("enqueued by 100 callers", begun.elapsed());

    let jobs: Vec<_> = (0..JOBS).map(|n| job(&n)).collect();
    let begun = Instant::now();
    queues.enqueue_all(&jobs).await.unwrap();
    report("enqueued in bulk by one caller", begun.elapsed());

    let begun = Instant::now();
    let worker = work(&queues, WorkerConfig::new("w", 100), async |_| {
        Ok(json(&()))
    });
    loop {
        let stats = queues.queues().await.unwrap().remove(0);
        if stats.available + stats.running == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    report(
        "drained, of twice as many, by one worker of concurrency 100",
        begun.elapsed() / 2,
    );
    worker.stop().await;
    assert_eq!(queues.list("q", State::Dead, 0, 1).await.unwrap().len(), 0);

    let starts = Arc::new(Mutex::new(Vec::new()));
    let seen = starts.clone();
    let worker = work(&queues, WorkerConfig::new("w", 10), move |_| {
        seen.lock().unwrap().push(Instant::now());
        async { Ok(json(&())) }
    });
    let (mut to_start, mut to_result) = (Vec::new(), Vec::new());
    for _ in 0..SAMPLES {
        let begun = Instant::now();
        let id = queues.enqueue(job(&1)).await.unwrap().id;
        finished(&queues, &id).await;
        to_result.push(begun.elapsed());
        to_start.push(starts.lock().unwrap().pop().unwrap() - begun);
    }
    worker.stop().await;
    percentiles("push → start, idle worker", to_start);
    percentiles("push → result, idle worker", to_result);
}

fn report(what: &str, took: Duration) {
    let rate = f64::from(JOBS) / took.as_secs_f64();
    println!("{JOBS} no-op jobs {what}: {rate:.0}/s");
}

fn percentiles(what: &str, mut samples: Vec<Duration>) {
    samples.sort_unstable();
    let at = |share: f64| samples[(samples.len() as f64 * share) as usize];
    println!("{what}: p50 {:?}, p99 {:?}", at(0.5), at(0.99));
}

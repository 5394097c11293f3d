//! Worker processes that are killed and stopped at random while they work off a queue, of one
//! Valkey and of a cluster.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sluice_queue::{Finished, JobError, NewJob, QueueConfig, Running, WorkerConfig};
use sluice_test_support::{TestCluster, TestValkey};
use tokio::time::sleep;

use crate::common::process::{Process, queues_of_parent};
use crate::common::*;

/// The recorded history: `<job>/<attempt>` for each effect that a handler had.
const EFFECTS: &str = "test:effects";

/// Tells the workers on which Valkey it is.
const EFFECTS_URL: &str = "SLUICE_QUEUE_TEST_EFFECTS_URL";

const JOBS: usize = 1500;
const WORKERS: usize = 3;
const BLOWS: usize = 16;

/// Not a test: one of the workers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of other tests, in a process of its own"]
async fn victim_process() {
    let (_, queues) = queues_of_parent().await;
    let client = redis::Client::open(std::env::var(EFFECTS_URL).unwrap()).unwrap();
    let effects = client.get_multiplexed_async_connection().await.unwrap();
    let worker = work(
        &queues,
        WorkerConfig {
            losses: 1_000,
            ..fast("victim", 6)
        },
        move |running: Running| {
            let mut effects = effects.clone();
            async move {
                sleep(Duration::from_millis(rand::random_range(0..60))).await;
                let effect = format!("{}/{}", running.id(), running.attempt());
                let _: i64 = redis::cmd("RPUSH")
                    .arg(EFFECTS)
                    .arg(effect)
                    .query_async(&mut effects)
                    .await
                    .unwrap();
                sleep(Duration::from_millis(rand::random_range(0..60))).await;
                match rand::random_range(0..10) {
                    0 => Err(JobError::Retry("bad luck".into())),
                    _ => Ok(json(&running.attempt())),
                }
            }
        },
    );
    worker.running.await.unwrap();
}

#[tokio::test]
async fn of_killed_and_stopped_workers_every_job_ends_once_with_no_more_effects_than_attempts() {
    let valkey = TestValkey::start();
    kill_and_stop_workers(&valkey.url(), &valkey).await;
}

#[tokio::test]
async fn on_a_cluster_too_every_job_ends_once_with_no_more_effects_than_attempts() {
    let cluster = TestCluster::start();
    kill_and_stop_workers(&cluster.url(), &TestValkey::start()).await;
}

/// Runs jobs of the queue at `url` and looks at what came of them. Their effects go to `history`.
async fn kill_and_stop_workers(url: &str, history: &TestValkey) {
    let start = || {
        Process::start_at(
            url,
            "killing::victim_process",
            &[(EFFECTS_URL, &history.url())],
        )
    };
    let seed = rand::random();
    println!("seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let queues = connect(url, QueueConfig::default()).await;
    let mut victims: Vec<_> = (0..WORKERS).map(|_| start()).collect();
    let jobs: Vec<_> = (0..JOBS)
        .map(|n| NewJob {
            group: (n % 20 == 0).then(|| format!("g{}", n % 7)),
            max_attempts: Some(if n % 10 == 0 { 2 } else { 20 }),
            ..job(&n)
        })
        .collect();
    let ids: Vec<_> = queues
        .enqueue_all(&jobs)
        .await
        .unwrap()
        .into_iter()
        .map(|answer| answer.unwrap().id)
        .collect();

    for _ in 0..BLOWS {
        sleep(Duration::from_millis(rng.random_range(50..400))).await;
        let victim = rng.random_range(0..WORKERS);
        if rng.random_bool(0.3) {
            // Longer than the lease.
            victims[victim].signal("STOP");
            sleep(Duration::from_millis(1200)).await;
            victims[victim].signal("CONT");
        } else {
            victims[victim] = start();
        }
    }

    let mut attempts = HashMap::new();
    for id in &ids {
        let end = finished(&queues, id).await;
        let job = queues.get(id).await.unwrap().unwrap();
        match end {
            // The run that completed it is the last one that began: nobody took it up again, and no
            // stale run got through.
            Finished::Completed(result) => {
                assert_eq!(result.get(), job.attempts.to_string(), "{id}");
            }
            Finished::Dead { .. } => assert_eq!(Some(job.attempts), job.max_attempts, "{id}"),
            other => panic!("{id} ended as {other:?}"),
        }
        attempts.insert(id.to_string(), job.attempts);
    }
    drop(victims);
    let effects: Vec<String> = redis::cmd("LRANGE")
        .arg(EFFECTS)
        .arg(0)
        .arg(-1)
        .query(&mut history.connection())
        .unwrap();
    let distinct: HashSet<_> = effects.iter().collect();
    assert_eq!(distinct.len(), effects.len(), "an attempt was run twice");
    for effect in &effects {
        let (id, attempt) = effect.split_once('/').unwrap();
        assert!(attempt.parse::<u32>().unwrap() <= attempts[id], "{effect}");
    }
    let again = attempts.values().filter(|&&attempts| attempts > 1).count();
    println!("{again} jobs ran more than once");
    let stats = queues.queues().await.unwrap().remove(0);
    let open = stats.scheduled + stats.available + stats.running + stats.retrying;
    assert_eq!((open, stats.completed + stats.dead), (0, JOBS as u64));
}

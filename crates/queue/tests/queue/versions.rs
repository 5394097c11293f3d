//! Workers leave jobs alone whose payload is of a newer version than they know.

use std::time::Duration;

use sluice_queue::{JobFilter, JobId, NewJob, Queues, Running, State, WorkerConfig};
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::*;

fn of_version(version: u32, payload: u32) -> NewJob {
    NewJob {
        version,
        ..job(&payload)
    }
}

fn knowing(version: u32, name: &str) -> WorkerConfig {
    WorkerConfig {
        version,
        ..fast(name, 2)
    }
}

async fn enqueue(queues: &Queues, version: u32, count: u32) -> Vec<JobId> {
    let jobs: Vec<_> = (0..count).map(|n| of_version(version, n)).collect();
    let answers = queues.enqueue_all(&jobs).await.unwrap();
    answers.into_iter().map(|it| it.unwrap().id).collect()
}

#[tokio::test]
async fn an_old_worker_runs_old_jobs_behind_many_new_ones_and_a_new_worker_the_new_ones() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    // More than one fetch looks through.
    let new = enqueue(&queues, 2, 350).await;
    let old = enqueue(&queues, 1, 3).await;
    let handler = async |running: Running| Ok(json(&running.version()));
    let first = work(&queues, knowing(1, "old"), handler);
    for id in &old {
        assert_eq!(result(&queues, id).await, "1");
    }
    let waiting = queues.get(&new[0]).await.unwrap().unwrap();
    assert_eq!((waiting.state, waiting.attempts), (State::Available, 0));
    assert!(waiting.errors.is_empty());
    assert_eq!(queues.queues().await.unwrap()[0].available, 350);
    let page = queues.list("q", State::Available, 0, 500).await.unwrap();
    assert_eq!(page.len(), 350);

    let second = work(&queues, knowing(2, "new"), handler);
    for id in &new {
        assert_eq!(result(&queues, id).await, "2");
        let job = queues.get(id).await.unwrap().unwrap();
        assert_eq!((job.attempts, job.worker.as_deref()), (1, Some("new")));
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_new_worker_that_sleeps_is_woken_for_what_an_old_one_set_aside() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let slow = |version, name| WorkerConfig {
        poll: LONG * 2,
        ..knowing(version, name)
    };
    let handler = async |running: Running| Ok(json(&running.attempt()));
    let workers = [slow(1, "old"), slow(7, "new")].map(|config| work(&queues, config, handler));
    for _ in 0..20 {
        for id in enqueue(&queues, 7, 3).await {
            assert_eq!(result(&queues, &id).await, "1");
        }
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn jobs_that_nobody_knows_keep_no_worker_busy() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let workers = ["a", "b"].map(|name| work(&queues, knowing(1, name), async |_| Ok(json(&()))));
    enqueue(&queues, 2, 10).await;
    sleep(Duration::from_millis(300)).await;
    let before = evaluated(&valkey);
    sleep(Duration::from_secs(2)).await;
    // Two workers that look every 200 ms.
    let sent = evaluated(&valkey) - before;
    assert!((5..=40).contains(&sent), "{sent} scripts in 2 s");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn jobs_that_were_set_aside_can_be_cancelled() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let ids = enqueue(&queues, 2, 3).await;
    let worker = work(&queues, knowing(1, "old"), async |_| Ok(json(&())));
    let old = enqueue(&queues, 1, 1).await.remove(0);
    finished(&queues, &old).await;
    assert!(queues.cancel(&ids[0]).await.unwrap());
    let filter = JobFilter::new("q", State::Available);
    assert_eq!(queues.cancel_all(&filter).await.unwrap(), 2);
    assert_eq!(queues.queues().await.unwrap()[0].available, 0);
    worker.stop().await;
}

fn evaluated(valkey: &TestValkey) -> u64 {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut valkey.connection())
        .unwrap();
    let line = stats.lines().find(|it| it.starts_with("cmdstat_fcall:"));
    let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
    calls.parse().unwrap()
}

//! How workers get to know of jobs, with a poll so slow that it cannot be that.

use std::sync::Arc;
use std::time::Duration;

use sluice_queue::{Queues, Running, WorkerConfig};
use sluice_test_support::TestValkey;
use tokio::sync::Barrier;
use tokio::time::sleep;

use crate::common::*;

/// Looks only when woken.
fn sleepy(name: &str, concurrency: usize) -> WorkerConfig {
    WorkerConfig {
        poll: Duration::from_secs(3600),
        ..WorkerConfig::new(name, concurrency)
    }
}

/// Waits until a worker has looked once and found nothing.
async fn asleep(queues: &Queues) {
    while queues
        .queues()
        .await
        .unwrap()
        .iter()
        .map(|it| it.workers)
        .sum::<u64>()
        == 0
    {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(100)).await;
}

/// Jobs that `adding` adds are run by a sleeping worker of `working`.
async fn is_woken(adding: &Queues, working: &Queues) {
    let worker = work(working, sleepy("w", 1), async |_| Ok(json(&1)));
    asleep(adding).await;
    for _ in 0..20 {
        let id = adding.enqueue(job(&())).await.unwrap().id;
        assert_eq!(result(adding, &id).await, "1");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_worker_in_another_process_is_woken() {
    let valkey = TestValkey::start();
    is_woken(&queues(&valkey).await, &queues(&valkey).await).await;
}

#[tokio::test]
async fn a_worker_in_the_same_process_is_woken() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    is_woken(&queues, &queues).await;
}

#[tokio::test]
async fn what_the_worker_of_the_same_process_has_no_place_for_wakes_others() {
    let valkey = TestValkey::start();
    let (here, there) = (queues(&valkey).await, queues(&valkey).await);
    // Each job ends when the other one runs, too.
    let both = Arc::new(Barrier::new(2));
    let workers = [&here, &there].map(|queues| {
        let both = both.clone();
        work(queues, sleepy("w", 1), move |_: Running| {
            let both = both.clone();
            async move {
                both.wait().await;
                Ok(json(&"met"))
            }
        })
    });
    while here
        .queues()
        .await
        .unwrap()
        .first()
        .is_none_or(|it| it.workers < 2)
    {
        sleep(Duration::from_millis(10)).await;
    }
    sleep(Duration::from_millis(100)).await;
    for _ in 0..20 {
        let (one, other) = tokio::join!(here.enqueue(job(&())), here.enqueue(job(&())));
        for added in [one, other] {
            assert_eq!(result(&here, &added.unwrap().id).await, "\"met\"");
        }
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn functions_that_were_flushed_are_loaded_again() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&1)));
    for _ in 0..5 {
        let mut flush = redis::cmd("FUNCTION");
        flush.arg("FLUSH").exec(&mut valkey.connection()).unwrap();
        let id = queues.enqueue(job(&())).await.unwrap().id;
        assert_eq!(result(&queues, &id).await, "1");
    }
    worker.stop().await;
}

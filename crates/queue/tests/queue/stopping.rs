//! Workers and processes that end in good order.

use std::time::Duration;

use apalis::prelude::{Monitor, WorkerBuilder};
use sluice_queue::{HandlerResult, JobError, Running, State};
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::*;

#[tokio::test]
async fn draining_waits_for_running_jobs_and_hands_back_the_others() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 2), async |running: Running| {
        if running.payload::<String>().unwrap() == "short" {
            sleep(Duration::from_millis(300)).await;
            return Ok(json(&"done"));
        }
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let short = queues.enqueue(job(&"short")).await.unwrap().id;
    let long = queues.enqueue(job(&"long")).await.unwrap().id;
    let third = queues.enqueue(job(&"third")).await.unwrap().id;
    for id in [&short, &long] {
        until(&queues, id, |job| job.state == State::Running).await;
    }
    queues.drain(Duration::from_secs(1)).await;
    worker.stop().await;
    assert_eq!(result(&queues, &short).await, "\"done\"");
    for id in [&long, &third] {
        let job = queues.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempts), (State::Available, 0), "{id}");
        assert_eq!(job.worker, None);
    }
    let listed = queues.list("q", State::Available, 0, 10).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|job| job.id).collect();
    assert_eq!(listed, [third, long], "it has its old place");
}

#[tokio::test]
async fn a_monitor_runs_workers_and_ends_after_a_drain() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let handle = queues.clone();
    let monitor = Monitor::new().register(move |_| {
        WorkerBuilder::new("monitored")
            .backend(handle.backend("q", fast("monitored", 2)))
            .build(async |running: Running| {
                running.cancelled().cancelled().await;
                HandlerResult::<()>::Err(JobError::Cancelled)
            })
    });
    let context = monitor.context();
    let running = tokio::spawn(monitor.run());
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    queues.drain(Duration::ZERO).await;
    context.shutdown().unwrap();
    tokio::time::timeout(LONG, running)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (State::Available, 0));
}

#[tokio::test]
async fn a_worker_that_stops_lets_its_jobs_end_and_fetches_no_more() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| {
        sleep(Duration::from_millis(200)).await;
        Ok(json(&()))
    });
    let first = queues.enqueue(job(&1)).await.unwrap().id;
    let second = queues.enqueue(job(&2)).await.unwrap().id;
    until(&queues, &first, |job| job.state == State::Running).await;
    worker.stop().await;
    let first = queues.get(&first).await.unwrap().unwrap();
    assert_eq!(first.state, State::Completed);
    let second = queues.get(&second).await.unwrap().unwrap();
    assert_eq!((second.state, second.attempts), (State::Available, 0));
}

#[tokio::test]
async fn a_worker_that_runs_by_itself_ends_when_its_process_has_drained() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = queues.enqueue(job(&())).await.unwrap().id;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    finished(&queues, &id).await;
    queues.drain(LONG).await;
    // One that is started only now has nothing to do.
    let late = work(&queues, fast("late", 1), async |_| Ok(json(&())));
    for worker in [worker, late] {
        tokio::time::timeout(LONG, worker.running)
            .await
            .expect("the worker does not end")
            .unwrap();
    }
}

//! A paused queue gives out no job until it is resumed.

use std::time::Duration;

use sluice_queue::{NewJob, Queues, Running, State, WorkerConfig};
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::*;

async fn paused_at(queues: &Queues) -> Option<u64> {
    queues.queues().await.unwrap().remove(0).paused_at
}

#[tokio::test]
async fn a_paused_queue_starts_nothing_and_a_resumed_one_starts_at_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    // A poll too slow to have any part in it: resuming must wake the worker.
    let config = WorkerConfig {
        poll: LONG * 2,
        ..fast("w", 4)
    };
    let worker = work(&queues, config, async |_| Ok(json(&())));
    queues.pause("q").await.unwrap();
    let mut ids = Vec::new();
    for n in 0..10 {
        ids.push(queues.enqueue(job(&n)).await.unwrap().id);
    }
    sleep(Duration::from_millis(300)).await;
    for id in &ids {
        let job = queues.get(id).await.unwrap().unwrap();
        assert_eq!((job.state, job.attempts), (State::Available, 0));
    }
    assert!(paused_at(&queues).await.is_some());

    queues.resume("q").await.unwrap();
    for id in &ids {
        assert_eq!(result(&queues, id).await, "null");
    }
    assert_eq!(paused_at(&queues).await, None);
    worker.stop().await;
}

#[tokio::test]
async fn what_runs_when_its_queue_is_paused_goes_on_and_ends() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| {
        // Longer than a lease: heartbeats go on, too.
        sleep(Duration::from_millis(1500)).await;
        Ok(json(&"done"))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    queues.pause("q").await.unwrap();
    assert_eq!(result(&queues, &id).await, "\"done\"");
    assert_eq!(queues.get(&id).await.unwrap().unwrap().attempts, 1);
    worker.stop().await;
}

#[tokio::test]
async fn delayed_jobs_of_a_paused_queue_join_the_line_when_they_are_due() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.pause("q").await.unwrap();
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    let delayed = NewJob {
        delay: Some(Duration::from_millis(100)),
        ..job(&())
    };
    let id = queues.enqueue(delayed).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Available).await;
    queues.resume("q").await.unwrap();
    assert_eq!(result(&queues, &id).await, "null");
    worker.stop().await;
}

#[tokio::test]
async fn pausing_one_queue_leaves_the_others_alone_and_lasts_over_a_restart() {
    let mut valkey = TestValkey::start_with(&["--appendfsync", "always"]);
    let queues = queues(&valkey).await;
    let handler = async |running: Running| Ok(json(&running.attempt()));
    let workers = ["q", "other"].map(|queue| work_on(&queues, queue, fast("w", 1), handler));
    queues.pause("q").await.unwrap();
    queues.pause("q").await.unwrap();
    valkey.restart();
    let paused = queues.enqueue(job(&())).await.unwrap().id;
    let other = queues.enqueue(NewJob::new("other", &()).unwrap()).await;
    assert_eq!(result(&queues, &other.unwrap().id).await, "1");
    let paused = queues.get(&paused).await.unwrap().unwrap();
    assert_eq!(paused.state, State::Available);
    for worker in workers {
        worker.stop().await;
    }
}

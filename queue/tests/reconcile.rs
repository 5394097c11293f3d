//! Damage from outside, such as deleted keys, is found and mended by any worker.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::Duration;

use common::damage::{lose_job, lose_lease, member};
use common::*;
use sluice_queue::{JobId, NewJob, Queues, Rate, Rates, Running, State, Unique};
use sluice_test_support::TestValkey;
use tokio::time::{Instant, sleep};

/// As [`damage::damage`], of the queue `q`.
fn damage(valkey: &TestValkey, command: &str, key: &str, arguments: &[&str]) {
    damage::damage(&mut valkey.connection(), "q", command, key, arguments);
}

async fn enqueue(queues: &Queues, group: Option<&str>) -> JobId {
    let next = NewJob {
        group: group.map(str::to_owned),
        ..job(&())
    };
    queues.enqueue(next).await.unwrap().id
}

async fn attempt(running: Running) -> sluice_queue::HandlerResult {
    Ok(json(&running.attempt()))
}

#[tokio::test]
async fn a_state_that_somebody_wrote_into_a_job_in_line_does_not_outlive_its_start() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = enqueue(&queues, None).await;
    let key = format!("job:{}", member(&id));
    damage(&valkey, "HSET", &key, &["state", "available"]);
    // Longer than its lease, which only a running job's worker extends.
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        sleep(Duration::from_secs(2)).await;
        attempt(running).await
    });
    assert_eq!(result(&queues, &id).await, "1");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (State::Completed, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_running_job_whose_lease_and_worker_are_gone_runs_again() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = enqueue(&queues, Some("g")).await;
    lose_lease(&mut valkey.connection(), &id);
    let next = enqueue(&queues, Some("g")).await;
    let worker = work(&queues, fast("w", 2), attempt);
    assert_eq!(result(&queues, &id).await, "2");
    assert_eq!(result(&queues, &next).await, "1");
    worker.stop().await;
}

#[tokio::test]
async fn a_living_worker_keeps_a_job_whose_lease_was_deleted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let workers = ["a", "b"].map(|name| {
        work(&queues, fast(name, 1), async |running: Running| {
            running.cancelled().cancelled().await;
            Ok(json(&running.attempt()))
        })
    });
    let id = enqueue(&queues, None).await;
    until(&queues, &id, |job| job.state == State::Running).await;
    damage(&valkey, "DEL", "running", &[]);
    let begun = Instant::now();
    while queues.queues().await.unwrap()[0].running == 0 {
        assert!(begun.elapsed() < LONG);
        sleep(Duration::from_millis(20)).await;
    }
    // Longer than the lease.
    sleep(Duration::from_millis(1500)).await;
    queues.cancel(&id).await.unwrap();
    assert_eq!(result(&queues, &id).await, "1");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_lease_without_a_job_goes_and_one_of_an_ended_job_runs_nothing() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), attempt);
    let id = enqueue(&queues, None).await;
    assert_eq!(result(&queues, &id).await, "1");
    damage(&valkey, "ZADD", "running", &["1", member(&id)]);
    damage(
        &valkey,
        "ZADD",
        "running",
        &["1", "01h2xcejqtf2nbrexx3vqjhp41"],
    );
    let begun = Instant::now();
    while queues.queues().await.unwrap()[0].running > 0 {
        assert!(begun.elapsed() < LONG);
        sleep(Duration::from_millis(20)).await;
    }
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (State::Completed, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_group_whose_first_job_was_deleted_goes_on_in_order() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        ids.push(enqueue(&queues, Some("g")).await);
    }
    for id in &ids[..2] {
        lose_job(&mut valkey.connection(), id);
    }
    let worker = work(&queues, fast("w", 4), attempt);
    for id in &ids[2..] {
        assert_eq!(result(&queues, id).await, "1");
    }
    worker.stop().await;
}

#[tokio::test]
async fn jobs_run_although_every_list_they_were_in_was_deleted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let free = enqueue(&queues, None).await;
    let mut group = Vec::new();
    for _ in 0..8 {
        group.push(enqueue(&queues, Some("g")).await);
    }
    let delayed = NewJob {
        delay: Some(Duration::from_millis(1)),
        ..job(&())
    };
    let delayed = queues.enqueue(delayed).await.unwrap().id;
    for list in ["available", "held", "scheduled", "group:g"] {
        damage(&valkey, "DEL", list, &[]);
    }
    let worker = work(&queues, fast("w", 4), attempt);
    for id in [free, delayed] {
        assert_eq!(result(&queues, &id).await, "1");
    }
    let mut ended = Some(0);
    for id in group {
        assert_eq!(result(&queues, &id).await, "1");
        let job = queues.get(&id).await.unwrap().unwrap();
        assert!(job.started_at >= ended, "two of the group ran at once");
        ended = job.finished_at;
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_unique_key_whose_job_was_deleted_is_free() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let unique = || NewJob {
        unique: Some(Unique::by_key("u")),
        ..job(&())
    };
    let lost = queues.enqueue(unique()).await.unwrap().id;
    lose_job(&mut valkey.connection(), &lost);
    let next = queues.enqueue(unique()).await.unwrap();
    assert!(!next.existing);
    let worker = work(&queues, fast("w", 1), attempt);
    assert_eq!(result(&queues, &next.id).await, "1");
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_waits_for_a_rate_starts_though_its_users_line_was_deleted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let rates = Rates {
        all: None,
        per_user: Some(Rate::sliding_window(1, Duration::from_millis(500))),
    };
    queues.set_rates("q", rates).await.unwrap();
    let worker = work(&queues, fast("w", 2), attempt);
    let of_user = NewJob {
        user: Some("u".into()),
        ..job(&())
    };
    let first = queues.enqueue(of_user.clone()).await.unwrap().id;
    let second = queues.enqueue(of_user).await.unwrap().id;
    finished(&queues, &first).await;
    damage(&valkey, "UNLINK", "throttled:u", &[]);
    damage(&valkey, "UNLINK", "throttled_users", &[]);
    assert_eq!(result(&queues, &second).await, "1");
    worker.stop().await;
}

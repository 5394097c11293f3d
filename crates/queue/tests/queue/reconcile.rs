//! Damage from outside, such as deleted keys, is found and mended by any worker.

use std::time::Duration;

use sluice_queue::{JobId, NewJob, Queues, Rate, Rates, Running, State, Unique};
use sluice_test_support::TestValkey;
use tokio::time::{Instant, sleep};

use crate::common::damage::{lose_job, lose_lease, member};
use crate::common::*;

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

#[tokio::test]
async fn a_damaged_job_is_put_aside_with_its_reason_and_those_fetched_with_it_run() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let of_user = |max_attempts| NewJob {
        user: Some("u".into()),
        max_attempts: Some(max_attempts),
        priority: 6, // all in line at once
        ..job(&())
    };
    let mut damaged = Vec::new();
    for (field, value) in [
        ("max_attempts", "abc"),
        ("seat", "x y"),
        ("attempts", "-"),
        ("run_at", ""),
    ] {
        let id = queues.enqueue(of_user(3)).await.unwrap().id;
        let key = format!("job:{}", member(&id));
        damage(&valkey, "HSET", &key, &[field, value, "has", "*"]);
        damaged.push((id, field));
    }
    let string = queues.enqueue(of_user(3)).await.unwrap().id;
    let key = format!("job:{}", member(&string));
    damage(&valkey, "SET", &key, &["no job"]);
    let bare = queues.enqueue(of_user(3)).await.unwrap().id;
    let key = format!("job:{}", member(&bare));
    damage(&valkey, "HDEL", &key, &["payload"]);
    let good = queues.enqueue(of_user(3)).await.unwrap().id;

    let worker = work(&queues, fast("w", 10), attempt);
    assert_eq!(result(&queues, &good).await, "1");
    damaged.push((bare, "payload"));
    for (id, field) in damaged {
        let job = until(&queues, &id, |job| job.state == State::Dead).await;
        let reason = &job.errors.last().unwrap().message;
        assert!(reason.contains(field), "{field}: {reason}");
    }
    let listed = queues.list("q", State::Dead, 0, 100).await.unwrap();
    let unreadable = listed.iter().find(|job| job.id == string).unwrap();
    assert!(unreadable.damage.is_some());
    assert_eq!(listed.len(), 6);
    // It is listed, and so can be deleted.
    assert!(queues.delete(&string).await.unwrap());
    assert!(queues.get(&string).await.unwrap().is_none());
    assert_eq!(
        queues.list("q", State::Dead, 0, 100).await.unwrap().len(),
        5
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_queue_with_a_key_of_another_type_does_not_hide_the_others() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    enqueue(&queues, None).await;
    queues
        .enqueue(NewJob::new("other", &()).unwrap())
        .await
        .unwrap();
    damage(&valkey, "SET", "dead", &["no set"]);
    let all = queues.queues().await.unwrap();
    assert_eq!(
        (
            all[0].name.as_str(),
            all[0].available,
            all[0].damage.as_ref()
        ),
        ("other", 1, None)
    );
    assert!(all[1].damage.is_some());
}

#[tokio::test]
async fn ids_whose_jobs_and_group_were_deleted_leave_the_lists() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    for _ in 0..3 {
        let id = enqueue(&queues, Some("g")).await;
        lose_job(&mut valkey.connection(), &id);
    }
    damage(&valkey, "DEL", "group:g", &[]);
    assert_eq!(queues.queues().await.unwrap()[0].available, 3);
    let worker = work(&queues, fast("w", 1), attempt);
    let begun = Instant::now();
    while queues.queues().await.unwrap()[0].available > 0 {
        assert!(begun.elapsed() < LONG);
        sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn leases_and_pauses_end_in_time_though_the_clock_was_set_back() {
    const QUARTER: u64 = 900_000;
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let lost = enqueue(&queues, None).await;
    lose_lease(&mut valkey.connection(), &lost);
    let retrying = enqueue(&queues, None).await;
    let time: (u64, u64) = redis::cmd("TIME").query(&mut valkey.connection()).unwrap();
    let ahead = time.0 * 1000 + QUARTER;
    // All as it was written when the clock was ahead.
    let soon = (ahead + 500).to_string();
    damage(&valkey, "ZADD", "running", &[&soon, member(&lost)]);
    let key = format!("job:{}", member(&retrying));
    damage(
        &valkey,
        "HSET",
        &key,
        &["state", "retrying", "run_at", &soon, "has", "*"],
    );
    damage(&valkey, "ZREM", "available", &[member(&retrying)]);
    damage(&valkey, "ZADD", "retrying", &[&soon, member(&retrying)]);
    let ahead = ahead.to_string();
    let marks = [
        "fetched_at",
        &ahead,
        "reconciled_at",
        &ahead,
        "rescue_after",
        &ahead,
        "next_at",
        &soon,
    ];
    damage(&valkey, "HSET", "meta", &marks);
    damage(&valkey, "ZADD", "workers", &[&ahead, "gone"]);
    let worker = work(&queues, fast("w", 2), attempt);
    assert_eq!(result(&queues, &lost).await, "2");
    result(&queues, &retrying).await;
    assert_eq!(queues.queues().await.unwrap()[0].workers, 1);
    worker.stop().await;
}

#[tokio::test]
async fn a_lease_beyond_what_any_worker_asked_for_is_cut_down() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), attempt);
    let id = enqueue(&queues, None).await;
    assert_eq!(result(&queues, &id).await, "1");
    worker.stop().await;
    let lost = enqueue(&queues, None).await;
    lose_lease(&mut valkey.connection(), &lost);
    damage(
        &valkey,
        "ZADD",
        "running",
        &["4102444800000", member(&lost)],
    );
    let again = connect(&valkey.url(), sluice_queue::QueueConfig::default()).await;
    let worker = work(&again, fast("w2", 1), attempt);
    assert_eq!(result(&queues, &lost).await, "2");
    worker.stop().await;
}

//! A Valkey that goes away, comes back, or answers too late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use sluice_queue::{
    Address, NewJob, QueueConfig, Queues, Retention, Running, State, Valkey, ValkeyConfig,
    WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::damage::member;
use crate::common::*;

#[tokio::test]
async fn a_waiting_worker_survives_a_restart_of_valkey() {
    let mut valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&"here")));
    let first = queues.enqueue(job(&())).await.unwrap().id;
    assert_eq!(result(&queues, &first).await, "\"here\"");
    for _ in 0..2 {
        valkey.restart();
        let id = queues.enqueue(job(&())).await.unwrap().id;
        assert_eq!(result(&queues, &id).await, "\"here\"");
        queues.ready().await.unwrap();
    }
    worker.stop().await;
}

#[tokio::test]
async fn events_arrive_again_after_a_restart_of_valkey() {
    let mut valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    // Without events this worker would fetch nothing before the test is over.
    let config = WorkerConfig {
        poll: LONG * 2,
        ..fast("w", 1)
    };
    let worker = work(&queues, config, async |_| Ok(json(&())));
    for _ in 0..2 {
        let id = queues.enqueue(job(&())).await.unwrap().id;
        assert_eq!(result(&queues, &id).await, "null");
        valkey.restart();
        let begun = std::time::Instant::now();
        while queues.ready().await.is_err() {
            assert!(begun.elapsed() < LONG);
        }
    }
    worker.stop().await;
}

#[tokio::test]
async fn first_come_is_first_served_across_a_restart_of_valkey_and_versions_of_the_functions() {
    let mut valkey = TestValkey::start_with(&["--appendfsync", "always"]);
    let ours = queues(&valkey).await;
    let mut retention = Retention::default();
    retention.dead.count += 1;
    let other = QueueConfig {
        retention,
        ..QueueConfig::default()
    };
    let others = queues_with(&valkey, other).await;
    let mut added = Vec::new();
    for from in [&ours, &others, &ours] {
        let jobs: Vec<_> = (0..50).map(|n| job(&n)).collect();
        let answers = from.enqueue_all(&jobs).await.unwrap();
        added.extend(answers.into_iter().map(|it| it.unwrap().id));
        added.push(from.enqueue(job(&())).await.unwrap().id);
        valkey.restart();
    }
    let mut listed = ours.list("q", State::Available, 0, 500).await.unwrap();
    listed.reverse();
    assert!(listed.is_sorted_by_key(|it| it.created_at));
    let listed: Vec<_> = listed.into_iter().map(|it| it.id).collect();
    assert_eq!(listed, added);
}

#[tokio::test]
async fn a_running_job_survives_an_absence_of_valkey_that_is_longer_than_its_lease() {
    let mut valkey = TestValkey::start_with(&["--appendfsync", "always"]);
    let queues = queues(&valkey).await;
    let (release, running_once) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicUsize::new(0)),
    );
    let (released, runs) = (release.clone(), running_once.clone());
    let worker = work(&queues, fast("w", 3), move |running: Running| {
        let released = released.clone();
        runs.fetch_add(1, Ordering::SeqCst);
        async move {
            while !released.load(Ordering::SeqCst) {
                sleep(Duration::from_millis(10)).await;
            }
            Ok(json(&running.attempt()))
        }
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    valkey.kill();
    sleep(Duration::from_secs(2)).await;
    valkey.restart();
    queues.ready().await.ok();
    sleep(Duration::from_secs(2)).await;
    release.store(true, Ordering::SeqCst);
    assert_eq!(result(&queues, &id).await, "1");
    assert_eq!(running_once.load(Ordering::SeqCst), 1);
    worker.stop().await;
}

#[tokio::test]
async fn leases_that_ran_out_while_nobody_could_fetch_may_still_be_extended() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let config = WorkerConfig {
        poll: LONG * 2,
        ..fast("running", 1)
    };
    let running = work(&queues, config, async |running: Running| {
        running.cancelled().cancelled().await;
        Ok(json(&running.attempt()))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    let member = member(&id);
    redis::pipe()
        .atomic()
        .cmd("ZADD")
        .arg("sq1:{q}:running")
        .arg(1)
        .arg(member)
        .cmd("HSET")
        .arg("sq1:{q}:meta")
        .arg("fetched_at")
        .arg(1)
        .exec(&mut valkey.connection())
        .unwrap();
    let other = work(&queues, fast("other", 1), async |_| Ok(json(&"stolen")));
    sleep(Duration::from_secs(2)).await;
    queues.cancel(&id).await.unwrap();
    assert_eq!(result(&queues, &id).await, "1");
    running.stop().await;
    other.stop().await;
}

#[tokio::test]
async fn a_result_that_could_not_be_recorded_at_once_is_recorded_later() {
    let mut valkey = TestValkey::start_with(&["--appendfsync", "always"]);
    let queues = queues(&valkey).await;
    let patient = WorkerConfig {
        lease: Duration::from_secs(10),
        ..fast("w", 1)
    };
    let worker = work(&queues, patient, async |_| {
        sleep(Duration::from_millis(300)).await;
        Ok(json(&"kept"))
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    valkey.kill();
    sleep(Duration::from_secs(1)).await;
    valkey.restart();
    let job = until(&queues, &id, |job| job.state == State::Completed).await;
    assert_eq!((job.result.unwrap().get(), job.attempts), ("\"kept\"", 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_fetch_whose_answer_is_lost_costs_no_attempt() {
    let valkey = TestValkey::start_with(&["--enable-debug-command", "yes"]);
    let config = ValkeyConfig {
        response_timeout: Duration::from_millis(200),
        ..ValkeyConfig::default()
    };
    let way = Valkey::open(Address::parse(&valkey.url()).unwrap(), config);
    let queues = Queues::open(&way, QueueConfig::default()).await.unwrap();
    // The server must know the scripts, or all that gets lost is its asking for them.
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    let first = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &first).await;
    worker.stop().await;
    let once = NewJob {
        max_attempts: Some(1),
        ..job(&())
    };
    let id = queues.enqueue(once).await.unwrap().id;
    let mut connection = valkey.connection();
    let asleep = std::thread::spawn(move || {
        redis::cmd("DEBUG")
            .arg("SLEEP")
            .arg(0.5)
            .exec(&mut connection)
            .unwrap();
    });
    sleep(Duration::from_millis(100)).await;
    // Its first fetch reaches a server that will answer when nobody listens any more.
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&"ran")));
    assert_eq!(result(&queues, &id).await, "\"ran\"");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.errors.len()), (1, 0));
    asleep.join().unwrap();
    worker.stop().await;
}

//! Workers that die, and leases that are lost.

use std::time::Duration;

use sluice_queue::{
    Finished, JobId, NewJob, QueueConfig, QueueError, Queues, Running, State, WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::sync::mpsc;
use tokio::time::sleep;

use crate::common::damage::member;
use crate::common::process::{Process, queues_of_parent};
use crate::common::*;

/// Not a test: what [`child_worker`] runs in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of other tests, in a process of its own"]
async fn worker_process() {
    let (_, queues) = queues_of_parent().await;
    let worker = work(
        &queues,
        WorkerConfig::new("child", 4),
        async |running: Running| {
            if running.payload::<String>().unwrap() == "poison" {
                std::process::abort();
            }
            std::future::pending().await
        },
    );
    worker.running.await.unwrap();
}

/// A worker in another process, with the default lease and poll.
fn child_worker(valkey: &TestValkey) -> Process {
    Process::start(valkey, "recovery::worker_process")
}

fn of_group(group: &str, payload: &str) -> NewJob {
    NewJob {
        group: Some(group.into()),
        ..job(&payload)
    }
}

#[tokio::test]
async fn the_jobs_of_a_killed_worker_run_elsewhere_within_ten_seconds() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let child = child_worker(&valkey);
    let first = queues.enqueue(of_group("g", "1")).await.unwrap().id;
    let second = queues.enqueue(of_group("g", "2")).await.unwrap().id;
    let other = queues.enqueue(job(&"3")).await.unwrap().id;
    for id in [&first, &other] {
        until(&queues, id, |job| job.state == State::Running).await;
    }
    let worker = work(
        &queues,
        WorkerConfig::new("w", 4),
        async |running: Running| Ok(json(&running.attempt())),
    );
    sleep(Duration::from_secs(1)).await;
    // SIGKILL.
    drop(child);
    let killed = std::time::Instant::now();
    assert_eq!(result(&queues, &first).await, "2", "the crash counts");
    assert_eq!(result(&queues, &other).await, "2");
    assert_eq!(result(&queues, &second).await, "1", "the group goes on");
    assert!(
        killed.elapsed() < Duration::from_secs(10),
        "{:?}",
        killed.elapsed()
    );
    let errors = queues.get(&first).await.unwrap().unwrap().errors;
    assert_eq!(errors[0].message, "the lease of worker child ran out");
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_kills_its_workers_becomes_a_dead_letter() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let poison = NewJob {
        max_attempts: Some(2),
        ..of_group("g", "poison")
    };
    let poison = queues.enqueue(poison).await.unwrap().id;
    let next = queues.enqueue(of_group("g", "next")).await.unwrap().id;
    for attempt in 1..=2 {
        let mut child = child_worker(&valkey);
        until(&queues, &poison, |job| job.attempts == attempt).await;
        let died = tokio::task::spawn_blocking(move || child.wait());
        assert!(!died.await.unwrap().success());
    }
    let worker = work(&queues, WorkerConfig::new("w", 1), async |_| Ok(json(&())));
    assert!(matches!(
        finished(&queues, &poison).await,
        Finished::Dead { .. }
    ));
    assert_eq!(result(&queues, &next).await, "null");
    let dead = queues.get(&poison).await.unwrap().unwrap();
    assert_eq!((dead.attempts, dead.errors.len()), (2, 2));
    worker.stop().await;
}

/// Runs a worker in a runtime with a single thread, and blocks that thread for several leases.
#[tokio::test]
async fn a_handler_that_blocks_every_thread_keeps_its_lease() {
    let valkey = TestValkey::start();
    let observer = queues(&valkey).await;
    let id = observer.enqueue(job(&())).await.unwrap().id;
    let (url, busy_id) = (valkey.url(), id.clone());
    let busy = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let queues = Queues::connect(&url, QueueConfig::default()).await.unwrap();
            let worker = work(&queues, fast("busy", 1), async |running: Running| {
                std::thread::sleep(Duration::from_secs(3));
                Ok(json(&running.attempt()))
            });
            finished(&queues, &busy_id).await;
            worker.stop().await;
        });
    });
    until(&observer, &id, |job| job.state == State::Running).await;
    let idle = work(&observer, fast("idle", 1), async |_| Ok(json(&"stolen")));
    assert_eq!(result(&observer, &id).await, "1");
    let ended = tokio::task::spawn_blocking(move || busy.join().unwrap());
    ended.await.unwrap();
    idle.stop().await;
}

/// Makes a lease run out, as if its worker had been away.
async fn expire_lease(valkey: &TestValkey, queues: &Queues, id: &JobId) {
    let member = member(id);
    while queues.get(id).await.unwrap().unwrap().attempts < 2 {
        redis::cmd("ZADD")
            .arg("sq1:{q}:running")
            .arg("XX")
            .arg(1)
            .arg(member)
            .exec(&mut valkey.connection())
            .unwrap();
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_worker_that_lost_its_lease_is_told_and_cannot_write_any_more() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let (sender, mut stale) = mpsc::channel(1);
    let worker = work(&queues, fast("w", 2), move |running: Running| {
        let sender = sender.clone();
        async move {
            if running.attempt() == 1 {
                running.cancelled().cancelled().await;
                let refused = (
                    running.save_checkpoint(&1).await,
                    running.progress(&1).await,
                );
                sender.send(refused).await.unwrap();
                return Ok(json(&"stale"));
            }
            sleep(Duration::from_secs(1)).await;
            Ok(json(&"fresh"))
        }
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    expire_lease(&valkey, &queues, &id).await;
    let (checkpoint, progress) = stale.recv().await.unwrap();
    assert!(
        matches!(checkpoint, Err(QueueError::LeaseLost(_))),
        "{checkpoint:?}"
    );
    assert!(
        matches!(progress, Err(QueueError::LeaseLost(_))),
        "{progress:?}"
    );
    assert_eq!(result(&queues, &id).await, "\"fresh\"");
    worker.stop().await;
}

#[tokio::test]
async fn a_cancelled_job_whose_worker_dies_is_not_run_again() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let child = child_worker(&valkey);
    let id = queues.enqueue(job(&"endless")).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    drop(child);
    assert!(queues.cancel(&id).await.unwrap());
    let worker = work(&queues, WorkerConfig::new("w", 1), async |_| Ok(json(&())));
    assert!(matches!(finished(&queues, &id).await, Finished::Cancelled));
    worker.stop().await;
}

#[tokio::test]
async fn a_job_without_a_bound_of_attempts_is_dead_after_three_leases_lost_in_a_row() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let poison = NewJob {
        max_attempts: None,
        ..job(&())
    };
    let id = queues.enqueue(poison).await.unwrap().id;
    for lost in 1..=3 {
        // As a worker leaves it that is killed while it runs the job.
        let (mut node, member) = (valkey.connection(), crate::common::damage::member(&id));
        crate::common::damage::lose_lease(&mut node, &id);
        let key = format!("job:{member}");
        crate::common::damage::damage(&mut node, "q", "HDEL", &key, &["state"]);
        crate::common::damage::damage(&mut node, "q", "ZADD", "running", &["1", member]);
        queues.pause("q").await.unwrap();
        let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
        let seen = until(&queues, &id, |job| job.losses == lost).await;
        worker.stop().await;
        queues.resume("q").await.unwrap();
        assert_eq!(seen.attempts, lost);
    }
    let dead = until(&queues, &id, |job| job.state == sluice_queue::State::Dead).await;
    let reason = &dead.errors.last().unwrap().message;
    assert!(reason.contains("lost 3 in a row"), "{reason}");
    // An operator may insist, with all losses before it.
    queues.retry(&id).await.unwrap();
    assert_eq!(until(&queues, &id, |_| true).await.losses, 0);
}

//! Workers that die, leases that are lost, a Valkey that goes away.
#![allow(clippy::unwrap_used)]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use apalis::prelude::{Monitor, WorkerBuilder};
use common::damage::member;
use common::process::{Process, queues_of_parent};
use common::*;
use sluice_queue::{
    Finished, HandlerResult, JobError, JobId, NewJob, QueueConfig, QueueError, Queues, Running,
    State, WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::sync::mpsc;
use tokio::time::sleep;

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
    Process::start(valkey, "worker_process")
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
    let config = QueueConfig {
        response_timeout: Duration::from_millis(200),
        ..QueueConfig::default()
    };
    let queues = queues_with(&valkey, config).await;
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
                HandlerResult::Err(JobError::Cancelled)
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

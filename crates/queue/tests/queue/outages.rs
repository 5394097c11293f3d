//! Jobs while Valkey is away, busy or full.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use sluice_queue::keys::OUTAGES;
use sluice_queue::{Fault, Finished, JobError, NewJob, State};
use sluice_test_support::TestValkey;

use crate::common::{fast, finished, job, json, queues, result, until, work};

/// A job that may fail once only.
fn fragile() -> NewJob {
    NewJob {
        max_attempts: Some(1),
        ..job(&())
    }
}

fn away() -> JobError {
    JobError::Outage("Valkey was away".into())
}

#[tokio::test]
async fn an_outage_costs_no_attempt() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let runs = Arc::new(AtomicU32::new(0));
    let worker = work(&queues, fast("w", 1), {
        let runs = runs.clone();
        move |_| {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            async move {
                if run < 4 {
                    Err(away())
                } else {
                    Ok(json(&"done"))
                }
            }
        }
    });
    let id = queues.enqueue(fragile()).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "\"done\"");
    let ended = until(&queues, &id, |job| job.state == State::Completed).await;
    assert_eq!((ended.attempts, ended.errors.len()), (1, 4));
    assert_eq!(runs.load(Ordering::Relaxed), 5);
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_meets_outages_without_end_uses_up_its_attempts() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = queues.enqueue(fragile()).await.unwrap().id;
    // As if it had met almost as many as it outlasts.
    redis::cmd("HSET")
        .arg(format!(
            "sq1:{{q}}:job:{}",
            id.to_string().trim_start_matches("q_")
        ))
        .arg("deferred")
        .arg(OUTAGES - 1)
        .exec(&mut valkey.connection())
        .unwrap();
    let worker = work(&queues, fast("w", 1), async |_| Err(away()));
    let ended = finished(&queues, &id).await;
    assert!(matches!(ended, Finished::Dead { .. }), "{ended:?}");
    let dead = until(&queues, &id, |job| job.state == State::Dead).await;
    assert_eq!((dead.attempts, dead.errors.len()), (1, 2));
    worker.stop().await;
}

#[tokio::test]
async fn while_memory_is_full_jobs_run_and_only_those_that_free_memory_are_added() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let before = queues.enqueue(job(&())).await.unwrap().id;
    queues.ready().await.unwrap();
    redis::cmd("CONFIG")
        .arg(&["SET", "maxmemory", "1"])
        .exec(&mut valkey.connection())
        .unwrap();

    let refused = queues.enqueue(job(&())).await.unwrap_err();
    assert_eq!(refused.fault(), Some(Fault::OutOfMemory), "{refused}");
    let unready = queues.ready().await.unwrap_err();
    assert_eq!(unready.fault(), Some(Fault::OutOfMemory), "{unready}");

    let freeing = NewJob {
        frees_memory: true,
        ..job(&())
    };
    let freeing = queues.enqueue(freeing).await.unwrap().id;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&"done")));
    for id in [before, freeing] {
        assert_eq!(result(&queues, &id).await, "\"done\"");
    }
    worker.stop().await;
}

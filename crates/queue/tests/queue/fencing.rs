//! A worker process that was stopped for longer than its lease cannot harm whoever has its job by
//! then.

use std::time::Duration;

use sluice_queue::{Finished, QueueError, Running, State};
use sluice_test_support::TestValkey;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::common::process::{Process, queues_of_parent};
use crate::common::*;

/// Where the stopped process tells how its last writes ended.
const REPORT: &str = "test:report";

/// Not a test: the worker that gets stopped, in a process of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a part of other tests, in a process of its own"]
async fn stopped_process() {
    let (url, queues) = queues_of_parent().await;
    let worker = work(&queues, fast("stopped", 1), move |running: Running| {
        let url = url.clone();
        async move {
            if running.payload::<String>().unwrap() == "next" {
                return Ok(json(&"next"));
            }
            // Over by the time or shortly after the process wakes up: it writes whether or not it
            // has heard of its loss.
            sleep(Duration::from_millis(1500)).await;
            let answers = [
                running.confirm().await,
                running.save_checkpoint(&"stale").await,
            ];
            let lost = |answer: &_| matches!(answer, Err(QueueError::LeaseLost(_)));
            let lost = answers.iter().all(lost);
            let mut valkey = redis::Client::open(url).unwrap().get_connection().unwrap();
            redis::cmd("SET")
                .arg(REPORT)
                .arg(if lost { "refused" } else { "written" })
                .exec(&mut valkey)
                .unwrap();
            Ok(json(&"stale"))
        }
    });
    worker.running.await.unwrap();
}

#[tokio::test]
async fn a_process_stopped_beyond_its_lease_cannot_complete_a_job_that_is_now_another_ones() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let process = Process::start(&valkey, "fencing::stopped_process");
    let id = queues.enqueue(job(&"first")).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    process.signal("STOP");

    let (release, released) = watch::channel(false);
    let heir = work(&queues, fast("heir", 1), move |_| {
        let mut released = released.clone();
        async move {
            released.wait_for(|&yes| yes).await.unwrap();
            Ok(json(&"fresh"))
        }
    });
    let taken = until(&queues, &id, |job| job.attempts == 2).await;
    assert_eq!(taken.worker.as_deref(), Some("heir"));

    // The heir is busy, so the process that woke up is the one to run this, after the end of its
    // stale run.
    process.signal("CONT");
    let next = queues.enqueue(job(&"next")).await.unwrap().id;
    assert_eq!(result(&queues, &next).await, "\"next\"");
    let report: String = redis::cmd("GET")
        .arg(REPORT)
        .query(&mut valkey.connection())
        .unwrap();
    assert_eq!(report, "refused");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.state, job.attempts), (State::Running, 2));
    assert_eq!(job.worker.as_deref(), Some("heir"));
    assert!(job.result.is_none());

    release.send_replace(true);
    assert_eq!(result(&queues, &id).await, "\"fresh\"");
    heir.stop().await;
}

#[tokio::test]
async fn a_process_stopped_beyond_its_lease_cannot_change_how_its_job_ended_elsewhere() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let process = Process::start(&valkey, "fencing::stopped_process");
    let id = queues.enqueue(job(&"first")).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    process.signal("STOP");
    let heir = work(&queues, fast("heir", 1), async |_| Ok(json(&"fresh")));
    assert_eq!(result(&queues, &id).await, "\"fresh\"");
    heir.stop().await;

    process.signal("CONT");
    let next = queues.enqueue(job(&"next")).await.unwrap().id;
    assert_eq!(result(&queues, &next).await, "\"next\"");
    assert!(matches!(
        finished(&queues, &id).await,
        Finished::Completed(result) if result.get() == "\"fresh\""
    ));
}

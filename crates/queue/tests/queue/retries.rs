//! How often failed jobs are tried again, and after which pauses.

use std::time::Duration;

use sluice_queue::{Backoff, JobError, NewJob, QueueError, Running, State};
use sluice_test_support::TestValkey;

use crate::common::*;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_job_waits_as_it_says_itself_and_shows_it() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| {
        Err(JobError::Retry("not yet".into()))
    });
    let backoff = Backoff::Listed(vec![Duration::from_millis(1), MINUTE]);
    let patient = NewJob {
        backoff: Some(backoff.clone()),
        ..job(&())
    };
    let id = queues.enqueue(patient).await.unwrap().id;
    let waits = until(&queues, &id, |job| {
        job.state == State::Retrying && job.attempts == 2
    })
    .await;
    assert_eq!(waits.run_at, waits.errors[1].at + 60_000);
    assert_eq!(waits.backoff, Some(backoff));
    worker.stop().await;
}

#[tokio::test]
async fn a_job_without_a_bound_is_tried_until_it_succeeds() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        assert_eq!(running.max_attempts(), None);
        match running.attempt() {
            20 => Ok(json(&"at last")),
            n => Err(JobError::Retry(format!("failure {n}"))),
        }
    });
    let stubborn = NewJob {
        max_attempts: None,
        backoff: Some(Backoff::Listed(vec![Duration::ZERO])),
        ..job(&())
    };
    let id = queues.enqueue(stubborn).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "\"at last\"");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((job.attempts, job.max_attempts), (20, None));
    worker.stop().await;
}

#[tokio::test]
async fn a_backoff_out_of_bounds_is_refused_with_its_rule() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let endless = NewJob {
        backoff: Some(Backoff::Listed(vec![MINUTE; 65])),
        ..job(&())
    };
    match queues.enqueue(endless).await {
        Err(error @ QueueError::Invalid { .. }) => {
            assert_eq!(error.to_string(), "backoff must list 1 to 64 pauses");
        }
        other => panic!("{other:?}"),
    }
}

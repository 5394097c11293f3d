//! Cancelling jobs, whatever they are doing.

use sluice_queue::{Finished, JobError, NewJob, Retried, Running, State};
use sluice_test_support::TestValkey;

use crate::common::*;

#[tokio::test]
async fn a_waiting_job_is_cancelled_at_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = queues.enqueue(job(&())).await.unwrap().id;
    let delayed = NewJob {
        delay: Some(LONG),
        ..job(&())
    };
    let delayed = queues.enqueue(delayed).await.unwrap().id;
    for id in [&id, &delayed] {
        assert!(queues.cancel(id).await.unwrap());
        assert!(matches!(finished(&queues, id).await, Finished::Cancelled));
        assert!(!queues.cancel(id).await.unwrap(), "it has ended");
    }
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    assert_eq!(queues.retry(&id).await.unwrap(), Retried::Done);
    assert_eq!(result(&queues, &id).await, "null");
    worker.stop().await;
}

#[tokio::test]
async fn a_running_job_is_cancelled_through_its_token() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 2), async |running: Running| {
        if running.payload::<bool>().unwrap() {
            running.cancelled().cancelled().await;
            Err(JobError::Cancelled)
        } else {
            // Does not look at its token.
            std::future::pending().await
        }
    });
    for listens in [true, false] {
        let id = queues.enqueue(job(&listens)).await.unwrap().id;
        until(&queues, &id, |job| job.state == State::Running).await;
        assert!(queues.cancel(&id).await.unwrap());
        assert!(matches!(finished(&queues, &id).await, Finished::Cancelled));
    }
    worker.stop().await;
}

//! Requests that are sent twice.

use sluice_queue::{NewJob, QueueError, Unique};
use sluice_test_support::TestValkey;

use crate::common::*;

#[tokio::test]
async fn an_idempotency_key_answers_with_its_first_job_also_after_its_end() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&"done")));
    let first = queues.enqueue(idempotent("k", "f")).await.unwrap();
    finished(&queues, &first.id).await;
    let again = queues.enqueue(idempotent("k", "f")).await.unwrap();
    assert!(again.existing);
    assert_eq!(again.id, first.id);
    assert_eq!(result(&queues, &again.id).await, "\"done\"");
    worker.stop().await;
}

#[tokio::test]
async fn an_idempotency_key_with_another_fingerprint_is_refused() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let first = queues.enqueue(idempotent("k", "f")).await.unwrap().id;
    match queues.enqueue(idempotent("k", "g")).await {
        Err(QueueError::IdempotencyKeyReused { first: named }) => assert_eq!(named, first),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_idempotency_key_that_met_a_unique_job_answers_with_that_job_ever_after() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let unique = |job| NewJob {
        unique: Some(Unique::by_key("u")),
        ..job
    };
    let first = queues.enqueue(unique(job(&()))).await.unwrap();
    let both = unique(idempotent("k", "f"));
    assert_eq!(queues.enqueue(both.clone()).await.unwrap().id, first.id);
    assert!(queues.cancel(&first.id).await.unwrap());
    assert_eq!(queues.enqueue(both).await.unwrap().id, first.id);
}

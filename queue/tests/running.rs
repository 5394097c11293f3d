//! Jobs that run: results, retries, dead letters, progress, checkpoints, cancellation.
#![allow(clippy::unwrap_used)]

mod common;

use common::*;
use sluice_test_support::TestValkey;

#[tokio::test]
async fn a_job_runs_and_its_result_reaches_whoever_waits() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 4), async |running| {
        let n: u32 = running.payload().unwrap();
        Ok(json(&(n * 2)))
    });
    let enqueued = queues.enqueue(job(&21)).await.unwrap();
    assert!(!enqueued.existing);
    assert_eq!(result(&queues, &enqueued.id).await, "42");
    worker.stop().await;
}

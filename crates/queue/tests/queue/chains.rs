//! Chains: one job after the other, each with the result of the one before it.

use std::time::Duration;

use sluice_queue::{
    Finished, HandlerResult, JobError, JobId, NewBatch, NewJob, QueueError, Queues, Retried,
    Running, State, Unique,
};
use sluice_test_support::TestValkey;

use crate::common::*;

/// Adds its payload to the sum so far; text is told what it is.
async fn add(running: Running) -> HandlerResult {
    match running.payload::<u32>() {
        Ok(n) => Ok(json(&(n + running.input::<u32>().unwrap().unwrap_or(0)))),
        Err(_) if running.payload::<String>().unwrap() == "refuse" => {
            Err(JobError::Refuse(json(&"no")))
        }
        Err(_) if running.checkpoint::<bool>().is_some() => Ok(json(&40)),
        Err(_) => {
            running.save_checkpoint(&true).await.unwrap();
            Err(JobError::Fatal("once".into()))
        }
    }
}

async fn chain(queues: &Queues, jobs: &[NewJob]) -> Vec<JobId> {
    let chained = queues.enqueue_chain(jobs).await.unwrap();
    assert!(!chained.existing);
    chained.jobs
}

async fn states(queues: &Queues, ids: &[JobId]) -> Vec<State> {
    let mut states = Vec::new();
    for id in ids {
        states.push(queues.get(id).await.unwrap().unwrap().state);
    }
    states
}

#[tokio::test]
async fn each_job_begins_when_the_one_before_it_has_completed_and_has_its_result() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let paused = NewJob {
        delay: Some(Duration::from_millis(100)),
        ..job(&2)
    };
    let ids = chain(&queues, &[job(&1), paused, job(&3), job(&4)]).await;
    let waiting = [State::Waiting; 3];
    assert_eq!(states(&queues, &ids).await[1..], waiting);
    assert_eq!(queues.queues().await.unwrap()[0].waiting, 3);
    let second = queues.get(&ids[1]).await.unwrap().unwrap();
    assert_eq!(
        (second.previous, second.next),
        (Some(ids[0].clone()), Some(ids[2].clone()))
    );

    let worker = work(&queues, fast("w", 4), add);
    assert_eq!(result(&queues, &ids[3]).await, "10");
    let mut jobs = Vec::new();
    for id in &ids {
        jobs.push(queues.get(id).await.unwrap().unwrap());
    }
    for pair in jobs.windows(2) {
        assert!(pair[1].started_at >= pair[0].finished_at);
    }
    assert_eq!(jobs[1].run_at, jobs[0].finished_at.unwrap() + 100);
    worker.stop().await;
}

#[tokio::test]
async fn when_a_job_dies_the_later_ones_are_cancelled_until_a_retry_lets_them_go_on() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let ids = chain(&queues, &[job(&1), job(&"die once"), job(&2), job(&3)]).await;
    let worker = work(&queues, fast("w", 4), add);
    assert!(matches!(
        finished(&queues, &ids[3]).await,
        Finished::Cancelled
    ));
    use State::{Cancelled, Completed, Dead};
    assert_eq!(
        states(&queues, &ids).await,
        [Completed, Dead, Cancelled, Cancelled]
    );
    assert_eq!(
        queues.retry(&ids[3]).await.unwrap(),
        Retried::Follows,
        "it comes back with the one before it"
    );
    assert_eq!(queues.retry(&ids[1]).await.unwrap(), Retried::Done);
    until(&queues, &ids[3], |job| job.state == Completed).await;
    assert_eq!(result(&queues, &ids[3]).await, "45");
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_is_refused_cancelled_or_deleted_ends_the_chain() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let refused = chain(&queues, &[job(&"refuse"), job(&1)]).await;
    let cancelled = chain(&queues, &[job(&1), job(&2), job(&3)]).await;
    assert!(queues.cancel(&cancelled[1]).await.unwrap());
    assert_eq!(
        states(&queues, &cancelled[1..]).await,
        [State::Cancelled; 2]
    );
    let deleted = chain(&queues, &[job(&1), job(&2)]).await;
    assert!(queues.delete(&deleted[0]).await.unwrap());
    assert_eq!(states(&queues, &deleted[1..]).await, [State::Cancelled]);
    let worker = work(&queues, fast("w", 4), add);
    assert!(matches!(
        finished(&queues, &refused[1]).await,
        Finished::Cancelled
    ));
    // What was cancelled by itself does not come back.
    assert_eq!(result(&queues, &cancelled[0]).await, "1");
    assert_eq!(
        states(&queues, &cancelled[1..]).await,
        [State::Cancelled; 2]
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_chain_is_there_once_by_the_key_of_its_first_job() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let first = NewJob {
        unique: Some(Unique::by_key("u")),
        ..job(&1)
    };
    let jobs = [first, job(&2), job(&3)];
    let ids = chain(&queues, &jobs).await;
    let again = queues.enqueue_chain(&jobs).await.unwrap();
    assert!(again.existing);
    assert_eq!(again.jobs, ids);
    assert_eq!(queues.queues().await.unwrap()[0].waiting, 2);
}

#[tokio::test]
async fn a_job_whose_predecessor_was_deleted_from_outside_is_cancelled() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let ids = chain(&queues, &[job(&1), job(&2)]).await;
    damage::lose_job(&mut valkey.connection(), &ids[0]);
    let worker = work(&queues, fast("w", 1), add);
    assert!(matches!(
        finished(&queues, &ids[1]).await,
        Finished::Cancelled
    ));
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_chain_is_refused() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let unique = NewJob {
        unique: Some(Unique::by_key("u")),
        ..job(&1)
    };
    let elsewhere = NewJob::new("other", &1).unwrap();
    let new = NewBatch {
        on_end: Some(job(&1)),
        on_success: None,
    };
    let in_batch = NewJob {
        batch: Some(queues.open_batch(new).await.unwrap()),
        ..job(&1)
    };
    for jobs in [
        vec![],
        vec![job(&1), in_batch],
        vec![job(&1); 101],
        vec![job(&1), unique],
        vec![job(&1), elsewhere],
    ] {
        let refused = queues.enqueue_chain(&jobs).await;
        assert!(
            matches!(refused, Err(QueueError::Invalid { .. })),
            "{refused:?}"
        );
    }
    let large = vec![job(&"x".repeat(200_000)); 6];
    let refused = queues.enqueue_chain(&large).await;
    assert!(
        matches!(refused, Err(QueueError::TooLarge { .. })),
        "{refused:?}"
    );
}

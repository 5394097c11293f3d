//! Operations on many jobs at once, and the deletion of single ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_queue::{
    Idempotency, JobError, JobFilter, JobId, NewJob, QueueError, Queues, Running, State, Unique,
};
use sluice_test_support::TestValkey;

use crate::common::*;

fn by(user: &str, payload: &impl serde::Serialize) -> NewJob {
    NewJob {
        user: Some(user.into()),
        ..job(payload)
    }
}

/// Adds 250 jobs of two users in turn: more than a step looks at.
async fn two_users(queues: &Queues) -> Vec<JobId> {
    let mut ids = Vec::new();
    for n in 0..250 {
        let user = if n % 2 == 0 { "even" } else { "odd" };
        ids.push(queues.enqueue(by(user, &n)).await.unwrap().id);
    }
    ids
}

async fn count(queues: &Queues, state: State) -> u64 {
    let stats = queues.queues().await.unwrap().remove(0);
    match state {
        State::Available => stats.available,
        State::Cancelled => stats.cancelled,
        State::Completed => stats.completed,
        State::Dead => stats.dead,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn all_waiting_jobs_of_a_user_are_cancelled_and_no_others() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let ids = two_users(&queues).await;
    let filter = JobFilter {
        user: Some("odd".into()),
        ..JobFilter::new("q", State::Available)
    };
    assert_eq!(queues.cancel_all(&filter).await.unwrap(), 125);
    assert_eq!(queues.cancel_all(&filter).await.unwrap(), 0);
    for (n, id) in ids.iter().enumerate() {
        let expected = [State::Available, State::Cancelled][n % 2];
        assert_eq!(queues.get(id).await.unwrap().unwrap().state, expected);
    }
}

#[tokio::test]
async fn a_whole_group_is_cancelled_in_one_sweep_and_the_next_of_it_runs() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let of_group = || NewJob {
        group: Some("g".into()),
        ..job(&())
    };
    for _ in 0..150 {
        queues.enqueue(of_group()).await.unwrap();
    }
    let filter = JobFilter::new("q", State::Available);
    assert_eq!(queues.cancel_all(&filter).await.unwrap(), 150);
    assert_eq!(count(&queues, State::Available).await, 0);
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    let next = queues.enqueue(of_group()).await.unwrap().id;
    assert_eq!(result(&queues, &next).await, "null");
    worker.stop().await;
}

#[tokio::test]
async fn running_jobs_are_cancelled_through_their_tokens() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 3), async |running: Running| {
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let mut ids = Vec::new();
    for n in 0..3 {
        ids.push(queues.enqueue(job(&n)).await.unwrap().id);
    }
    for id in &ids {
        until(&queues, id, |job| job.state == State::Running).await;
    }
    let filter = JobFilter::new("q", State::Running);
    assert_eq!(queues.cancel_all(&filter).await.unwrap(), 3);
    for id in &ids {
        until(&queues, id, |job| job.state == State::Cancelled).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn dead_letters_are_retried_by_the_kind_of_their_error_and_each_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = runs.clone();
    let worker = work(&queues, fast("w", 20), move |running: Running| {
        counted.fetch_add(1, Ordering::SeqCst);
        let n: u32 = running.payload().unwrap();
        async move {
            let kind = if n.is_multiple_of(2) {
                "time-out"
            } else {
                "bad [input"
            };
            Err(JobError::Fatal(format!("{kind} of {n}")))
        }
    });
    let ids = two_users(&queues).await;
    for id in &ids {
        finished(&queues, id).await;
    }
    let filter = |error: &str| JobFilter {
        error: Some(error.into()),
        ..JobFilter::new("q", State::Dead)
    };
    assert_eq!(queues.retry_all(&filter("no such")).await.unwrap().done, 0);
    // They die again while the sweep is under way.
    let retried = queues.retry_all(&filter("bad [input")).await.unwrap().done;
    assert_eq!(retried, 125);
    for id in &ids {
        finished(&queues, id).await;
    }
    assert_eq!(count(&queues, State::Dead).await, 250);
    assert_eq!(runs.load(Ordering::SeqCst), 250 + 125);
    worker.stop().await;
}

#[tokio::test]
async fn refused_jobs_are_found_by_their_reason() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(
        &queues,
        fast("w", 2),
        async |running: Running| match running.payload::<u32>().unwrap() {
            0 => Err(JobError::Refuse(json(&"quota"))),
            _ => Ok(json(&"quota")),
        },
    );
    let refused = queues.enqueue(job(&0)).await.unwrap().id;
    let completed = queues.enqueue(job(&1)).await.unwrap().id;
    for id in [&refused, &completed] {
        finished(&queues, id).await;
    }
    let filter = JobFilter {
        error: Some("quota".into()),
        ..JobFilter::new("q", State::Completed)
    };
    assert_eq!(queues.delete_all(&filter).await.unwrap(), 1);
    assert!(queues.get(&refused).await.unwrap().is_none());
    assert!(queues.get(&completed).await.unwrap().is_some());
    worker.stop().await;
}

#[tokio::test]
async fn deleting_all_leaves_nothing_behind() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    for n in 0..230 {
        let next = NewJob {
            unique: Some(Unique::by_key(format!("u{n}"))),
            group: Some(format!("g{}", n % 3)),
            ..job(&n)
        };
        queues.enqueue(next).await.unwrap();
    }
    let filter = JobFilter::new("q", State::Available);
    assert_eq!(queues.delete_all(&filter).await.unwrap(), 230);
    assert_eq!(valkey.keys("sq1:{q}:*"), [""; 0]);
}

#[tokio::test]
async fn a_running_job_is_not_deleted_and_a_finished_one_is() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| job.state == State::Running).await;
    assert!(!queues.delete(&id).await.unwrap());
    queues.cancel(&id).await.unwrap();
    finished(&queues, &id).await;
    assert!(queues.delete(&id).await.unwrap());
    assert!(queues.get(&id).await.unwrap().is_none());
    assert!(matches!(
        queues.delete(&id).await,
        Err(QueueError::NotFound(_))
    ));
    assert_eq!(count(&queues, State::Cancelled).await, 0);
    worker.stop().await;
}

#[tokio::test]
async fn deleting_a_job_frees_its_keys_and_its_place_in_the_group() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let full = || NewJob {
        unique: Some(Unique::by_key("u")),
        group: Some("g".into()),
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: "f".into(),
        }),
        ..job(&())
    };
    let first = queues.enqueue(full()).await.unwrap().id;
    assert!(queues.delete(&first).await.unwrap());
    let second = queues.enqueue(full()).await.unwrap();
    assert!(!second.existing);
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    assert_eq!(result(&queues, &second.id).await, "null");
    worker.stop().await;
}

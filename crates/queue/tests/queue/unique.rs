//! Jobs that are there once: by key, arguments, state and period.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json as value;
use sluice_queue::{
    Enqueued, Finished, JobError, Keep, NewJob, QueueConfig, Queues, Retention, Retried, Running,
    State, Unique,
};
use sluice_test_support::TestValkey;

use crate::common::*;

const HOUR: Duration = Duration::from_secs(3600);

fn unique(key: &str) -> NewJob {
    once(Unique::by_key(key), &())
}

fn once(unique: Unique, payload: &impl serde::Serialize) -> NewJob {
    NewJob {
        unique: Some(unique),
        ..job(payload)
    }
}

async fn add(queues: &Queues, job: NewJob) -> Enqueued {
    queues.enqueue(job).await.unwrap()
}

#[tokio::test]
async fn a_unique_key_answers_with_the_unfinished_job_and_is_free_after_its_end() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let first = queues.enqueue(unique("u1")).await.unwrap();
    let second = queues.enqueue(unique("u1")).await.unwrap();
    assert!(second.existing);
    assert_eq!(second.id, first.id);
    assert!(!queues.enqueue(unique("u2")).await.unwrap().existing);

    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    finished(&queues, &first.id).await;
    let third = queues.enqueue(unique("u1")).await.unwrap();
    assert!(!third.existing);
    assert_ne!(third.id, first.id);
    worker.stop().await;
}

#[tokio::test]
async fn a_unique_key_holds_while_its_job_runs() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 2), async |running: Running| {
        running.cancelled().cancelled().await;
        Ok(json(&()))
    });
    let first = queues.enqueue(unique("u")).await.unwrap();
    until(&queues, &first.id, |job| job.state == State::Running).await;
    let second = queues.enqueue(unique("u")).await.unwrap();
    assert!(second.existing && second.id == first.id);
    queues.cancel(&first.id).await.unwrap();
    worker.stop().await;
}

#[tokio::test]
async fn of_many_enqueued_at_once_with_one_unique_key_one_is_new() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let answers = join_all((0..100).map(|_| queues.enqueue(unique("u")))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers.iter().filter(|answer| !answer.existing).count(), 1);
    let ids: HashSet<_> = answers.into_iter().map(|answer| answer.id).collect();
    assert_eq!(ids.len(), 1);
}

#[tokio::test]
async fn jobs_are_the_same_by_their_payload_or_by_some_of_its_fields() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let by_payload = |payload| once(Unique::by_payload(), &payload);
    let first = add(&queues, by_payload(value!({"user": "ann", "n": 1}))).await;
    let same = add(&queues, by_payload(value!({"n": 1, "user": "ann"}))).await;
    assert!(same.existing && same.id == first.id);
    assert!(
        !add(&queues, by_payload(value!({"n": 2, "user": "ann"})))
            .await
            .existing
    );

    let by_user = |payload| once(Unique::by_fields(["user"]), &payload);
    let first = add(&queues, by_user(value!({"user": "bob", "n": 1}))).await;
    let same = add(&queues, by_user(value!({"user": "bob", "n": 2}))).await;
    assert!(same.existing && same.id == first.id);
    assert!(
        !add(&queues, by_user(value!({"user": "cid", "n": 1})))
            .await
            .existing
    );
}

#[tokio::test]
async fn a_completed_job_may_count_until_it_is_deleted_and_a_dead_one_not() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        if running.payload::<bool>().unwrap() {
            Ok(json(&()))
        } else {
            Err(JobError::Fatal("no".into()))
        }
    });
    let ever = || Unique::by_key("u").or_completed();
    let dead = add(&queues, once(ever(), &false)).await.id;
    assert!(matches!(
        finished(&queues, &dead).await,
        Finished::Dead { .. }
    ));
    let first = add(&queues, once(ever(), &true)).await;
    assert!(!first.existing);
    finished(&queues, &first.id).await;
    let second = add(&queues, once(ever(), &true)).await;
    assert!(second.existing && second.id == first.id);
    assert_eq!(
        queues.retry(&dead).await.unwrap(),
        Retried::KeyTaken,
        "another one counts"
    );
    assert!(queues.delete(&first.id).await.unwrap());
    assert!(!add(&queues, once(ever(), &true)).await.existing);
    worker.stop().await;
}

#[tokio::test]
async fn in_any_state_a_job_counts_after_whatever_end_and_can_be_retried() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let ever = || once(Unique::by_key("u").in_any_state(), &());
    let id = add(&queues, ever()).await.id;
    assert!(queues.cancel(&id).await.unwrap());
    assert_eq!(add(&queues, ever()).await.id, id);
    assert_eq!(queues.retry(&id).await.unwrap(), Retried::Done);
    assert_eq!(add(&queues, ever()).await.id, id);
    let worker = work(&queues, fast("w", 1), async |_| {
        Err(JobError::Fatal("no".into()))
    });
    finished(&queues, &id).await;
    assert_eq!(add(&queues, ever()).await.id, id);
    worker.stop().await;
}

#[tokio::test]
async fn in_a_period_a_job_is_there_once_though_it_has_ended() {
    let valkey = TestValkey::start();
    let last = Keep {
        count: 1,
        age: HOUR,
    };
    let retention = Retention {
        completed: last,
        ..Retention::default()
    };
    let config = QueueConfig {
        retention,
        ..QueueConfig::default()
    };
    let queues = queues_with(&valkey, config).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&"done")));
    let hourly = || once(Unique::by_key("report").per(HOUR), &());
    let first = add(&queues, hourly()).await.id;
    finished(&queues, &first).await;
    // The next one to end makes retention drop it from the list.
    let other = add(&queues, job(&())).await.id;
    finished(&queues, &other).await;
    assert_eq!(add(&queues, hourly()).await.id, first);
    assert_eq!(result(&queues, &first).await, "\"done\"");
    worker.stop().await;
}

#[tokio::test]
async fn each_period_has_its_own_job_though_the_last_one_waits() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let secondly = || once(Unique::by_key("tick").per(Duration::from_secs(1)), &());
    let begun = std::time::Instant::now();
    let mut ids = HashSet::new();
    while ids.len() < 3 {
        let added = add(&queues, secondly()).await;
        assert_eq!(ids.insert(added.id), !added.existing);
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

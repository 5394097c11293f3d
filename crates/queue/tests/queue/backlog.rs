//! How many jobs that have not ended a queue takes, and what happens to those that come then.

use std::time::Duration;

use futures_util::future::join_all;
use sluice_queue::{
    Enqueued, JobError, JobId, NewBatch, NewJob, QueueConfig, QueueError, Queues, Running, State,
    Unique,
};
use sluice_test_support::{LossyWay, TestValkey};

use crate::common::{connect, fast, idempotent, job, json, queues_with, result, until, work};

/// Queues that take so many jobs.
async fn taking(valkey: &TestValkey, backlog_limit: usize) -> Queues {
    let config = QueueConfig {
        backlog_limit,
        ..QueueConfig::default()
    };
    queues_with(valkey, config).await
}

fn unique() -> NewJob {
    NewJob {
        unique: Some(Unique::by_key("u")),
        ..job(&())
    }
}

fn is_full<T>(answer: &Result<T, QueueError>) -> bool {
    matches!(answer, Err(QueueError::Full(queue)) if queue == "q")
}

/// How many jobs of the queue have not ended.
async fn open(queues: &Queues) -> u64 {
    let stats = queues.queues().await.unwrap().remove(0);
    let states = State::ALL.into_iter().filter(|it| !it.is_final());
    states.map(|state| stats.depth(state)).sum()
}

#[tokio::test]
async fn a_full_queue_takes_no_job_until_one_has_ended() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 3).await;
    let scheduled = NewJob {
        delay: Some(Duration::from_secs(3600)),
        ..job(&())
    };
    let of_group = || NewJob {
        group: Some("g".into()),
        ..job(&())
    };
    let scheduled = queues.enqueue(scheduled).await.unwrap().id;
    queues.enqueue(of_group()).await.unwrap();
    let held = queues.enqueue(of_group()).await.unwrap().id;
    for refused in [job(&()), of_group(), unique()] {
        assert!(is_full(&queues.enqueue(refused).await));
    }
    assert_eq!(open(&queues).await, 3);

    for leaving in [held, scheduled] {
        assert!(queues.cancel(&leaving).await.unwrap());
        queues.enqueue(job(&())).await.unwrap();
        assert!(is_full(&queues.enqueue(job(&())).await));
    }
}

#[tokio::test]
async fn other_queues_are_not_full() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 1).await;
    queues.enqueue(job(&())).await.unwrap();
    assert!(is_full(&queues.enqueue(job(&())).await));
    let other = NewJob::new("other", &()).unwrap();
    queues.enqueue(other).await.unwrap();
}

#[tokio::test]
async fn a_job_that_runs_takes_up_room_and_needs_none_to_be_retried() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 1).await;
    let others = queues.clone();
    let worker = work(&queues, fast("w", 1), move |running: Running| {
        let others = others.clone();
        async move {
            let is_full = is_full(&others.enqueue(job(&())).await);
            match running.attempt() {
                1 => Err(JobError::Retry("not yet".into())),
                _ => Ok(json(&is_full)),
            }
        }
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "true");
    worker.stop().await;
    queues.enqueue(job(&())).await.unwrap();
}

#[tokio::test]
async fn of_jobs_that_are_added_at_the_same_time_as_many_get_in_as_there_is_room_for() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 20).await;
    let answers = join_all((0..50).map(|n| queues.enqueue(job(&n)))).await;
    assert_eq!(answers.iter().filter(|it| it.is_ok()).count(), 20);
    assert_eq!(answers.iter().filter(|it| is_full(it)).count(), 30);
    assert_eq!(open(&queues).await, 20);
}

#[tokio::test]
async fn jobs_that_are_added_by_one_call_are_added_all_or_not_at_all() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 500).await;
    let first = queues.enqueue(unique()).await.unwrap().id;
    let many = |count: usize| (0..count).map(|n| job(&n)).collect::<Vec<_>>();

    // More than one script adds, and the last ones alone would fit.
    let refused = queues.enqueue_all(&many(500)).await.unwrap();
    assert_eq!(refused.iter().filter(|it| is_full(it)).count(), 500);
    assert_eq!(open(&queues).await, 1);

    let added = queues.enqueue_all(&many(499)).await.unwrap();
    assert!(added.iter().all(Result::is_ok));
    assert_eq!(open(&queues).await, 500);

    let mut mixed = many(250);
    mixed.push(unique());
    let answers = queues.enqueue_all(&mixed).await.unwrap();
    assert_eq!(answers.iter().filter(|it| is_full(it)).count(), 250);
    let found = answers[250].as_ref().unwrap();
    assert_eq!((&found.id, found.existing), (&first, true));
}

#[tokio::test]
async fn a_chain_is_added_whole_or_not_at_all_and_its_later_jobs_need_no_room() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 3).await;
    let chain = |length: usize| (0..length).map(|n| job(&n)).collect::<Vec<_>>();
    assert!(is_full(&queues.enqueue_chain(&chain(4)).await));
    assert_eq!(open(&queues).await, 0);

    let jobs = queues.enqueue_chain(&chain(3)).await.unwrap().jobs;
    assert!(is_full(&queues.enqueue(job(&())).await));
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        Ok(json(&running.payload::<u32>().unwrap()))
    });
    assert_eq!(result(&queues, &jobs[2]).await, "2");
    worker.stop().await;
}

#[tokio::test]
async fn a_batch_is_opened_with_all_of_its_callbacks_or_not_at_all() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 3).await;
    let callbacks = |frees_memory| NewBatch {
        on_end: Some(job(&"end")),
        on_success: Some(NewJob {
            frees_memory,
            ..job(&"success")
        }),
    };
    let fillers = [(); 2].map(|()| job(&()));
    let fillers = queues.enqueue_all(&fillers).await.unwrap();
    assert!(is_full(&queues.open_batch(callbacks(false)).await));
    assert_eq!(open(&queues).await, 2);

    queues
        .cancel(&fillers[0].as_ref().unwrap().id)
        .await
        .unwrap();
    let batch = queues.open_batch(callbacks(false)).await.unwrap();
    let joining = NewJob {
        batch: Some(batch.clone()),
        ..job(&())
    };
    assert!(is_full(&queues.enqueue(joining).await));
    assert_eq!(queues.batch(&batch).await.unwrap().unwrap().counts.jobs, 0);
    queues.open_batch(callbacks(true)).await.unwrap();
}

#[tokio::test]
async fn a_full_queue_answers_with_the_job_that_has_the_key() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 2).await;
    let waiting = queues.enqueue(unique()).await.unwrap().id;
    let known = queues.enqueue(idempotent("k", "f")).await.unwrap().id;
    for (again, id) in [(unique(), waiting), (idempotent("k", "f"), known)] {
        let expected = Enqueued { id, existing: true };
        assert_eq!(queues.enqueue(again).await.unwrap(), expected);
    }
    let reused = queues.enqueue(idempotent("k", "other")).await;
    assert!(matches!(
        reused,
        Err(QueueError::IdempotencyKeyReused { .. })
    ));
}

#[tokio::test]
async fn jobs_whose_answer_was_lost_are_found_though_the_queue_is_full_by_then() {
    let valkey = TestValkey::start();
    let way = LossyWay::to(valkey.port()).await;
    let config = QueueConfig {
        backlog_limit: 3,
        ..QueueConfig::default()
    };
    let queues = connect(&way.url(), config).await;
    queues.enqueue(job(&())).await.unwrap();
    way.lose(1);
    let added = queues.enqueue_all(&[job(&()), job(&())]).await.unwrap();
    way.assert_lost();
    assert!(added.iter().all(Result::is_ok));
    assert_eq!(open(&queues).await, 3);
}

#[tokio::test]
async fn a_call_that_is_repeated_adds_all_that_is_missing_or_nothing() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 3).await;
    let jobs = [(); 3].map(|()| NewJob {
        id: Some(JobId::new("q")),
        ..job(&())
    });
    let ids = jobs.iter().map(|job| job.id.clone().unwrap());
    let expected: Vec<_> = ids
        .map(|id| Enqueued {
            id,
            existing: false,
        })
        .collect();
    for _ in 0..2 {
        let added = queues.enqueue_all(&jobs).await.unwrap();
        let added: Vec<_> = added.into_iter().map(Result::unwrap).collect();
        assert_eq!(added, expected);
        assert_eq!(open(&queues).await, 3);
    }

    // One of them is gone, and another one has its room.
    let gone = &expected[1].id;
    queues.delete(gone).await.unwrap();
    queues.enqueue(job(&())).await.unwrap();
    let added = queues.enqueue_all(&jobs).await.unwrap();
    let refused: Vec<_> = added.iter().map(is_full).collect();
    assert_eq!(refused, [false, true, false]);
}

#[tokio::test]
async fn a_job_that_frees_memory_is_added_to_a_full_queue() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 1).await;
    let freeing = || NewJob {
        frees_memory: true,
        ..job(&())
    };
    for _ in 0..2 {
        queues.enqueue(freeing()).await.unwrap();
    }
    // Of a call, too, and none of those beside it.
    let answers = queues.enqueue_all(&[job(&()), freeing()]).await.unwrap();
    assert!(is_full(&answers[0]) && answers[1].is_ok());
    assert_eq!(open(&queues).await, 3);
}

#[tokio::test]
async fn an_operator_retries_a_dead_letter_of_a_full_queue() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 1).await;
    let worker = work(&queues, fast("w", 1), async |_| {
        Err(JobError::Fatal("no".into()))
    });
    let dead = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &dead, |job| job.state == State::Dead).await;
    worker.stop().await;
    queues.enqueue(job(&())).await.unwrap();
    queues.retry(&dead).await.unwrap();
    assert_eq!(open(&queues).await, 2);
    assert!(is_full(&queues.enqueue(job(&())).await));
}

#[tokio::test]
async fn a_damaged_list_stops_no_other_job() {
    let valkey = TestValkey::start();
    let queues = taking(&valkey, 2).await;
    redis::cmd("SET")
        .arg("sq1:{q}:retrying")
        .arg("damaged")
        .exec(&mut valkey.connection())
        .unwrap();
    queues.enqueue(job(&())).await.unwrap();
    queues.enqueue(job(&())).await.unwrap();
    assert!(is_full(&queues.enqueue(job(&())).await));
}

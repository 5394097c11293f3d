//! Batches with callbacks: counted once for each job, called back once, whatever happens in
//! between.

use serde_json::Value;
use sluice_queue::{
    BatchCounts, BatchId, HandlerResult, JobError, JobFilter, JobId, NewBatch, NewJob, QueueError,
    Queues, Retried, Running, State, Unique, WorkerConfig,
};
use sluice_test_support::TestValkey;

use crate::common::process::{Process, queues_of_parent};
use crate::common::*;

fn callback(name: &str) -> Option<NewJob> {
    Some(job(&name))
}

async fn open(queues: &Queues) -> BatchId {
    let new = NewBatch {
        on_end: callback("end"),
        on_success: callback("success"),
    };
    queues.open_batch(new).await.unwrap()
}

async fn add(queues: &Queues, batch: &BatchId, payload: &str) -> JobId {
    let member = NewJob {
        batch: Some(batch.clone()),
        ..job(&payload)
    };
    queues.enqueue(member).await.unwrap().id
}

async fn callbacks(queues: &Queues, batch: &BatchId) -> (JobId, JobId) {
    let batch = queues.batch(batch).await.unwrap().unwrap();
    (batch.on_end.unwrap(), batch.on_success.unwrap())
}

async fn state(queues: &Queues, id: &JobId) -> State {
    queues.get(id).await.unwrap().unwrap().state
}

/// Does what the payload says; a callback answers with its input.
async fn handle(running: Running) -> HandlerResult {
    match running.payload::<String>().unwrap().as_str() {
        "die" => Err(JobError::Fatal("as it was told".into())),
        "refuse" => Err(JobError::Refuse(json(&"no"))),
        "die once" if running.attempt() == 1 && running.checkpoint::<bool>().is_none() => {
            running.save_checkpoint(&true).await.unwrap();
            Err(JobError::Fatal("once".into()))
        }
        _ => Ok(json(&running.input::<Value>().unwrap())),
    }
}

#[tokio::test]
async fn a_batch_calls_back_with_its_counts_when_all_of_its_jobs_have_ended() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (end, success) = callbacks(&queues, &batch).await;
    let worker = work(&queues, fast("w", 4), handle);
    for payload in ["a", "b", "die", "refuse"] {
        finished(&queues, &add(&queues, &batch, payload).await).await;
    }
    let late = NewJob {
        batch: Some(batch.clone()),
        delay: Some(LONG),
        ..job(&())
    };
    let late = queues.enqueue(late).await.unwrap().id;
    assert_eq!(state(&queues, &end).await, State::Waiting);
    assert!(queues.close_batch(&batch).await.unwrap());
    assert!(!queues.close_batch(&batch).await.unwrap());
    assert_eq!(state(&queues, &end).await, State::Waiting);
    queues.cancel(&late).await.unwrap();

    let counts = BatchCounts {
        jobs: 5,
        completed: 2,
        refused: 1,
        dead: 1,
        cancelled: 1,
    };
    let input = result(&queues, &end).await;
    assert_eq!(serde_json::from_str::<BatchCounts>(&input).unwrap(), counts);
    assert_eq!(state(&queues, &success).await, State::Cancelled);
    let seen = queues.batch(&batch).await.unwrap().unwrap();
    assert_eq!((seen.counts, seen.counts.pending()), (counts, 0));
    assert!(seen.ended_at.is_some() && seen.succeeded_at.is_none());
    worker.stop().await;
}

#[tokio::test]
async fn success_is_called_back_though_it_takes_an_operators_retry_and_the_end_only_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (end, success) = callbacks(&queues, &batch).await;
    let worker = work(&queues, fast("w", 4), handle);
    add(&queues, &batch, "a").await;
    let dead = add(&queues, &batch, "die once").await;
    queues.close_batch(&batch).await.unwrap();
    finished(&queues, &end).await;
    assert_eq!(
        queues.retry(&success).await.unwrap(),
        Retried::Follows,
        "it comes back by itself"
    );
    let ended_at = queues.batch(&batch).await.unwrap().unwrap().ended_at;

    assert_eq!(queues.retry(&dead).await.unwrap(), Retried::Done);
    let input = until(&queues, &success, |job| job.state == State::Completed).await;
    let counts = input.result::<BatchCounts>().unwrap().unwrap();
    assert_eq!((counts.jobs, counts.completed, counts.dead), (2, 2, 0));
    let seen = queues.batch(&batch).await.unwrap().unwrap();
    assert_eq!(seen.ended_at, ended_at);
    let end = queues.get(&end).await.unwrap().unwrap();
    assert_eq!((end.state, end.attempts), (State::Completed, 1));
    worker.stop().await;
}

#[tokio::test]
async fn a_job_of_a_batch_may_add_others_until_the_batch_has_ended() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (_, success) = callbacks(&queues, &batch).await;
    add(&queues, &batch, "first").await;
    queues.close_batch(&batch).await.unwrap();
    let (adder, of_batch) = (queues.clone(), batch.clone());
    let worker = work(&queues, fast("w", 4), move |running: Running| {
        let (queues, batch) = (adder.clone(), of_batch.clone());
        async move {
            if running.payload::<String>().unwrap() == "first" {
                add(&queues, &batch, "second").await;
            }
            handle(running).await
        }
    });
    let input = result(&queues, &success).await;
    let counts: BatchCounts = serde_json::from_str(&input).unwrap();
    assert_eq!(counts.completed, 2);
    let late = NewJob {
        batch: Some(batch.clone()),
        ..job(&"late")
    };
    match queues.enqueue(late).await {
        Err(QueueError::BatchEnded(ended)) => assert_eq!(ended, batch),
        other => panic!("{other:?}"),
    }
    worker.stop().await;
}

#[tokio::test]
async fn an_empty_batch_has_ended_when_it_is_closed() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (end, success) = callbacks(&queues, &batch).await;
    queues.close_batch(&batch).await.unwrap();
    let worker = work(&queues, fast("w", 2), handle);
    for callback in [end, success] {
        let counts: BatchCounts = serde_json::from_str(&result(&queues, &callback).await).unwrap();
        assert_eq!(counts, BatchCounts::default());
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_batch_that_is_gone_takes_its_callbacks_along() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (end, success) = callbacks(&queues, &batch).await;
    // As when nobody has closed it for too long.
    let (_, member) = batch
        .to_string()
        .split_once('_')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    redis::cmd("UNLINK")
        .arg(format!("sq1:{{q}}:batch:{member}"))
        .exec(&mut valkey.connection())
        .unwrap();
    let worker = work(&queues, fast("w", 2), handle);
    for callback in [end, success] {
        until(&queues, &callback, |job| job.state == State::Cancelled).await;
    }
    assert!(matches!(
        queues.close_batch(&batch).await,
        Err(QueueError::BatchEnded(_))
    ));
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_a_batch_is_refused() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let elsewhere = NewJob::new("other", &()).unwrap();
    let unique = NewJob {
        unique: Some(Unique::by_key("u")),
        ..job(&())
    };
    for (on_end, on_success) in [
        (None, None),
        (Some(elsewhere.clone()), callback("success")),
        (Some(unique), None),
    ] {
        let refused = queues.open_batch(NewBatch { on_end, on_success }).await;
        assert!(
            matches!(refused, Err(QueueError::Invalid { .. })),
            "{refused:?}"
        );
    }
    let batch = open(&queues).await;
    let stray = NewJob {
        batch: Some(batch),
        ..elsewhere
    };
    let refused = queues.enqueue(stray).await;
    assert!(
        matches!(refused, Err(QueueError::Invalid { .. })),
        "{refused:?}"
    );
}

const MEMBERS: usize = 120;

#[tokio::test]
#[ignore = "a process of the test below"]
async fn role_worker() {
    let (_, queues) = queues_of_parent().await;
    let config = WorkerConfig {
        concurrency: 8,
        // They are killed all the time.
        losses: 1_000,
        ..fast("killed", 8)
    };
    let worker = work(&queues, config, async |running: Running| {
        tokio::time::sleep(std::time::Duration::from_millis(40)).await;
        handle(running).await
    });
    worker.running.await.unwrap();
}

#[tokio::test]
async fn while_workers_are_killed_each_callback_is_enqueued_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let batch = open(&queues).await;
    let (end, success) = callbacks(&queues, &batch).await;
    let members: Vec<_> = (0..MEMBERS)
        .map(|_| NewJob {
            batch: Some(batch.clone()),
            max_attempts: None,
            ..job(&"a")
        })
        .collect();
    let members = queues.enqueue_all(&members).await.unwrap();
    queues.close_batch(&batch).await.unwrap();
    let mut kills = 0;
    while queues
        .batch(&batch)
        .await
        .unwrap()
        .unwrap()
        .counts
        .pending()
        > 0
    {
        let process = Process::start(&valkey, "batches::role_worker");
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        process.signal("KILL");
        kills += 1;
        assert!(kills < 300, "it does not end");
    }
    let worker = work(
        &queues,
        WorkerConfig {
            losses: 1_000,
            ..fast("w", 4)
        },
        handle,
    );
    for id in members
        .into_iter()
        .map(|it| it.unwrap().id)
        .chain([end, success])
    {
        finished(&queues, &id).await;
    }
    let counts = queues.batch(&batch).await.unwrap().unwrap().counts;
    assert_eq!(
        (counts.jobs, counts.completed),
        (MEMBERS as u64, MEMBERS as u64)
    );
    let all = JobFilter::new("q", State::Completed);
    assert_eq!(queues.delete_all(&all).await.unwrap(), MEMBERS as u64 + 2);
    worker.stop().await;
}

//! Jobs that run: results, retries, dead letters, progress, checkpoints.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use sluice_queue::{Finished, JobError, NewJob, RESULT_LIMIT, Retried, Running, State};
use sluice_test_support::TestValkey;

use crate::common::*;

#[tokio::test]
async fn a_job_runs_and_its_result_reaches_whoever_waits() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 4), async |running: Running| {
        let n: u32 = running.payload().unwrap();
        Ok(json(&(n * 2)))
    });
    let enqueued = queues.enqueue(job(&21)).await.unwrap();
    assert!(!enqueued.existing);
    assert_eq!(result(&queues, &enqueued.id).await, "42");
    worker.stop().await;
}

#[tokio::test]
async fn waiting_for_a_job_ends_with_the_limit_or_when_there_is_none() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = queues.enqueue(job(&())).await.unwrap().id;
    let waited = queues.wait(&id, Duration::from_millis(50)).await.unwrap();
    assert!(waited.is_none());
    let unknown = "q_01h2xcejqtf2nbrexx3vqjhp41".parse().unwrap();
    let error = queues.wait(&unknown, LONG).await.unwrap_err();
    assert!(matches!(error, sluice_queue::QueueError::NotFound(id) if id == unknown));
}

#[tokio::test]
async fn a_failed_job_is_tried_again_until_it_succeeds() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(
        &queues,
        fast("w", 1),
        async |running: Running| match running.attempt() {
            3 => Ok(json(&"at last")),
            n => Err(JobError::Retry(format!("failure {n}"))),
        },
    );
    let id = queues.enqueue(job(&())).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "\"at last\"");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(job.attempts, 3);
    let errors: Vec<_> = job
        .errors
        .iter()
        .map(|error| (error.attempt, error.message.as_str()))
        .collect();
    assert_eq!(errors, [(1, "failure 1"), (2, "failure 2")]);
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_keeps_failing_becomes_a_dead_letter_and_can_be_retried() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let worker = work(&queues, fast("w", 1), move |_| {
        let call = counter.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if call <= 2 {
                Err(JobError::Retry(format!("failure {call}")))
            } else {
                Ok(json(&call))
            }
        }
    });
    let twice = NewJob {
        max_attempts: Some(2),
        ..job(&())
    };
    let id = queues.enqueue(twice).await.unwrap().id;
    match finished(&queues, &id).await {
        Finished::Dead { message } => assert_eq!(message, "failure 2"),
        other => panic!("{other:?}"),
    }
    let [dead] = &queues.list("q", State::Dead, 0, 10).await.unwrap()[..] else {
        panic!("it is not listed")
    };
    assert_eq!(dead.attempts, 2);

    assert_eq!(queues.retry(&id).await.unwrap(), Retried::Done);
    assert_eq!(result(&queues, &id).await, "3");
    let job = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(job.attempts, 1);
    assert_eq!(job.created_at, dead.created_at);
    assert!(job.run_at > job.created_at, "it joined the line again");
    assert_eq!(
        queues.retry(&id).await.unwrap(),
        Retried::NothingToRetry,
        "it has a result"
    );
    worker.stop().await;
}

#[tokio::test]
async fn fatal_errors_panics_and_oversized_results_are_told_apart() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(
        &queues,
        fast("w", 4),
        async |running: Running| match running.payload::<String>().unwrap().as_str() {
            "fatal" => Err(JobError::Fatal("never".into())),
            "panic" if running.attempt() == 1 => panic!("oops"),
            "panic" => Ok(json(&"recovered")),
            _ => Ok(json(&"x".repeat(RESULT_LIMIT))),
        },
    );
    let mut ids = Vec::new();
    for kind in ["fatal", "panic", "huge"] {
        ids.push(queues.enqueue(job(&kind)).await.unwrap().id);
    }
    let fatal = finished(&queues, &ids[0]).await;
    assert!(matches!(fatal, Finished::Dead { message } if message == "never"));
    assert_eq!(result(&queues, &ids[1]).await, "\"recovered\"");
    let job = queues.get(&ids[1]).await.unwrap().unwrap();
    assert_eq!(job.errors[0].message, "panicked: oops");
    let huge = finished(&queues, &ids[2]).await;
    assert!(matches!(huge, Finished::Dead { message } if message.contains("limit")));
    worker.stop().await;
}

#[tokio::test]
async fn a_refused_job_is_completed_with_its_reason_and_not_tried_again() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(
        &queues,
        fast("w", 1),
        async |running: Running| match running.attempt() {
            1 => Err(JobError::Refuse(json(&"limit_exceeded"))),
            _ => Ok(json(&())),
        },
    );
    let id = queues.enqueue(job(&())).await.unwrap().id;
    match finished(&queues, &id).await {
        Finished::Refused(reason) => assert_eq!(reason.get(), "\"limit_exceeded\""),
        other => panic!("{other:?}"),
    }
    let seen = queues.get(&id).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.attempts), (State::Completed, 1));
    assert_eq!(
        queues.retry(&id).await.unwrap(),
        Retried::Done,
        "an operator may insist"
    );
    worker.stop().await;
}

#[tokio::test]
async fn no_more_jobs_run_at_a_time_than_the_worker_has_places() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut ids = Vec::new();
    for n in 0..40 {
        ids.push(queues.enqueue(job(&n)).await.unwrap().id);
    }
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = most.clone();
    let worker = work(&queues, fast("w", 3), move |_| {
        let (running, most) = (running.clone(), most.clone());
        async move {
            most.fetch_max(running.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            running.fetch_sub(1, Ordering::SeqCst);
            Ok(json(&()))
        }
    });
    let mut most_leased = 0;
    while queues.get(&ids[39]).await.unwrap().unwrap().state != State::Completed {
        most_leased = most_leased.max(queues.queues().await.unwrap()[0].running);
    }
    for id in &ids {
        finished(&queues, id).await;
    }
    assert_eq!(seen.load(Ordering::SeqCst), 3);
    assert!(most_leased <= 3, "{most_leased} were fetched at a time");
    worker.stop().await;
}

#[tokio::test]
async fn whoever_watches_sees_progress_and_the_end() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let id = queues.enqueue(job(&())).await.unwrap().id;
    let watching = tokio::spawn(queues.watch(&id).collect::<Vec<_>>());
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        for n in 0..100 {
            running.progress(&n).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        Ok(json(&"done"))
    });
    let seen: Vec<_> = watching
        .await
        .unwrap()
        .into_iter()
        .map(Result::unwrap)
        .collect();
    assert_eq!(seen.first().unwrap().state, State::Available);
    let last = seen.last().unwrap();
    assert_eq!(last.state, State::Completed);
    assert_eq!(
        last.progress.as_ref().unwrap().get(),
        "99",
        "the last value is kept"
    );
    let progress: Vec<u32> = seen
        .iter()
        .filter_map(|job| job.progress.as_ref())
        .map(|value| value.get().parse().unwrap())
        .collect();
    assert!(progress.is_sorted());
    assert!(
        (3..50).contains(&progress.len()),
        "100 updates within half a second became {}",
        progress.len()
    );
    worker.stop().await;
}

#[tokio::test]
async fn the_last_progress_before_a_long_silence_is_shown_during_it() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        running.progress(&"first").await.unwrap();
        running.progress(&"committing").await.unwrap();
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let id = queues.enqueue(job(&())).await.unwrap().id;
    until(&queues, &id, |job| {
        let progress = job.progress.as_ref().map(|value| value.get());
        job.state == State::Running && progress == Some("\"committing\"")
    })
    .await;
    queues.cancel(&id).await.unwrap();
    worker.stop().await;
}

#[tokio::test]
async fn a_checkpoint_is_there_for_the_next_attempt() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(
        &queues,
        fast("w", 1),
        async |running: Running| match running.checkpoint::<u32>() {
            None => {
                running.save_checkpoint(&7).await.unwrap();
                Err(JobError::Retry("half-way".into()))
            }
            Some(saved) => Ok(json(&saved)),
        },
    );
    let id = queues.enqueue(job(&())).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "7");
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_yields_goes_on_behind_the_others_at_no_cost_of_an_attempt() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let long = NewJob {
        max_attempts: Some(1),
        ..job(&"long")
    };
    let long = queues.enqueue(long).await.unwrap().id;
    let mut others = Vec::new();
    for name in ["a", "b"] {
        others.push(queues.enqueue(job(&name)).await.unwrap().id);
    }
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let ran = order.clone();
    let worker = work(&queues, fast("w", 1), move |running: Running| {
        let ran = ran.clone();
        async move {
            let name: String = running.payload()?;
            ran.lock().unwrap().push(name.clone());
            let step = running.checkpoint::<u32>().unwrap_or(0);
            if name == "long" && step < 2 {
                running.save_checkpoint(&(step + 1)).await?;
                return Err(JobError::Yield);
            }
            Ok(json(&step))
        }
    });
    assert_eq!(result(&queues, &long).await, "2");
    assert_eq!(*order.lock().unwrap(), ["long", "a", "b", "long", "long"]);
    let view = queues.get(&long).await.unwrap().unwrap();
    assert_eq!((view.attempts, view.errors.len()), (1, 0));
    worker.stop().await;
}

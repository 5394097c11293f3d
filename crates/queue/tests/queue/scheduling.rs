//! Delays and times to run at, to the millisecond.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sluice_queue::{
    BatchCounts, Finished, HandlerResult, JobId, JobView, NewBatch, NewJob, QueueError, Queues,
    Retried, Running, State, WorkerConfig,
};
use sluice_test_support::TestValkey;

use crate::common::*;

/// Rounded up to whole milliseconds, as a job must not start before.
fn millis(time: SystemTime) -> u64 {
    let nanos = time.duration_since(UNIX_EPOCH).unwrap().as_nanos();
    nanos.div_ceil(1_000_000).try_into().unwrap()
}

fn at(run_at: SystemTime) -> NewJob {
    NewJob {
        run_at: Some(run_at),
        ..job(&())
    }
}

/// Late enough for what is to be done before it, on a loaded machine too.
fn soon() -> SystemTime {
    SystemTime::now() + Duration::from_secs(2)
}

/// A worker with a poll too slow to have any part in it: it must be woken, and know when jobs are
/// due.
fn woken(name: &str) -> WorkerConfig {
    WorkerConfig {
        poll: LONG * 2,
        ..fast(name, 4)
    }
}

async fn nothing(_: Running) -> HandlerResult {
    Ok(json(&()))
}

async fn view(queues: &Queues, id: &JobId) -> JobView {
    queues.get(id).await.unwrap().unwrap()
}

#[tokio::test]
async fn a_delayed_job_waits_for_its_time() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, woken("w"), nothing);
    let first = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &first).await;
    let delayed = NewJob {
        delay: Some(Duration::from_millis(400)),
        ..job(&())
    };
    let id = queues.enqueue(delayed).await.unwrap().id;
    let job = view(&queues, &id).await;
    assert_eq!(job.state, State::Scheduled);
    assert_eq!(job.run_at, job.created_at + 400);
    assert_eq!(result(&queues, &id).await, "null");
    let job = view(&queues, &id).await;
    assert!(job.started_at.unwrap() >= job.run_at);
    worker.stop().await;
}

#[tokio::test]
async fn a_job_does_not_start_before_its_time_to_run_at() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, woken("w"), nothing);
    let first = queues.enqueue(job(&())).await.unwrap().id;
    finished(&queues, &first).await;
    // A part of a millisecond counts as a whole one.
    let run_at = UNIX_EPOCH + Duration::from_millis(millis(soon())) + Duration::from_nanos(1);
    let id = queues.enqueue(at(run_at)).await.unwrap().id;
    let job = view(&queues, &id).await;
    assert_eq!((job.state, job.run_at), (State::Scheduled, millis(run_at)));
    assert_eq!(result(&queues, &id).await, "null");
    let job = view(&queues, &id).await;
    assert_eq!(job.run_at, millis(run_at));
    assert!(job.started_at.unwrap() >= job.run_at);
    worker.stop().await;
}

#[tokio::test]
async fn jobs_start_in_the_order_of_their_times_to_run_at() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, woken("w"), nothing);
    let later = soon();
    let second = queues.enqueue(at(later)).await.unwrap().id;
    // The worker sleeps until the first time it knows of, and has to learn of an earlier one.
    let earlier = later - Duration::from_secs(1);
    let first = queues.enqueue(at(earlier)).await.unwrap().id;
    for id in [&first, &second] {
        assert_eq!(result(&queues, id).await, "null");
    }
    let (first, second) = (view(&queues, &first).await, view(&queues, &second).await);
    assert_eq!(second.run_at - first.run_at, 1000);
    assert!(first.started_at.unwrap() >= millis(earlier));
    assert!(second.started_at.unwrap() >= millis(later));
    worker.stop().await;
}

#[tokio::test]
async fn a_time_to_run_at_in_the_past_means_at_once_in_the_order_of_enqueueing() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let past = [
        job(&()),
        at(SystemTime::now() - Duration::from_secs(60)),
        at(UNIX_EPOCH),
        at(UNIX_EPOCH - Duration::from_secs(60)),
        job(&()),
    ];
    let ids = queues.enqueue_all(&past).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|it| it.unwrap().id).collect();
    let listed = queues.list("q", State::Available, 0, 10).await.unwrap();
    let waited_since = listed.iter().all(|it| it.run_at == it.created_at);
    assert!(waited_since, "they wait from when they were added");
    // The last one in line is listed first.
    let listed: Vec<_> = listed.into_iter().rev().map(|it| it.id).collect();
    assert_eq!(listed, ids);
    let worker = work(&queues, woken("w"), nothing);
    for id in &ids {
        assert_eq!(result(&queues, id).await, "null");
    }
    worker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_scheduled_is_refused_by_field_and_rule() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let second = Duration::from_secs(1);
    let year_2970 = UNIX_EPOCH + sluice_queue::DELAY_LIMIT;
    let delayed = |delay| NewJob {
        delay: Some(delay),
        ..job(&())
    };
    let both = NewJob {
        run_at: Some(SystemTime::now()),
        ..delayed(second)
    };
    for (refused, field, rule) in [
        (both, "run_at", "must not be set together with delay"),
        (at(year_2970), "run_at", "must be before the year 2970"),
        (
            delayed(Duration::MAX),
            "delay",
            "must be at most 1,000 years",
        ),
    ] {
        let one = queues.enqueue(refused.clone()).await.map(|_| ());
        let many = [job(&()), refused];
        let chain = queues.enqueue_chain(&many).await.map(|_| ());
        let all = queues.enqueue_all(&many).await.map(|_| ());
        for answer in [one, chain, all] {
            match answer {
                Err(QueueError::Invalid { what, rule: broken }) => {
                    assert_eq!((what, broken), (field, rule));
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(queues.queues().await.unwrap().is_empty(), "none was added");

    // The last ones that are allowed are kept exactly.
    let last = queues.enqueue(at(year_2970 - second)).await.unwrap().id;
    assert_eq!(
        view(&queues, &last).await.run_at,
        millis(year_2970 - second)
    );
    let longest = queues.enqueue(delayed(sluice_queue::DELAY_LIMIT)).await;
    let longest = view(&queues, &longest.unwrap().id).await;
    let waits = u128::from(longest.run_at - longest.created_at);
    assert_eq!(waits, sluice_queue::DELAY_LIMIT.as_millis());
}

#[tokio::test]
async fn later_in_a_chain_a_job_waits_for_the_one_before_it_and_for_its_time() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let run_at = soon();
    let past = SystemTime::now() - Duration::from_secs(1);
    let chain = [job(&()), at(run_at), at(past), at(run_at)];
    let ids = queues.enqueue_chain(&chain).await.unwrap().jobs;
    let second = view(&queues, &ids[1]).await;
    assert_eq!(
        (second.state, second.run_at),
        (State::Waiting, millis(run_at))
    );
    let worker = work(&queues, woken("w"), nothing);
    assert_eq!(result(&queues, &ids[0]).await, "null");
    until(&queues, &ids[1], |job| job.state != State::Waiting).await;
    assert_eq!(result(&queues, &ids[3]).await, "null");
    let mut jobs = Vec::new();
    for id in &ids {
        jobs.push(view(&queues, id).await);
    }
    assert_eq!(jobs[1].run_at, millis(run_at));
    assert!(jobs[1].started_at.unwrap() >= jobs[1].run_at);
    // Their times are past when they are let go: that moment counts.
    for pair in jobs[1..].windows(2) {
        assert_eq!(Some(pair[1].run_at), pair[0].finished_at);
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_job_that_was_cancelled_with_its_chain_comes_back_with_its_time() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let run_at = SystemTime::now() + LONG * 10;
    let ids = queues.enqueue_chain(&[job(&()), at(run_at)]).await.unwrap();
    let [first, second] = &ids.jobs[..] else {
        panic!("{ids:?}")
    };
    assert!(queues.cancel(first).await.unwrap());
    assert!(matches!(
        finished(&queues, second).await,
        Finished::Cancelled
    ));
    assert_eq!(queues.retry(first).await.unwrap(), Retried::Done);
    let worker = work(&queues, woken("w"), nothing);
    let back = until(&queues, second, |job| job.state == State::Scheduled).await;
    assert_eq!(back.run_at, millis(run_at));
    worker.stop().await;
}

#[tokio::test]
async fn a_callback_of_a_batch_does_not_start_before_its_time_to_run_at() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let run_at = soon();
    let new = NewBatch {
        on_end: Some(at(run_at)),
        on_success: None,
    };
    let batch = queues.open_batch(new).await.unwrap();
    let member = NewJob {
        batch: Some(batch.clone()),
        ..job(&())
    };
    queues.enqueue(member).await.unwrap();
    queues.close_batch(&batch).await.unwrap();
    let worker = work(&queues, woken("w"), async |running: Running| {
        let counts: Option<BatchCounts> = running.input().unwrap();
        Ok(json(&counts.map(|it| it.completed)))
    });
    let callback = queues.batch(&batch).await.unwrap().unwrap().on_end.unwrap();
    assert_eq!(result(&queues, &callback).await, "1");
    let callback = view(&queues, &callback).await;
    assert_eq!(callback.run_at, millis(run_at));
    assert!(callback.started_at.unwrap() >= callback.run_at);
    worker.stop().await;
}

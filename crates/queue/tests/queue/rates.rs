//! How fast jobs start, over all workers.

use std::time::Duration;

use sluice_queue::{
    JobFilter, JobId, Limits, NewJob, QueueError, Queues, Rate, Rates, State, WorkerConfig,
};
use sluice_test_support::TestValkey;

use crate::common::*;

const WINDOW: Duration = Duration::from_millis(200);
const HOUR: Duration = Duration::from_secs(3600);

fn all(rate: Rate) -> Rates {
    Rates {
        all: Some(rate),
        per_user: None,
    }
}

fn per_user(rate: Rate) -> Rates {
    Rates {
        all: None,
        per_user: Some(rate),
    }
}

async fn enqueue(queues: &Queues, user: &str, count: usize) -> Vec<JobId> {
    let of_user = NewJob {
        user: Some(user.into()),
        ..job(&())
    };
    let answers = queues.enqueue_all(&vec![of_user; count]).await.unwrap();
    answers.into_iter().map(|it| it.unwrap().id).collect()
}

/// Two workers whose polls are too slow to have any part in it: they must know by themselves when
/// to look again.
fn two_workers(queues: &Queues) -> [Worker; 2] {
    ["a", "b"].map(|name| {
        let config = WorkerConfig {
            poll: LONG * 2,
            ..fast(name, 5)
        };
        work(queues, config, async |_| Ok(json(&())))
    })
}

/// When the jobs started by the server's clock, in ms, in order.
async fn starts(queues: &Queues, ids: &[JobId]) -> Vec<u64> {
    let mut starts = Vec::new();
    for id in ids {
        finished(queues, id).await;
        let job = queues.get(id).await.unwrap().unwrap();
        starts.push(job.started_at.unwrap());
    }
    starts.sort_unstable();
    starts
}

async fn evaluations(valkey: &TestValkey) -> u32 {
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut valkey.connection())
        .unwrap();
    let line = stats.lines().find(|it| it.starts_with("cmdstat_fcall:"));
    let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
    calls.parse().unwrap()
}

#[tokio::test]
async fn in_each_fixed_window_no_more_jobs_start_than_the_rate_says() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let rate = Rate::fixed_window(4, WINDOW);
    queues.set_rates("q", all(rate)).await.unwrap();
    assert_eq!(queues.queues().await.unwrap()[0].rate, Some(rate));
    let workers = two_workers(&queues);
    let ids = enqueue(&queues, "u", 18).await;
    let starts = starts(&queues, &ids).await;
    let in_windows = starts.chunk_by(|one, next| one / 200 == next / 200);
    assert!(in_windows.into_iter().all(|it| it.len() <= 4), "{starts:?}");
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn in_any_sliding_window_no_more_jobs_start_than_the_rate_says() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let rates = all(Rate::sliding_window(4, WINDOW));
    queues.set_rates("q", rates).await.unwrap();
    let workers = two_workers(&queues);
    let ids = enqueue(&queues, "u", 18).await;
    let starts = starts(&queues, &ids).await;
    let mut fifths = starts.iter().zip(&starts[4..]);
    assert!(
        fifths.all(|(first, fifth)| fifth - first >= 200),
        "{starts:?}"
    );
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_bucket_lets_its_burst_start_and_then_one_job_for_each_token() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    // A token each 40 ms.
    let rates = all(Rate::token_bucket(5, WINDOW, 3));
    queues.set_rates("q", rates).await.unwrap();
    let workers = two_workers(&queues);
    let ids = enqueue(&queues, "u", 14).await;
    let starts = starts(&queues, &ids).await;
    for from in 0..starts.len() {
        for to in from..starts.len() {
            let (jobs, took) = ((to - from + 1) as u64, starts[to] - starts[from]);
            // To the millisecond, which the clock of the scripts is cut to.
            assert!(jobs <= 3 + (took + 1) / 40, "{starts:?}");
        }
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn what_waits_for_a_rate_costs_nothing_and_goes_on_when_the_rate_is_lifted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    for rates in [
        all(Rate::sliding_window(2, HOUR)),
        per_user(Rate::token_bucket(2, HOUR, 2)),
    ] {
        queues.set_rates("q", rates).await.unwrap();
        let workers = two_workers(&queues);
        let ids = enqueue(&queues, "u", 300).await;
        for id in &ids[..2] {
            finished(&queues, id).await;
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
        let before = evaluations(&valkey).await;
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(evaluations(&valkey).await - before, 0);
        let stats = queues.queues().await.unwrap();
        assert_eq!((stats[0].available, stats[0].running), (298, 0));

        queues.set_rates("q", Rates::default()).await.unwrap();
        for id in &ids {
            finished(&queues, id).await;
        }
        let filter = JobFilter::new("q", State::Completed);
        assert_eq!(queues.delete_all(&filter).await.unwrap(), 300);
        for worker in workers {
            worker.stop().await;
        }
    }
}

#[tokio::test]
async fn under_a_rate_per_user_others_pass_the_one_who_has_used_it_up() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let rates = per_user(Rate::sliding_window(2, HOUR));
    queues.set_rates("q", rates).await.unwrap();
    let mut ids = enqueue(&queues, "ann", 300).await;
    let bobs = enqueue(&queues, "bob", 2).await;
    let nobodys = queues.enqueue(job(&())).await.unwrap().id;
    let workers = two_workers(&queues);
    for id in ids[..2].iter().chain(&bobs).chain([&nobodys]) {
        finished(&queues, id).await;
    }
    let stats = queues.queues().await.unwrap().remove(0);
    assert_eq!((stats.available, stats.completed), (298, 5));
    assert_eq!(stats.user_rate, rates.per_user);

    // What is set aside is listed and can be cancelled.
    let page = queues.list("q", State::Available, 0, 500).await.unwrap();
    assert_eq!(page.len(), 298);
    assert!(queues.cancel(&ids.pop().unwrap()).await.unwrap());
    let waiting = JobFilter::new("q", State::Available);
    assert_eq!(queues.cancel_all(&waiting).await.unwrap(), 297);
    let keys = valkey.keys("sq1:{q}:throttled:*");
    assert_eq!(keys, [""; 0]);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn a_job_added_while_the_rate_holds_its_user_back_waits_until_it_is_lifted() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let rate = Rate::sliding_window(1, HOUR);
    queues.set_rates("q", per_user(rate)).await.unwrap();
    let workers = two_workers(&queues);
    // The user's first one waits for the rate, those behind it for their turn.
    let count_throttled = || -> u32 {
        let count = |set: &str| -> u32 {
            redis::cmd("ZCARD")
                .arg(format!("sq1:{{q}}:{set}"))
                .query(&mut valkey.connection())
                .unwrap()
        };
        count("throttled") + count("crowded")
    };
    let mut ids = enqueue(&queues, "ann", 2).await;
    let begun = std::time::Instant::now();
    while count_throttled() == 0 {
        assert!(begun.elapsed() < LONG, "nobody is held back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ids.extend(enqueue(&queues, "ann", 1).await);
    assert_eq!(count_throttled(), 2);
    queues.set_rates("q", Rates::default()).await.unwrap();
    for id in &ids {
        assert_eq!(result(&queues, id).await, "null");
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn under_a_rate_and_a_limit_per_user_both_hold_and_all_jobs_end() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let limits = Limits {
        all: None,
        per_user: Some(1),
    };
    queues.set_limits("q", limits).await.unwrap();
    let rates = per_user(Rate::sliding_window(4, WINDOW));
    queues.set_rates("q", rates).await.unwrap();
    let workers = two_workers(&queues);
    let (ann, bob) = (
        enqueue(&queues, "ann", 14).await,
        enqueue(&queues, "bob", 14).await,
    );
    for ids in [ann, bob] {
        let starts = starts(&queues, &ids).await;
        let mut fifths = starts.iter().zip(&starts[4..]);
        assert!(
            fifths.all(|(first, fifth)| fifth - first >= 200),
            "{starts:?}"
        );
    }
    for worker in workers {
        worker.stop().await;
    }
    let keys = valkey.keys("sq1:{q}:[pt]*");
    assert_eq!(keys, [""; 0]);
}

#[tokio::test]
async fn a_rate_out_of_bounds_is_refused_with_its_rule() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let none = all(Rate::fixed_window(0, HOUR));
    match queues.set_rates("q", none).await {
        Err(error @ QueueError::Invalid { .. }) => {
            assert_eq!(error.to_string(), "rate.starts must be from 1 to 1000000");
        }
        other => panic!("{other:?}"),
    }
}

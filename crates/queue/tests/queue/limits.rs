//! How many jobs of a queue and of a user run at a time, over all workers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_queue::{
    HandlerResult, JobError, JobFilter, JobId, Limits, NewJob, Queues, Running, State, WorkerConfig,
};
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::*;

const ALL_OF_TWO: Limits = Limits {
    all: Some(2),
    per_user: None,
};

const TWO_PER_USER: Limits = Limits {
    all: None,
    per_user: Some(2),
};

/// Who runs now, the most that ran at once, and who started, in order.
#[derive(Default)]
struct Log {
    now: HashMap<String, usize>,
    most: HashMap<String, usize>,
    most_together: usize,
    started: Vec<String>,
}

type Shared = Arc<Mutex<Log>>;

async fn logged(log: Shared, running: Running) -> HandlerResult {
    let user = running.user().unwrap_or("-").to_owned();
    {
        let mut log = log.lock().unwrap();
        log.started.push(user.clone());
        let now = log.now.entry(user.clone()).or_default();
        *now += 1;
        let now = *now;
        let most = log.most.entry(user.clone()).or_default();
        *most = now.max(*most);
        log.most_together = log.most_together.max(log.now.values().sum());
    }
    sleep(Duration::from_millis(10)).await;
    *log.lock().unwrap().now.get_mut(&user).unwrap() -= 1;
    match running.attempt() {
        1 if running.payload::<u32>().unwrap() % 5 == 4 => Err(JobError::Retry("once".into())),
        _ => Ok(json(&())),
    }
}

async fn enqueue(queues: &Queues, user: &str, count: u32) -> Vec<JobId> {
    let by_user = |n| NewJob {
        user: Some(user.into()),
        ..job(&n)
    };
    let jobs: Vec<_> = (0..count).map(by_user).collect();
    let answers = queues.enqueue_all(&jobs).await.unwrap();
    answers.into_iter().map(|it| it.unwrap().id).collect()
}

#[tokio::test]
async fn no_more_jobs_of_a_queue_run_than_its_limit_says() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.set_limits("q", ALL_OF_TWO).await.unwrap();
    assert_eq!(queues.queues().await.unwrap()[0].limit, Some(2));
    let log = Shared::default();
    // Polls too slow to have any part in it: a job that ends must wake the workers.
    let workers = ["a", "b"].map(|name| {
        let log = log.clone();
        let config = WorkerConfig {
            poll: LONG * 2,
            ..fast(name, 5)
        };
        work(&queues, config, move |running| logged(log.clone(), running))
    });
    for id in enqueue(&queues, "u", 40).await {
        finished(&queues, &id).await;
    }
    assert_eq!(log.lock().unwrap().most_together, 2);
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn no_more_jobs_of_a_user_run_than_the_limit_says_and_all_of_them_end() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.set_limits("q", TWO_PER_USER).await.unwrap();
    let mut ids = Vec::new();
    for user in ["a", "b", "c"] {
        ids.extend(enqueue(&queues, user, 130).await);
    }
    ids.push(queues.enqueue(job(&0)).await.unwrap().id);
    let log = Shared::default();
    let workers = ["w1", "w2"].map(|name| {
        let log = log.clone();
        work(&queues, fast(name, 5), move |running| {
            logged(log.clone(), running)
        })
    });
    for id in &ids {
        assert_eq!(result(&queues, id).await, "null");
    }
    for worker in workers {
        worker.stop().await;
    }
    for user in ["a", "b", "c"] {
        assert_eq!(log.lock().unwrap().most[user], 2, "{user}");
    }
    let keys = valkey.keys("sq1:{q}:*");
    let left: Vec<_> = keys
        .iter()
        .filter(|key| key.contains("crowded") || key.contains("places"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn users_take_turns_however_many_jobs_one_of_them_has() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let one = Limits {
        all: None,
        per_user: Some(1),
    };
    queues.set_limits("q", one).await.unwrap();
    let mut ids = enqueue(&queues, "greedy", 60).await;
    ids.extend(enqueue(&queues, "modest", 4).await);
    ids.extend(enqueue(&queues, "other", 4).await);
    let log = Shared::default();
    let shared = log.clone();
    let worker = work(&queues, fast("w", 1), move |running| {
        logged(shared.clone(), running)
    });
    for id in &ids {
        finished(&queues, id).await;
    }
    worker.stop().await;
    let log = log.lock().unwrap();
    for user in ["modest", "other"] {
        let last = log.started.iter().rposition(|it| it == user).unwrap();
        assert!(last < 20, "{user} waited: {:?}", log.started);
    }
}

#[tokio::test]
async fn jobs_that_wait_for_others_of_their_user_are_listed_and_cancelled() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.set_limits("q", TWO_PER_USER).await.unwrap();
    let worker = work(&queues, fast("w", 9), async |running: Running| {
        running.cancelled().cancelled().await;
        Err(JobError::Cancelled)
    });
    let ids = enqueue(&queues, "u", 5).await;
    for id in &ids[..2] {
        until(&queues, id, |job| job.state == State::Running).await;
    }
    let page = queues.list("q", State::Available, 0, 10).await.unwrap();
    assert_eq!(page.len(), 3);
    assert!(queues.cancel(&ids[2]).await.unwrap());
    // The next one moves up.
    assert!(queues.cancel(&ids[0]).await.unwrap());
    until(&queues, &ids[3], |job| job.state == State::Running).await;
    for state in [State::Available, State::Running] {
        let filter = JobFilter::new("q", state);
        queues.cancel_all(&filter).await.unwrap();
    }
    for id in &ids {
        until(&queues, id, |job| job.state == State::Cancelled).await;
    }
    worker.stop().await;
}

#[tokio::test]
async fn without_its_limit_a_queue_runs_what_waited() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.set_limits("q", TWO_PER_USER).await.unwrap();
    let log = Shared::default();
    let shared = log.clone();
    let worker = work(&queues, fast("w", 8), move |running| {
        logged(shared.clone(), running)
    });
    let ids = enqueue(&queues, "u", 300).await;
    finished(&queues, &ids[10]).await;
    queues.set_limits("q", Limits::default()).await.unwrap();
    for id in &ids {
        finished(&queues, id).await;
    }
    assert!(log.lock().unwrap().most["u"] > 2);
    worker.stop().await;
}

#[tokio::test]
async fn the_place_of_a_job_that_was_deleted_from_outside_is_given_to_the_next() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    queues.set_limits("q", TWO_PER_USER).await.unwrap();
    redis::cmd("SADD")
        .arg("sq1:{q}:places:u")
        .arg("01h2xcejqtf2nbrexx3vqjhp41")
        .arg("01h2xcejqtf2nbrexx3vqjhp42")
        .exec(&mut valkey.connection())
        .unwrap();
    let worker = work(&queues, fast("w", 8), async |_| Ok(json(&())));
    for id in enqueue(&queues, "u", 4).await {
        assert_eq!(result(&queues, &id).await, "null");
    }
    worker.stop().await;
}

#[tokio::test]
async fn without_any_limit_users_take_turns_and_batch_work_stands_behind_them() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let of = |user: &str, priority| NewJob {
        user: Some(user.to_owned()),
        priority,
        ..job(&user)
    };
    for user in 0..20 {
        queues
            .enqueue(of(&format!("swept{user}"), 9))
            .await
            .unwrap();
    }
    let mut many = Vec::new();
    for _ in 0..50 {
        many.push(queues.enqueue(of("many", 5)).await.unwrap().id);
    }
    let one = queues.enqueue(of("one", 5)).await.unwrap().id;
    let order = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = order.clone();
    let worker = work(
        &queues,
        fast("w", 1),
        move |running: sluice_queue::Running| {
            let seen = seen.clone();
            async move {
                seen.lock()
                    .unwrap()
                    .push(running.user().unwrap().to_owned());
                Ok(json(&()))
            }
        },
    );
    finished(&queues, &one).await;
    let ahead = order
        .lock()
        .unwrap()
        .iter()
        .position(|user| user == "one")
        .unwrap();
    assert!(ahead <= 1, "{ahead} jobs of another user were ahead");
    for id in &many {
        finished(&queues, id).await;
    }
    let swept = |user: &String| user.starts_with("swept");
    assert!(!order.lock().unwrap()[..51].iter().any(swept));
    worker.stop().await;
}

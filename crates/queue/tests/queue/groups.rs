//! At most one job of a group runs at a time, in the order of enqueueing.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_queue::{JobError, JobId, NewJob, Queues, Running, State};
use sluice_test_support::TestValkey;

use crate::common::*;

fn of_group(group: &str, payload: &str) -> NewJob {
    NewJob {
        group: Some(group.into()),
        ..job(&payload)
    }
}

async fn enqueue(queues: &Queues, group: &str, payload: &str) -> JobId {
    queues.enqueue(of_group(group, payload)).await.unwrap().id
}

/// No trace of groups is left when all jobs have ended.
fn assert_nothing_held(valkey: &TestValkey) {
    let keys = valkey.keys("sq1:{q}:*");
    let left: Vec<_> = keys
        .iter()
        .filter(|key| key.contains(":group:") || key.ends_with(":held"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn groups_run_one_at_a_time_in_order_and_side_by_side() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut ids = Vec::new();
    for n in 0..10 {
        for group in ["a", "b", "c"] {
            ids.push(enqueue(&queues, group, &format!("{group}{n}")).await);
        }
    }
    type Log = HashMap<char, (Option<String>, Vec<String>)>;
    let log = Arc::new(Mutex::new(Log::new()));
    let seen = log.clone();
    let workers = ["w1", "w2"].map(|name| {
        let log = log.clone();
        work(&queues, fast(name, 5), move |running: Running| {
            let log = log.clone();
            async move {
                let name: String = running.payload().unwrap();
                let group = name.chars().next().unwrap();
                let before = log
                    .lock()
                    .unwrap()
                    .entry(group)
                    .or_default()
                    .0
                    .replace(name.clone());
                assert_eq!(before, None, "two of one group run");
                tokio::time::sleep(Duration::from_millis(5)).await;
                let mut log = log.lock().unwrap();
                let entry = log.get_mut(&group).unwrap();
                entry.0 = None;
                entry.1.push(name);
                Ok(json(&()))
            }
        })
    });
    for id in &ids {
        assert_eq!(result(&queues, id).await, "null");
        assert!(queues.get(id).await.unwrap().unwrap().errors.is_empty());
    }
    for (group, (_, order)) in seen.lock().unwrap().iter() {
        let expected: Vec<_> = (0..10).map(|n| format!("{group}{n}")).collect();
        assert_eq!(*order, expected);
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_nothing_held(&valkey);
}

#[tokio::test]
async fn a_retried_job_keeps_its_place_and_a_dead_one_gives_it_up() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let flaky = enqueue(&queues, "g", "flaky").await;
    let poison = NewJob {
        max_attempts: Some(2),
        ..of_group("g", "poison")
    };
    let poison = queues.enqueue(poison).await.unwrap().id;
    let last = enqueue(&queues, "g", "last").await;
    let worker = work(&queues, fast("w", 5), move |running: Running| {
        let name: String = running.payload().unwrap();
        order.lock().unwrap().push(name.clone());
        async move {
            match (name.as_str(), running.attempt()) {
                ("flaky", 1) | ("poison", _) => Err(JobError::Retry("no".into())),
                _ => Ok(json(&())),
            }
        }
    });
    finished(&queues, &last).await;
    worker.stop().await;
    let expected = ["flaky", "flaky", "poison", "poison", "last"];
    assert_eq!(*seen.lock().unwrap(), expected);
    for (id, state) in [(flaky, State::Completed), (poison, State::Dead)] {
        assert_eq!(queues.get(&id).await.unwrap().unwrap().state, state);
    }
    assert_nothing_held(&valkey);
}

#[tokio::test]
async fn cancelling_any_of_a_group_lets_the_others_run() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let first = enqueue(&queues, "g", "1").await;
    let held = enqueue(&queues, "g", "2").await;
    let last = enqueue(&queues, "g", "3").await;
    let listed = queues.list("q", State::Available, 0, 10).await.unwrap();
    let listed: Vec<_> = listed.into_iter().map(|job| job.id).collect();
    assert_eq!(listed, [last.clone(), held.clone(), first.clone()]);
    assert!(queues.cancel(&held).await.unwrap());
    assert!(queues.cancel(&first).await.unwrap());
    let worker = work(&queues, fast("w", 5), async |_| Ok(json(&())));
    assert_eq!(result(&queues, &last).await, "null");
    worker.stop().await;
    assert_nothing_held(&valkey);
}

#[tokio::test]
async fn a_delayed_job_does_not_hold_up_its_group() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let delayed = NewJob {
        delay: Some(LONG),
        ..of_group("g", "later")
    };
    let delayed = queues.enqueue(delayed).await.unwrap().id;
    let now = enqueue(&queues, "g", "now").await;
    let worker = work(&queues, fast("w", 5), async |_| Ok(json(&())));
    assert_eq!(result(&queues, &now).await, "null");
    let delayed = queues.get(&delayed).await.unwrap().unwrap();
    assert_eq!(delayed.state, State::Scheduled);
    worker.stop().await;
}

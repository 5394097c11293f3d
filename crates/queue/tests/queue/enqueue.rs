//! Adding jobs: one or many, in which order, within which limits.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sluice_queue::{
    Finished, JobFilter, NewJob, PAYLOAD_LIMIT, QueueConfig, QueueError, Running, State, Unique,
};
use sluice_test_support::TestValkey;

use crate::common::*;

fn unique(key: &str) -> NewJob {
    NewJob {
        unique: Some(Unique::by_key(key)),
        ..job(&())
    }
}

#[tokio::test]
async fn the_limit_of_payloads_is_a_setting() {
    let valkey = TestValkey::start();
    let config = QueueConfig {
        payload_limit: 3 * PAYLOAD_LIMIT,
        ..QueueConfig::default()
    };
    let queues = crate::common::queues_with(&valkey, config).await;
    let payload = "x".repeat(3 * PAYLOAD_LIMIT - 2);
    let id = queues.enqueue(job(&payload)).await.unwrap().id;
    work(&queues, fast("w", 1), async |running: Running| {
        let payload: String = running.payload().unwrap();
        Ok(json(&payload.len()))
    });
    let finished = queues.wait(&id, LONG).await.unwrap().unwrap();
    assert!(matches!(finished, Finished::Completed(it) if it.get() == payload.len().to_string()));
    let refused = queues.enqueue(job(&(payload + "x"))).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { .. })));
}

#[tokio::test]
async fn what_a_queue_does_not_keep_is_refused_with_its_size() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let fits = "x".repeat(PAYLOAD_LIMIT - 2);
    queues.enqueue(job(&fits)).await.unwrap();
    match queues.enqueue(job(&(fits + "x"))).await {
        Err(QueueError::TooLarge { what, bytes, limit }) => {
            assert_eq!(
                (what, bytes, limit),
                ("payload", PAYLOAD_LIMIT + 1, PAYLOAD_LIMIT)
            );
        }
        other => panic!("{other:?}"),
    }
    for name in ["", "Sync", "a{b}", "a_b", "a:b"] {
        let refused = queues.enqueue(NewJob::new(name, &()).unwrap()).await;
        assert!(
            matches!(refused, Err(QueueError::InvalidQueue(_))),
            "{name}"
        );
    }
}

#[tokio::test]
async fn jobs_run_by_priority_then_in_the_order_of_enqueueing() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut last = None;
    for (n, priority) in [(3, 5), (4, 5), (6, 9), (1, 0), (5, 5), (2, 0)] {
        let next = NewJob {
            priority,
            ..job(&n)
        };
        let id = queues.enqueue(next).await.unwrap().id;
        if n == 6 {
            last = Some(id);
        }
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let worker = work(&queues, fast("w", 1), move |running: Running| {
        seen.lock().unwrap().push(running.payload::<u32>().unwrap());
        async { Ok(json(&())) }
    });
    finished(&queues, &last.unwrap()).await;
    worker.stop().await;
    assert_eq!(*order.lock().unwrap(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn every_key_of_a_queue_lies_in_its_slot() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    for n in 0..3 {
        let next = NewJob {
            unique: Some(Unique::by_key(format!("u{n}"))),
            group: Some("g".into()),
            delay: (n == 2).then_some(LONG),
            ..idempotent(&format!("k{n}"), "f")
        };
        let id = queues.enqueue(next).await.unwrap().id;
        if n < 2 {
            finished(&queues, &id).await;
        }
    }
    worker.stop().await;
    let keys = valkey.keys("*");
    assert!(keys.len() > 8, "{keys:?}");
    for key in keys {
        assert!(key.starts_with("sq1:{q}:") || key == "sq1:queues", "{key}");
    }
}

#[tokio::test]
async fn scripts_survive_being_flushed() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    for _ in 0..3 {
        let id = queues.enqueue(job(&())).await.unwrap().id;
        finished(&queues, &id).await;
        redis::cmd("SCRIPT")
            .arg("FLUSH")
            .exec(&mut valkey.connection())
            .unwrap();
    }
    worker.stop().await;
}

#[tokio::test]
async fn many_jobs_are_added_at_once_in_their_order_and_each_gets_its_answer() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut jobs: Vec<_> = (0..450).map(|n| job(&n)).collect();
    jobs.push(unique("u"));
    jobs.push(unique("u"));
    jobs.push(idempotent("k", "f"));
    jobs.push(idempotent("k", "g"));
    jobs.push(NewJob::new("other", &()).unwrap());
    let answers = queues.enqueue_all(&jobs).await.unwrap();
    assert_eq!(answers.len(), jobs.len());

    let id = |n: usize| answers[n].as_ref().unwrap().id.clone();
    let ids: HashSet<_> = (0..450).map(id).collect();
    assert_eq!(ids.len(), 450);
    assert!(answers[451].as_ref().unwrap().existing);
    assert_eq!(id(451), id(450));
    assert!(matches!(
        &answers[453],
        Err(QueueError::IdempotencyKeyReused { first }) if *first == id(452)
    ));
    assert_eq!(id(454).queue(), "other");

    let order = Arc::new(Mutex::new(Vec::new()));
    let seen = order.clone();
    let worker = work(&queues, fast("w", 1), move |running: Running| {
        seen.lock().unwrap().push(running.id().clone());
        async { Ok(json(&())) }
    });
    finished(&queues, &id(452)).await;
    worker.stop().await;
    let expected: Vec<_> = (0..=452).filter(|&n| n != 451).map(id).collect();
    assert_eq!(*order.lock().unwrap(), expected);
}

#[tokio::test]
async fn of_many_jobs_with_a_bad_one_none_is_added() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let too_large = job(&"x".repeat(PAYLOAD_LIMIT));
    let refused = queues.enqueue_all(&[job(&1), too_large]).await;
    assert!(matches!(refused, Err(QueueError::TooLarge { .. })));
    assert!(queues.queues().await.unwrap().is_empty());
    assert!(queues.enqueue_all(&[]).await.unwrap().is_empty());
}

#[tokio::test]
async fn many_large_jobs_are_added_at_once() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let large = job(&"x".repeat(PAYLOAD_LIMIT - 2));
    let answers = queues.enqueue_all(&vec![large; 40]).await.unwrap();
    assert!(
        answers
            .iter()
            .all(|answer| !answer.as_ref().unwrap().existing)
    );
    assert_eq!(queues.queues().await.unwrap()[0].available, 40);
}

#[tokio::test]
async fn a_server_in_cluster_mode_takes_every_script() {
    let valkey = TestValkey::start_with(&["--cluster-enabled", "yes"]);
    redis::cmd("CLUSTER")
        .arg("ADDSLOTSRANGE")
        .arg(0)
        .arg(16383)
        .exec(&mut valkey.connection())
        .unwrap();
    let begun = std::time::Instant::now();
    loop {
        let info: String = redis::cmd("CLUSTER")
            .arg("INFO")
            .query(&mut valkey.connection())
            .unwrap();
        if info.contains("cluster_state:ok") {
            break;
        }
        assert!(begun.elapsed() < LONG, "{info}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let queues = queues(&valkey).await;
    let worker = work(&queues, fast("w", 1), async |running: Running| {
        running.progress(&1).await.unwrap();
        // A heartbeat passes.
        tokio::time::sleep(Duration::from_millis(500)).await;
        Ok(json(&()))
    });
    let id = queues.enqueue(unique("u")).await.unwrap().id;
    assert_eq!(result(&queues, &id).await, "null");
    queues.pause("q").await.unwrap();
    let id = queues.enqueue(unique("u")).await.unwrap().id;
    assert!(queues.cancel(&id).await.unwrap());
    let filter = JobFilter::new("q", State::Cancelled);
    assert_eq!(queues.delete_all(&filter).await.unwrap(), 1);
    assert_eq!(queues.queues().await.unwrap()[0].completed, 1);
    worker.stop().await;
}

#[tokio::test]
async fn jobs_of_mixed_queues_are_added_with_one_script_for_each_queue() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let names = ["a", "b", "c"];
    let jobs: Vec<_> = (0..150)
        .map(|n| NewJob::new(names[n % 3], &n).unwrap())
        .collect();
    // The queues are known and the script is loaded when the scripts are counted.
    queues.enqueue_all(&jobs).await.unwrap();
    let calls = || {
        let stats: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut valkey.connection())
            .unwrap();
        let line = stats.lines().find(|it| it.starts_with("cmdstat_fcall:"));
        let calls = line.unwrap().split(['=', ',']).nth(1).unwrap();
        calls.parse::<u32>().unwrap()
    };
    let before = calls();
    let answers = queues.enqueue_all(&jobs).await.unwrap();
    assert_eq!(calls() - before, 3);
    for (n, answer) in answers.into_iter().enumerate() {
        let job = queues.get(&answer.unwrap().id).await.unwrap().unwrap();
        assert_eq!(
            (job.queue.as_str(), job.payload.get()),
            (names[n % 3], n.to_string().as_str())
        );
    }
}

#[tokio::test]
async fn a_label_is_handed_out_with_its_job_and_not_shown() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let job = NewJob {
        label: Some("mine".to_owned()),
        ..job(&())
    };
    let id = queues.enqueue(job).await.unwrap().id;
    let view = queues.get(&id).await.unwrap().unwrap();
    assert_eq!(view.label.as_deref(), Some("mine"));
    assert!(!serde_json::to_string(&view).unwrap().contains("mine"));
}

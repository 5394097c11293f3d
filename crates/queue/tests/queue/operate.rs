//! What operators see: counts, lists, retention, what an idle worker costs.

use std::time::Duration;

use sluice_queue::{Idempotency, Keep, NewJob, QueueConfig, Queues, Retention, State};
use sluice_test_support::TestValkey;

use crate::common::*;

#[tokio::test]
async fn lists_are_paged_newest_first_and_counts_agree() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let mut ids = Vec::new();
    for n in 0..25 {
        ids.push(queues.enqueue(job(&n)).await.unwrap().id);
    }
    queues.cancel(&ids[3]).await.unwrap();
    let cancelled = ids.remove(3);
    ids.reverse();
    let mut seen = Vec::new();
    for offset in (0..30).step_by(10) {
        let page = queues
            .list("q", State::Available, offset, 10)
            .await
            .unwrap();
        seen.extend(page.into_iter().map(|job| job.id));
    }
    assert_eq!(seen, ids);
    let listed = queues.list("q", State::Cancelled, 0, 10).await.unwrap();
    assert_eq!(listed[0].id, cancelled);
    let stats = queues.queues().await.unwrap().remove(0);
    assert_eq!(stats.name, "q");
    assert_eq!((stats.available, stats.cancelled, stats.dead), (24, 1, 0));
    assert!(stats.oldest_waiting_ms.is_some());
}

#[tokio::test]
async fn live_workers_are_counted_and_gone_ones_are_not() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let workers =
        ["same", "same"].map(|name| work(&queues, fast(name, 1), async |_| Ok(json(&()))));
    let begun = std::time::Instant::now();
    while queues.queues().await.unwrap().first().map(|it| it.workers) != Some(2) {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for worker in workers {
        worker.stop().await;
    }
}

async fn complete(queues: &Queues, count: usize) {
    for n in 0..count {
        let id = queues.enqueue(job(&n)).await.unwrap().id;
        finished(queues, &id).await;
    }
}

fn job_keys(valkey: &TestValkey) -> usize {
    valkey.keys("sq1:{q}:job:*").len()
}

fn keep(count: u64, age: Duration) -> QueueConfig {
    QueueConfig {
        retention: Retention {
            completed: Keep { count, age },
            ..Retention::default()
        },
        ..QueueConfig::default()
    }
}

#[tokio::test]
async fn finished_jobs_beyond_the_count_are_forgotten_the_oldest_first() {
    let valkey = TestValkey::start();
    let queues = queues_with(&valkey, keep(5, LONG)).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    let idempotent = NewJob {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: "f".into(),
        }),
        ..job(&())
    };
    let promised = queues.enqueue(idempotent.clone()).await.unwrap().id;
    finished(&queues, &promised).await;
    complete(&queues, 20).await;
    let listed = queues.list("q", State::Completed, 0, 100).await.unwrap();
    assert_eq!(listed.len(), 5);
    assert_eq!(listed[0].payload.get(), "19");
    assert_eq!(
        job_keys(&valkey),
        6,
        "and the one that an idempotency key leads to"
    );
    assert_eq!(queues.enqueue(idempotent).await.unwrap().id, promised);
    assert_eq!(result(&queues, &promised).await, "null");
    worker.stop().await;
}

#[tokio::test]
async fn finished_jobs_beyond_their_age_are_forgotten_without_anything_else_happening() {
    let valkey = TestValkey::start();
    let queues = queues_with(&valkey, keep(100, Duration::from_millis(300))).await;
    let worker = work(&queues, fast("w", 1), async |_| Ok(json(&())));
    complete(&queues, 5).await;
    let begun = std::time::Instant::now();
    while job_keys(&valkey) > 0 {
        assert!(begun.elapsed() < LONG);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    worker.stop().await;
}

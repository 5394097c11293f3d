//! Queues on a Valkey Cluster: each lies in one slot, they lie at different nodes.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use sluice_queue::{Finished, NewJob, QueueConfig, Queues, Running, State};
use sluice_test_support::TestCluster;
use tokio::time::sleep;

use crate::common::*;

const QUEUES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

fn key(queue: &str) -> String {
    format!("sq1:{{{queue}}}:meta")
}

async fn queues(cluster: &TestCluster) -> Queues {
    connect(&cluster.url(), QueueConfig::default()).await
}

/// Adds so many jobs, also while the cluster is rearranging itself.
async fn add(queues: &Queues, queue: &str, count: usize) -> Vec<sluice_queue::JobId> {
    let mut ids = Vec::new();
    while ids.len() < count {
        match queues
            .enqueue(NewJob::new(queue, &ids.len()).unwrap())
            .await
        {
            Ok(added) => ids.push(added.id),
            Err(_) => sleep(Duration::from_millis(100)).await,
        }
    }
    ids
}

#[tokio::test]
async fn queues_at_different_nodes_add_run_show_and_tell() {
    let cluster = TestCluster::start();
    let owners: HashSet<usize> = QUEUES
        .iter()
        .map(|queue| cluster.owner(&key(queue)))
        .collect();
    assert!(owners.len() > 1, "all queues are at one node");
    let (adding, working) = (queues(&cluster).await, queues(&cluster).await);
    let jobs: Vec<_> = QUEUES
        .iter()
        .flat_map(|queue| (0..20).map(|n| NewJob::new(*queue, &n).unwrap()))
        .collect();
    let ids: Vec<_> = adding.enqueue_all(&jobs).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|answer| answer.unwrap().id).collect();
    for queue in QUEUES {
        let listed = adding.list(queue, State::Available, 0, 100).await.unwrap();
        assert_eq!(listed.len(), 20);
    }

    let workers = QUEUES.map(|queue| {
        work_on(&working, queue, fast("w", 5), async |running: Running| {
            running.progress(&"begun").await.unwrap();
            Ok(json(&running.payload::<u32>().unwrap()))
        })
    });
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(result(&adding, id).await, (n % 20).to_string());
    }
    let stats = adding.queues().await.unwrap();
    let completed: Vec<_> = stats
        .iter()
        .map(|it| (it.name.as_str(), it.completed))
        .collect();
    assert_eq!(completed, QUEUES.map(|queue| (queue, 20)));

    // A job that runs is cancelled through an event, wherever its queue is.
    for queue in QUEUES {
        let name = format!("slow-{queue}");
        let worker = work_on(&working, &name, fast("w", 1), async |running: Running| {
            running.cancelled().cancelled().await;
            Err(sluice_queue::JobError::Cancelled)
        });
        let id = add(&adding, &name, 1).await.remove(0);
        let mut states = Box::pin(adding.watch(&id));
        while let Some(job) = states.next().await {
            let job = job.unwrap();
            if job.state == State::Running && !job.cancel_requested {
                assert!(adding.cancel(&id).await.unwrap());
            }
        }
        assert!(matches!(finished(&adding, &id).await, Finished::Cancelled));
        worker.stop().await;
    }
    for worker in workers {
        worker.stop().await;
    }
}

#[tokio::test]
async fn jobs_go_on_at_another_node_when_their_slot_moves_there() {
    let cluster = TestCluster::start();
    let queues = queues(&cluster).await;
    let worker = work(&queues, fast("w", 4), async |running: Running| {
        sleep(Duration::from_millis(5)).await;
        Ok(json(&running.attempt()))
    });
    let mut ids = add(&queues, "q", 300).await;
    for _ in 0..2 {
        let to = (cluster.owner(&key("q")) + 1) % 3;
        cluster.move_slot(&key("q"), to);
        assert_eq!(cluster.owner(&key("q")), to);
        ids.extend(add(&queues, "q", 50).await);
    }
    for id in &ids {
        let end = finished(&queues, id).await;
        assert!(
            matches!(end, Finished::Completed(_)),
            "{id} ended as {end:?}"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn jobs_go_on_when_a_replica_takes_over_from_a_killed_primary() {
    let mut cluster = TestCluster::start_with_replicas(&[]);
    let queues = queues(&cluster).await;
    let worker = work(&queues, fast("w", 4), async |running: Running| {
        sleep(Duration::from_millis(20)).await;
        Ok(json(&running.attempt()))
    });
    let mut ids = add(&queues, "q", 300).await;
    let primary = cluster.owner(&key("q"));
    cluster.replicate(primary);
    cluster.kill(primary);
    ids.extend(add(&queues, "q", 50).await);
    assert_ne!(cluster.owner(&key("q")), primary);
    for id in &ids {
        let end = queues.wait(id, 2 * LONG).await.unwrap();
        assert!(
            matches!(end, Some(Finished::Completed(_))),
            "{id} ended as {end:?}"
        );
    }
    worker.stop().await;
}

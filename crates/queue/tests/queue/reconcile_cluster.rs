//! Damage is mended on a cluster too: at each node, and while a slot moves. There a script sees the
//! keys of one node only.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use redis::Connection;
use sluice_queue::{HandlerResult, JobId, Limits, NewJob, QueueConfig, Queues, Running, State};
use sluice_test_support::TestCluster;
use tokio::time::{Instant, sleep};

use crate::common::damage::{damage, lose_job, lose_lease, member};
use crate::common::*;

const PRIMARIES: usize = 3;

fn key(queue: &str) -> String {
    format!("sq1:{{{queue}}}:meta")
}

async fn queues(cluster: &TestCluster) -> Queues {
    connect(&cluster.url(), QueueConfig::default()).await
}

/// A queue at each primary.
fn queue_of_each_primary(cluster: &TestCluster) -> BTreeMap<usize, String> {
    let mut queues = BTreeMap::new();
    for number in 0.. {
        let queue = format!("q{number}");
        queues.entry(cluster.owner(&key(&queue))).or_insert(queue);
        if queues.len() == PRIMARIES {
            break;
        }
    }
    queues
}

async fn attempt(running: Running) -> HandlerResult {
    Ok(json(&running.attempt()))
}

/// What was done to a queue, and what shall become of its jobs.
#[derive(Default)]
struct Damaged {
    /// They run, and succeed in this attempt.
    runs: Vec<(JobId, u32)>,
    /// They are gone.
    lost: Vec<JobId>,
    /// It has its time to run at.
    scheduled: Option<JobId>,
}

/// Adds jobs of every kind, and deletes for each kind what it stands on.
async fn do_damage(queues: &Queues, queue: &str, node: &mut Connection) -> Damaged {
    let one_each = Limits {
        all: None,
        per_user: Some(1),
    };
    queues.set_limits(queue, one_each).await.unwrap();
    let job = NewJob::new(queue, &()).unwrap();
    let of_group = NewJob {
        group: Some("g".into()),
        ..job.clone()
    };
    let of_user = NewJob {
        user: Some("u".into()),
        ..job.clone()
    };
    let later = NewJob {
        run_at: Some(SystemTime::now() + 10 * LONG),
        ..job.clone()
    };
    let mut jobs = vec![job.clone(), job.clone(), job];
    jobs.extend([of_group.clone(), of_group.clone(), of_group]);
    jobs.extend([of_user.clone(), of_user.clone(), of_user, later]);
    let ids = queues.enqueue_all(&jobs).await.unwrap();
    let ids = ids.into_iter().map(|it| it.unwrap().id).collect::<Vec<_>>();
    let [
        unlisted,
        unleased,
        lost,
        head,
        second,
        third,
        holder,
        next,
        last,
        later,
    ] = &ids[..]
    else {
        panic!("{ids:?}")
    };

    damage(node, queue, "ZREM", "available", &[member(unlisted)]);
    lose_lease(node, unleased);
    // Their entries stay behind: in the line, at the head of the group, among the places of the
    // user.
    for id in [lost, head, holder] {
        lose_job(node, id);
    }
    damage(node, queue, "ZREM", "held", &[member(second)]);
    damage(node, queue, "DEL", "crowded:u", &[]);
    damage(node, queue, "DEL", "scheduled", &[]);
    let runs = [
        (unlisted, 1),
        (unleased, 2),
        (second, 1),
        (third, 1),
        (next, 1),
        (last, 1),
    ];
    Damaged {
        runs: runs.map(|(id, attempt)| (id.clone(), attempt)).to_vec(),
        lost: [lost, head, holder].map(JobId::clone).to_vec(),
        scheduled: Some(later.clone()),
    }
}

#[tokio::test]
async fn damage_is_mended_at_every_primary() {
    let cluster = TestCluster::start();
    let queues = queues(&cluster).await;
    let mut damaged = Vec::new();
    let places = queue_of_each_primary(&cluster);
    for (&node, queue) in &places {
        let mut node = cluster.connection(node);
        damaged.push(do_damage(&queues, queue, &mut node).await);
    }
    let workers: Vec<_> = places
        .values()
        .map(|queue| work_on(&queues, queue, fast("w", 4), attempt))
        .collect();
    for it in damaged {
        for (id, attempt) in &it.runs {
            assert_eq!(result(&queues, id).await, attempt.to_string(), "{id}");
        }
        for id in &it.lost {
            assert!(queues.get(id).await.unwrap().is_none(), "{id}");
        }
        let later = it.scheduled.unwrap();
        let begun = Instant::now();
        loop {
            let listed = queues.list(later.queue(), State::Scheduled, 0, 9).await;
            if let Some(listed) = listed.unwrap().first() {
                assert_eq!(listed.id, later);
                assert!(listed.run_at > listed.created_at + 9 * LONG.as_millis() as u64);
                break;
            }
            assert!(begun.elapsed() < LONG, "it is not listed again");
            sleep(Duration::from_millis(20)).await;
        }
    }
    for stats in queues.queues().await.unwrap() {
        let open = (stats.available, stats.running, stats.retrying);
        assert_eq!(open, (0, 0, 0), "{}", stats.name);
        assert_eq!((stats.scheduled, stats.completed), (1, 6), "{}", stats.name);
    }
    for worker in workers {
        worker.stop().await;
    }
}

/// Where the walk over all jobs of the queue is, as its node says: none before and behind it.
fn cursor(cluster: &TestCluster, queue: &str) -> Option<String> {
    let cursor: Option<String> = redis::cmd("HGET")
        .arg(key(queue))
        .arg("reconcile_cursor")
        .query(&mut cluster.connection(cluster.owner(&key(queue))))
        .unwrap();
    cursor.filter(|it| it != "0")
}

#[tokio::test]
async fn damage_is_mended_although_the_slot_moves_in_the_middle_of_the_walk() {
    let cluster = TestCluster::start();
    let queues = queues(&cluster).await;
    // Several steps of the walk, and no other queue is there.
    let jobs: Vec<_> = (0..1500).map(|n| job(&n)).collect();
    let ids = queues.enqueue_all(&jobs).await.unwrap();
    let ids: Vec<_> = ids.into_iter().map(|it| it.unwrap().id).collect();
    let first_node = cluster.owner(&key("q"));
    let second_node = (first_node + 1) % PRIMARIES;
    damage(
        &mut cluster.connection(first_node),
        "q",
        "DEL",
        "available",
        &[],
    );
    let worker = work(&queues, fast("w", 50), attempt);
    let begun = Instant::now();
    while cursor(&cluster, "q").is_none() {
        assert!(begun.elapsed() < LONG, "no walk begins");
        sleep(Duration::from_millis(20)).await;
    }
    cluster.move_slot(&key("q"), second_node);
    for id in &ids {
        assert_eq!(result(&queues, id).await, "1");
    }

    // What is damaged at the new node is mended there.
    queues.pause("q").await.unwrap();
    let late = queues.enqueue(job(&())).await.unwrap().id;
    lose_lease(&mut cluster.connection(second_node), &late);
    queues.resume("q").await.unwrap();
    assert_eq!(result(&queues, &late).await, "2");
    worker.stop().await;
}

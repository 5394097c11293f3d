//! The way to a cluster: slots that move, primaries that are lost, functions that nobody loaded.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redis::Cmd;
use sluice_test_support::TestCluster;
use sluice_valkey::{Function, Library, Notice, Spec, Valkey, slot_of};
use tokio::time::{Instant, sleep};

const PATIENCE: Duration = Duration::from_secs(30);

fn set(key: &str, value: u32) -> Cmd {
    let mut set = redis::cmd("SET");
    set.arg(key).arg(value);
    set
}

fn get(key: &str) -> Cmd {
    let mut get = redis::cmd("GET");
    get.arg(key);
    get
}

/// Adds up what it is called with, under one key.
fn adder() -> Function {
    let text = "define('add', function(KEYS, ARGV)
        return redis.call('INCRBY', KEYS[1], ARGV[1])
    end)";
    Library::new("test_add", &[], &[text]).function("add")
}

fn keys(count: u32) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("key:{number}"))
}

#[tokio::test]
async fn commands_and_functions_find_the_node_of_their_key_over_every_kind_of_connection() {
    let cluster = TestCluster::start();
    let valkey = Valkey::at(&cluster.url()).unwrap();
    let add = adder();
    for way in [valkey.ordered(), valkey.shared(), valkey.pooled()] {
        for key in keys(20) {
            let mut call = add.command(&[&key]);
            call.arg(2);
            let _: u64 = add.run(&way, &call).await.unwrap();
            let _: String = way
                .query("set", &set(&format!("{{{key}}}:s"), 1))
                .await
                .unwrap();
        }
    }
    let reads: Vec<_> = keys(20).map(|key| get(&key)).collect();
    let sums: Vec<u64> = valkey.query_all(Spec::command("get"), reads).await.unwrap();
    assert_eq!(sums, [6; 20]);
    assert!(valkey.is_cluster());
    let sizes: Vec<u64> = valkey
        .query_nodes("dbsize", &redis::cmd("DBSIZE"))
        .await
        .unwrap();
    assert_eq!((sizes.len(), sizes.iter().sum::<u64>()), (3, 40));
    // Who has asked for nothing yet does not know that there are others.
    let other = Valkey::at(&cluster.url()).unwrap();
    let sizes: Vec<u64> = other
        .query_nodes("dbsize", &redis::cmd("DBSIZE"))
        .await
        .unwrap();
    assert_eq!((sizes.len(), sizes.iter().sum::<u64>()), (3, 40));
    assert_eq!(slot_of(b"key:1"), cluster.slot("key:1") as u16);
}

#[tokio::test]
async fn a_batch_is_divided_among_nodes_and_loads_its_library_where_it_is_missing() {
    let cluster = TestCluster::start();
    let valkey = Valkey::at(&cluster.url()).unwrap();
    let add = adder();
    let calls = || {
        let calls = keys(60).enumerate().map(|(number, key)| {
            let mut call = add.command(&[&key]);
            call.arg(number);
            call
        });
        calls.collect::<Vec<_>>()
    };
    let sums: Vec<usize> = add.run_all(&valkey, calls()).await.unwrap();
    assert_eq!(sums, (0..60).collect::<Vec<_>>());
    for node in 0..3 {
        redis::cmd("FUNCTION")
            .arg("FLUSH")
            .exec(&mut cluster.connection(node))
            .unwrap();
    }
    let sums: Vec<usize> = add.run_all(&valkey, calls()).await.unwrap();
    assert_eq!(sums, (0..60).map(|number| 2 * number).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_slot_that_moves_is_followed() {
    let cluster = TestCluster::start();
    let valkey = Valkey::at(&cluster.url()).unwrap().ordered();
    let add = adder();
    let mut call = add.command(&["key"]);
    call.arg(1);
    for round in 1..=6 {
        let to = (cluster.owner("key") + 1) % 3;
        cluster.move_slot("key", to);
        let sum: u32 = add.run(&valkey, &call).await.unwrap();
        assert_eq!(sum, round);
    }
}

#[tokio::test]
async fn calls_go_on_when_a_replica_takes_over() {
    let mut cluster = TestCluster::start_with_replicas(&[]);
    let valkey = Valkey::at(&cluster.url()).unwrap();
    for key in keys(30) {
        let _: String = valkey.query("set", &set(&key, 1)).await.unwrap();
    }
    let lost = cluster.owner("key:0");
    cluster.replicate(lost);
    cluster.kill(lost);
    let commands: Vec<_> = keys(30).map(|key| set(&key, 2)).collect();
    let done = valkey.query_all::<String>(Spec::command("set"), commands);
    assert_eq!(done.await.unwrap().len(), 30);
    for key in keys(30) {
        let value: u32 = valkey.query("get", &get(&key)).await.unwrap();
        assert_eq!(value, 2, "{key}");
    }
}

#[tokio::test]
async fn notifications_arrive_from_each_node_and_follow_a_slot_and_a_failover() {
    let mut cluster = TestCluster::start_with_replicas(&[]);
    let valkey = Valkey::at(&cluster.url()).unwrap();
    let heard: Arc<Mutex<Vec<(String, u32)>>> = Arc::default();
    let channels: Vec<_> = keys(12).map(|key| format!("{{{key}}}:events")).collect();
    let subscriptions: Vec<_> = channels
        .iter()
        .map(|channel| {
            let (heard, name) = (heard.clone(), channel.clone());
            valkey.hub().subscribe(channel, move |notice| {
                if let Notice::Message(message) = notice {
                    let number = std::str::from_utf8(message).unwrap().parse().unwrap();
                    heard.lock().unwrap().push((name.clone(), number));
                }
            })
        })
        .collect();
    // A message may fall into the time in which a subscription is lost; one that comes later is
    // heard.
    let hear = async |number: u32| {
        let begun = Instant::now();
        for channel in &channels {
            loop {
                let mut publish = redis::cmd("SPUBLISH");
                publish.arg(channel).arg(number);
                let _: u32 = valkey.query("publish", &publish).await.unwrap();
                sleep(Duration::from_millis(20)).await;
                let is_heard = heard.lock().unwrap().contains(&(channel.clone(), number));
                if is_heard {
                    break;
                }
                assert!(begun.elapsed() < PATIENCE, "{channel} was not heard");
            }
        }
    };
    for subscription in &subscriptions {
        assert!(subscription.live(PATIENCE).await);
    }
    hear(1).await;
    let moved = channels.first().unwrap();
    cluster.move_slot(moved, (cluster.owner(moved) + 1) % 3);
    hear(2).await;
    let lost = cluster.owner(moved);
    cluster.kill(lost);
    hear(3).await;
}

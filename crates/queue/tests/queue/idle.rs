//! What workers cost that have nothing to do.

use std::time::{Duration, Instant};

use sluice_queue::WorkerConfig;
use sluice_test_support::TestValkey;
use tokio::time::sleep;

use crate::common::*;

const QUEUES: [&str; 5] = ["a", "b", "c", "d", "e"];

/// What an idle process sends by itself; other commands are called by its scripts.
const SENT: [&str; 3] = ["fcall", "function|load", "ping"];

#[tokio::test]
async fn an_idle_process_with_five_queues_sends_at_most_two_commands_a_second() {
    let valkey = TestValkey::start();
    let queues = queues(&valkey).await;
    let workers = QUEUES.map(|queue| {
        work_on(&queues, queue, WorkerConfig::new("w", 10), async |_| {
            Ok(json(&()))
        })
    });
    sleep(Duration::from_secs(1)).await;

    let mut connection = valkey.connection();
    redis::cmd("CONFIG")
        .arg("RESETSTAT")
        .exec(&mut connection)
        .unwrap();
    let begun = Instant::now();
    sleep(Duration::from_secs(10)).await;
    let stats: String = redis::cmd("INFO")
        .arg("commandstats")
        .query(&mut connection)
        .unwrap();
    let sent: u64 = SENT.iter().map(|command| calls(&stats, command)).sum();
    println!("{sent} commands in {:?}", begun.elapsed());
    assert!(sent >= 5, "the workers do not look for jobs:\n{stats}");
    assert!(
        (sent as f64) <= 2.0 * begun.elapsed().as_secs_f64(),
        "{sent} commands:\n{stats}"
    );
    for worker in workers {
        worker.stop().await;
    }
}

fn calls(stats: &str, command: &str) -> u64 {
    let prefix = format!("cmdstat_{command}:calls=");
    let line = stats.lines().find_map(|line| line.strip_prefix(&prefix));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

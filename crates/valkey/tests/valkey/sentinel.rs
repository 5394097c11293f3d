//! The way to a server that sentinels watch.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use sluice_test_support::TestSentinel;
use sluice_valkey::{Fault, Valkey};

#[tokio::test]
async fn calls_and_notifications_go_on_at_the_replica_that_took_over() {
    let mut servers = TestSentinel::start(&[]);
    let valkey = Valkey::at(&servers.url()).unwrap();
    let lives = Arc::new(AtomicUsize::new(0));
    let count = lives.clone();
    let subscription = valkey.hub().subscribe("events", move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let mut increment = redis::cmd("INCR");
    increment.arg("count");
    let sum: u32 = valkey.query("incr", &increment).await.unwrap();
    assert_eq!(sum, 1);
    assert!(subscription.live(Duration::from_secs(10)).await);
    servers.replicate();
    servers.kill_primary();
    let sum: u32 = valkey.query("incr", &increment).await.unwrap();
    assert_eq!(sum, 2);
    let mut publish = redis::cmd("SPUBLISH");
    publish.arg("events").arg("again");
    let before = lives.load(Ordering::Relaxed);
    while lives.load(Ordering::Relaxed) == before {
        let _: u32 = valkey.query("publish", &publish).await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_primary_that_the_sentinel_does_not_know_is_an_outage() {
    let servers = TestSentinel::start(&[]);
    let url = servers.url().replace(TestSentinel::NAME, "other");
    let error = Valkey::at(&url).unwrap().ping().await.unwrap_err();
    assert_eq!(Fault::of(&error), Fault::Outage, "{error}");
    assert!(error.to_string().contains("sentinel"), "{error}");
}

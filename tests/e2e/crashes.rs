//! Processes that die without warning.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Deployment, eventually, file, files};

#[tokio::test]
async fn a_worker_killed_thirty_times_in_a_sync_leaves_the_old_set_or_the_new_one() {
    // The tail would bring each file of the set up to date by itself.
    let mut deployment = Deployment::start_with(&[("SLUICE_TAIL", "off")]).await;
    let client = deployment.client.clone();
    let count = 3000;
    let version = |version: u64| -> Vec<Value> {
        (0..count)
            .map(|n| file("ann", &format!("ann-{n}"), version))
            .collect()
    };
    client.import(&version(0)).await;
    client.sync("ann", "allOne").await;

    let mut rescued = 0;
    for round in 1..=30_u64 {
        client.import(&version(round)).await;
        let job = client
            .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
            .await;
        // From before the start to after the end of a sync of this size.
        tokio::time::sleep(Duration::from_millis(round * 37 % 300)).await;
        deployment.workers.clear();

        let entries = client.list("ann").await.unwrap();
        assert_eq!(entries.len(), count, "round {round}");
        let first = entries[0]["size"].as_f64().unwrap() as u64;
        assert!(
            first == round || first == round - 1,
            "round {round} shows version {first}"
        );
        assert!(
            entries
                .iter()
                .all(|entry| entry["size"] == entries[0]["size"]),
            "a mixed set"
        );

        deployment.add_worker();
        let view = client.finished(&job).await;
        assert_eq!(
            view["result"],
            json!({"user": "ann", "synced": count, "skipped": 0}),
            "{view}"
        );
        rescued += u64::from(view["attempts"].as_u64() > Some(1));
        let entries = client.list("ann").await.unwrap();
        assert!(
            entries
                .iter()
                .all(|entry| entry["size"].as_f64() == Some(round as f64))
        );
    }
    assert!(rescued > 0, "no kill ever hit a running sync");
}

#[tokio::test]
async fn another_worker_takes_over_within_ten_seconds() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let proxy = sluice_test_support::Proxy::start(deployment.convex_address()).await;
    let mut doomed =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    proxy.hold_after(100_000);
    let job = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    proxy.held().await;
    deployment.add_worker();
    doomed.kill();

    let begun = std::time::Instant::now();
    let view = client.finished(&job).await;
    assert_eq!(
        (&view["result"]["synced"], &view["attempts"]),
        (&json!(2000), &json!(2)),
        "{view}"
    );
    // The promise is ten seconds to the new start; the run itself and a busy machine come on top.
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn a_log_out_after_a_killed_sync_leaves_nothing_of_the_user() {
    /// Bytes that Convex has answered in the midst of the second page: pages have 4,000 files, of
    /// some 250 bytes each.
    const BEYOND_A_PAGE: u64 = 1_200_000;
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 6000)).await;
    let proxy = sluice_test_support::Proxy::start(deployment.convex_address()).await;
    let mut doomed =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    proxy.hold_after(BEYOND_A_PAGE);
    for kind in ["OUT", "DEL"] {
        let sync = json!({"user": "ann", "type": "allOne"});
        let job = client.enqueue("sync", &sync).await;
        eventually("a part of the files is staged", async || {
            let keys = deployment.cached_keys("ann");
            keys.iter().any(|key| key.ends_with("stage:entries"))
        })
        .await;
        doomed.kill();

        deployment.add_worker();
        assert_eq!(client.finished(&job).await["result"]["synced"], 6000);
        let (status, body) = client.invalidate("ann", kind).await;
        assert_eq!(
            (status, &body["invalidated"]),
            (StatusCode::OK, &json!(6000))
        );
        assert_eq!(deployment.cached_keys("ann"), [] as [String; 0], "{kind}");
        deployment.workers.clear();
        proxy.hold_after(BEYOND_A_PAGE);
        doomed =
            deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    }
}

#[tokio::test]
async fn a_deletion_interrupted_half_way_is_finished_by_another_worker() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2500)).await;
    client.import(&files("ben", 10)).await;
    deployment.add_worker();
    client.sync("ann", "allOne").await;
    deployment.workers.clear();

    let proxy = sluice_test_support::Proxy::start(deployment.convex_address()).await;
    let mut doomed =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    let job = client
        .enqueue("invalidate", &json!({"user": "ann", "type": "DEL"}))
        .await;
    eventually("a part of the documents is gone", async || {
        client.convex_count("ann").await < 2500
    })
    .await;
    doomed.kill();
    let left = client.convex_count("ann").await;

    deployment.add_worker();
    let view = client.finished(&job).await;
    assert_eq!(
        view["result"],
        json!({"user": "ann", "type": "DEL", "invalidated": 2500, "deleted": 2500}),
        "{left} were left: {view}"
    );
    assert_eq!(client.convex_count("ann").await, 0);
    assert_eq!(client.convex_count("ben").await, 10);
    let (status, _) = client.sync("ann", "allOne").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_store_keeps_every_acknowledged_import_through_kills() {
    let mut deployment = Deployment::without_workers(&[]).await;
    for round in 1..=5 {
        let documents: Vec<Value> = (0..50)
            .map(|n| file("ann", &format!("ann-{round}-{n}"), n))
            .collect();
        deployment.client.import(&documents).await;
        deployment.restart_convex_after_kill().await;
        assert_eq!(deployment.client.convex_count("ann").await, round * 50);
    }
}

//! Syncs beside other things that happen to the same user at the same time.

use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_test_support::Proxy;

use crate::harness::{Deployment, Process, eventually, file, files};

/// A worker whose view of Convex stops after some bytes, so that a sync stands still half-way.
async fn stalling_worker(deployment: &Deployment) -> (Process, Proxy) {
    let proxy = Proxy::start(deployment.convex_address()).await;
    // What is held back is to be the sync's.
    let worker =
        deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url()), ("SLUICE_TAIL", "off")]);
    (worker, proxy)
}

#[tokio::test]
async fn a_reader_never_sees_a_mixed_set_during_fifty_syncs() {
    // The tail would bring each file of the set up to date by itself.
    let deployment = Deployment::start_with(&[("SLUICE_TAIL", "off")]).await;
    let client = deployment.client.clone();
    let versions = |version: u64| -> Vec<Value> {
        (0..400)
            .map(|n| file("ann", &format!("ann-{n}"), version))
            .collect()
    };
    client.import(&versions(0)).await;
    client.sync("ann", "allOne").await;

    let reader = client.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let reading = tokio::spawn(async move {
        let mut stopped = stopped;
        let mut seen = std::collections::BTreeSet::new();
        let mut looks = 0;
        while stopped.try_recv().is_err() {
            // A walk that a commit interrupts is told so and starts over.
            let Ok(entries) = reader.list("ann").await else {
                continue;
            };
            looks += 1;
            assert_eq!(entries.len(), 400);
            let first = entries[0]["size"].as_f64().unwrap();
            assert!(
                entries
                    .iter()
                    .all(|entry| entry["size"].as_f64() == Some(first)),
                "a mixed set"
            );
            seen.insert(first as u64);
        }
        (looks, seen)
    });
    for version in 1..=50 {
        // The change feed must not repair the live set between two syncs, so both are of one
        // version each.
        client.import(&versions(version)).await;
        let (status, body) = client.sync("ann", "allOne").await;
        assert_eq!((status, &body["synced"]), (StatusCode::OK, &json!(400)));
    }
    stop.send(()).unwrap();
    let (looks, seen) = reading.await.unwrap();
    assert!(
        looks > 50 && seen.len() > 10,
        "the reader looked {looks} times and saw {seen:?}"
    );
}

#[tokio::test]
async fn two_syncs_of_one_type_share_one_run() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let (worker, proxy) = stalling_worker(&deployment).await;
    deployment.workers.push(worker);
    proxy.hold_after(100_000);

    let body = json!({"user": "ann", "type": "allOne"});
    let first = client.enqueue("sync", &body).await;
    proxy.held().await;
    let second = client.enqueue("sync", &body).await;
    assert_eq!(first, second);
    proxy.open();
    assert_eq!(client.finished(&first).await["result"]["synced"], 2000);
}

#[tokio::test]
async fn a_sync_of_another_type_follows_the_running_one() {
    let mut deployment = Deployment::without_workers(&[("SLUICE_MOST_ACTIVE_LIMIT", "5")]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let (worker, proxy) = stalling_worker(&deployment).await;
    deployment.workers.push(worker);
    deployment.add_worker();
    proxy.hold_after(100_000);

    let first = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    // Both workers may take the first job; only the one behind the proxy stands still.
    let second = client
        .enqueue("sync", &json!({"user": "ann", "type": "mostTwo"}))
        .await;
    assert_ne!(first, second);
    proxy.open();
    let (first, second) = (
        client.finished(&first).await,
        client.finished(&second).await,
    );
    assert!(
        first["finished_at"].as_u64() <= second["started_at"].as_u64(),
        "{first} {second}"
    );
    assert_eq!(client.listed_ids("ann").await.len(), 5);
}

#[tokio::test]
async fn an_invalidate_during_a_sync_is_not_undone_by_it() {
    for kind in ["OUT", "DEL"] {
        let mut deployment = Deployment::without_workers(&[]).await;
        let client = deployment.client.clone();
        client.import(&files("ann", 2000)).await;
        let (stalled, proxy) = stalling_worker(&deployment).await;
        proxy.hold_after(100_000);
        let job = client
            .enqueue("sync", &json!({"user": "ann", "type": "allTwo"}))
            .await;
        proxy.held().await;
        deployment.workers.push(stalled);
        deployment.add_worker();

        let (status, body) = client.invalidate("ann", kind).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        proxy.open();
        let view = client.finished(&job).await;
        assert_eq!(view["error"]["error"], "invalidated", "{view}");
        assert!(client.listed_ids("ann").await.is_empty());
    }
}

#[tokio::test]
async fn a_file_that_changes_during_a_sync_is_cached_as_it_is_now() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let (worker, proxy) = stalling_worker(&deployment).await;
    deployment.workers.push(worker);
    proxy.hold_after(300_000);
    let job = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    proxy.held().await;

    // The newest are read first: these two were already read, and the oldest not yet.
    client
        .import(&[file("ann", "ann-1999", 777), file("ann", "ann-0", 778)])
        .await;
    client
        .import(&[file("ann", "ann-new", 779), file("ben", "ann-1997", 780)])
        .await;
    client.delete_from_convex(&["ann-1998"]).await;
    proxy.open();
    let view = client.finished(&job).await;
    assert_eq!(view["state"], "completed", "{view}");

    let entries = client.list("ann").await.unwrap();
    let size = |id: &str| {
        let entry = entries.iter().find(|entry| entry["id"] == id);
        entry.map(|entry| entry["size"].as_f64().unwrap())
    };
    assert_eq!(size("ann-1999"), Some(777.0));
    assert_eq!(size("ann-0"), Some(778.0));
    assert_eq!(size("ann-new"), Some(779.0));
    assert_eq!(size("ann-1998"), None, "deleted");
    assert_eq!(size("ann-1997"), None, "another user's now");
    assert_eq!(entries.len(), 1999);
    assert_eq!(view["result"]["synced"], 1999);
}

#[tokio::test]
async fn a_sync_outlives_a_restart_of_valkey() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 2000)).await;
    let (worker, proxy) = stalling_worker(&deployment).await;
    deployment.workers.push(worker);
    proxy.hold_after(300_000);
    let job = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    proxy.held().await;
    deployment.valkey.restart();
    proxy.open();
    let mut view = Value::Null;
    eventually("the API and the worker have reconnected", async || {
        let answer = client.get(&format!("/api/v1/jobs/{job}")).await;
        let found = answer.status() == StatusCode::OK;
        if found {
            view = answer.json().await.unwrap();
        }
        found && view["state"] == "completed"
    })
    .await;
    assert_eq!(
        view["result"],
        json!({"user": "ann", "synced": 2000, "skipped": 0})
    );
    assert_eq!(client.listed_ids("ann").await.len(), 2000);
}

#[tokio::test]
async fn jobs_run_after_valkey_forgot_its_scripts() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 50)).await;
    client.sync("ann", "allOne").await;
    let mut valkey = deployment.valkey.connection();
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .query::<()>(&mut valkey)
        .unwrap();
    let (status, _) = client.sync("ann", "allOne").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(client.cache_state("ann", "ann-3").await, "bulk");
}

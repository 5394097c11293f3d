//! Dropping a user's entries.

use reqwest::StatusCode;
use serde_json::json;

use crate::harness::{Deployment, eventually, files};

#[tokio::test]
async fn log_out_drops_every_entry_and_leaves_convex_alone() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 30)).await;
    client.sync("ann", "allOne").await;
    let answer = client.invalidate("ann", "OUT").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "type": "OUT", "invalidated": 30})
        )
    );
    assert!(client.listed_ids("ann").await.is_empty());
    assert_eq!(client.convex_count("ann").await, 30);
    assert_eq!(client.cache_state("ann", "ann-3").await, "miss");
}

#[tokio::test]
async fn log_out_drops_entries_that_were_cached_singly() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 5)).await;
    // So that no change is still on its way to what is cached below.
    deployment.wait_until_tailed().await;
    for id in ["ann-0", "ann-1", "ann-2", "ann-1"] {
        client.cache_state("ann", id).await;
    }
    let answer = client.invalidate("ann", "OUT").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "type": "OUT", "invalidated": 3})
        )
    );
    assert_eq!(client.cache_state("ann", "ann-1").await, "miss");
}

#[tokio::test]
async fn log_out_of_a_user_with_nothing_cached_invalidates_nothing() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 2)).await;
    let answer = client.invalidate("ann", "OUT").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "type": "OUT", "invalidated": 0})
        )
    );
}

#[tokio::test]
async fn a_deletion_empties_valkey_and_convex_of_this_user_only() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1200)).await;
    client.import(&files("ben", 7)).await;
    client.sync("ann", "allOne").await;
    client.sync("ben", "allOne").await;
    let answer = client.invalidate("ann", "DEL").await;
    let expected = json!({"user": "ann", "type": "DEL", "invalidated": 1200, "deleted": 1200});
    assert_eq!(answer, (StatusCode::OK, expected));
    assert_eq!(client.convex_count("ann").await, 0);
    assert_eq!(client.convex_count("ben").await, 7);
    assert_eq!(client.listed_ids("ben").await.len(), 7);
    let left = deployment.valkey.keys("sm1:{ann}:*");
    let left: Vec<_> = left.iter().filter(|key| !key.ends_with(":epoch")).collect();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn an_unknown_user_is_not_found() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    for kind in ["OUT", "DEL"] {
        let (status, body) = client.invalidate("nobody", kind).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::NOT_FOUND, &json!("user_not_found"))
        );
    }
}

#[tokio::test]
async fn a_deletion_waits_for_a_key_that_convex_takes() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 3)).await;
    let wrong = deployment.worker_with(&[("SLUICE_CONVEX_KEY", "dev:tests|not-the-key")]);
    let id = client
        .enqueue("invalidate", &json!({"user": "ann", "type": "DEL"}))
        .await;
    eventually("an attempt has failed", async || {
        !client.job(&id).await["errors"]
            .as_array()
            .unwrap()
            .is_empty()
    })
    .await;
    drop(wrong);
    deployment.add_worker();
    let view = client.finished(&id).await;
    assert_eq!(view["result"]["deleted"], 3, "{view}");
    assert_eq!(client.convex_count("ann").await, 0);
}

#[tokio::test]
async fn a_log_out_while_convex_is_away_moves_the_epoch_and_is_answered() {
    let mut deployment = Deployment::start().await;
    deployment.convex.kill();
    let epoch = |deployment: &Deployment| -> Option<u64> {
        redis::cmd("HGET")
            .arg(&["sm1:{ann}:epoch", "value"])
            .query(&mut deployment.valkey.connection())
            .unwrap()
    };
    assert_eq!(epoch(&deployment), None);
    let answer = deployment.client.invalidate("ann", "OUT").await;
    assert_eq!(
        answer,
        (
            StatusCode::OK,
            json!({"user": "ann", "type": "OUT", "invalidated": 0})
        )
    );
    assert!(epoch(&deployment).is_some());
}

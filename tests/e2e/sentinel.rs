//! The main job behind sentinels, while the replica takes over.
//!
//! The replica catches up before the kill, as in `cluster.rs`: nothing that was acknowledged may be
//! missing, and no request fails.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Deployment, files};

#[tokio::test]
async fn the_main_job_goes_on_when_the_replica_takes_over() {
    let mut deployment = Deployment::on_sentinel(&[]).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    let users: Vec<String> = (0..8).map(|number| format!("user-{number}")).collect();
    let documents: Vec<Value> = users.iter().flat_map(|user| files(user, 30)).collect();
    client.import(&documents).await;
    let (first, second) = users.split_at(4);
    for user in first {
        let (status, body) = client.sync(user, "allOne").await;
        assert_eq!((status, &body["synced"]), (StatusCode::OK, &json!(30)));
    }
    let document = json!({"id": "a", "data": {"n": 1}});
    let path = "/api/sync/session/documents";
    let token = client.token("service", "docs:read docs:write", 600);
    let create = client
        .request("POST", path)
        .bearer_auth(&token)
        .json(&document);
    assert_eq!(create.send().await.unwrap().status(), StatusCode::CREATED);

    let mut syncs = JoinSet::new();
    for user in second {
        let (client, user) = (client.clone(), user.clone());
        syncs.spawn(async move { client.sync(&user, "allTwo").await });
    }
    deployment.valkey.kill_replicated();
    for user in first {
        assert_eq!(client.cache_state(user, &format!("{user}-3")).await, "bulk");
    }
    for (status, body) in syncs.join_all().await {
        assert_eq!((status, &body["synced"]), (StatusCode::OK, &json!(30)));
    }
    for user in &users {
        assert_eq!(client.listed_ids(user).await.len(), 30);
    }
    let read = client
        .request("GET", &format!("{path}/a"))
        .bearer_auth(&token);
    let read: Value = read.send().await.unwrap().json().await.unwrap();
    assert_eq!(read["data"]["n"], 1);
    let (status, body) = client.invalidate("user-0", "OUT").await;
    assert_eq!((status, &body["invalidated"]), (StatusCode::OK, &json!(30)));
    assert!(deployment.doctor().1.contains("Valkey takes writes"));
}

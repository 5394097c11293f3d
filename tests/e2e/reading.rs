//! Reading entries through the cache.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Deployment, files, read};

#[tokio::test]
async fn an_entry_is_read_through_and_says_where_it_came_from() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 2)).await;
    // So that no change is still on its way to what is cached below.
    deployment.wait_until_tailed().await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "miss");
    assert_eq!(client.cache_state("ann", "ann-1").await, "hit");
    client.sync("ann", "allOne").await;
    assert_eq!(client.cache_state("ann", "ann-1").await, "bulk");

    let entry: Value = client.entry("ann", "ann-1").await.json().await.unwrap();
    for (field, value) in files("ann", 2)[1].as_object().unwrap() {
        match value.as_f64() {
            // Convex stores imported numbers as floats.
            Some(number) => assert_eq!(entry[field].as_f64(), Some(number), "{field}"),
            None => assert_eq!(&entry[field], value, "{field}"),
        }
    }
}

#[tokio::test]
async fn a_file_of_nobody_or_of_somebody_else_is_not_found() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1)).await;
    for (user, id) in [("ann", "no-such-file"), ("ben", "ann-0")] {
        let (status, body) = read(client.entry(user, id).await).await;
        assert_eq!(
            (status, &body["error"]),
            (StatusCode::NOT_FOUND, &json!("not_found"))
        );
    }
}

#[tokio::test]
async fn concurrent_misses_of_one_file_cause_one_fetch() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1)).await;
    // A change that is seen during a fetch is a reason for another one.
    deployment.wait_until_tailed().await;
    let reads = (0..32).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.entry("ann", "ann-0").await.status() })
    });
    for status in futures_util::future::join_all(reads).await {
        assert_eq!(status.unwrap(), StatusCode::OK);
    }
    let metrics = client.get("/metrics").await.text().await.unwrap();
    let fetches: f64 = metrics
        .lines()
        .filter(|line| line.starts_with("sluice_entry_fetches_total"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum();
    assert_eq!(fetches, 1.0, "{metrics}");
}

#[tokio::test]
async fn a_listing_is_paged_and_leaves_out_the_keys() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 25)).await;
    client.sync("ann", "allOne").await;
    let mut path = "/api/v1/meta?userId=ann&limit=10".to_owned();
    let mut ids = std::collections::BTreeSet::new();
    for expected in [10, 10, 5] {
        let (status, page) = read(client.get(&path).await).await;
        assert_eq!(status, StatusCode::OK);
        let entries = page["entries"].as_array().unwrap();
        assert_eq!((entries.len(), &page["total"]), (expected, &json!(25)));
        for entry in entries {
            assert!(entry.get("dekEnc").is_none() && entry.get("filenameEnc").is_some());
            ids.insert(entry["id"].as_str().unwrap().to_owned());
        }
        path = format!(
            "/api/v1/meta?userId=ann&limit=10&cursor={}",
            page["cursor"].as_str().unwrap_or("")
        );
        assert_eq!(page["cursor"].is_null(), expected == 5);
    }
    assert_eq!(ids.len(), 25);
}

#[tokio::test]
async fn users_read_their_own_entries_without_a_scope() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1)).await;
    let token = client.token("ann", "", 60);
    let status = async |path: &str| {
        let request = client.request("GET", path).bearer_auth(&token);
        request.send().await.unwrap().status()
    };
    assert_eq!(status("/api/v1/meta/ann-0").await, StatusCode::OK);
    assert_eq!(
        status("/api/v1/meta/ann-0?userId=ann").await,
        StatusCode::OK
    );
    assert_eq!(status("/api/v1/meta").await, StatusCode::OK);
    assert_eq!(
        status("/api/v1/meta/ann-0?userId=ben").await,
        StatusCode::FORBIDDEN
    );
    assert_eq!(
        status("/api/v1/meta?userId=ben").await,
        StatusCode::FORBIDDEN
    );
}

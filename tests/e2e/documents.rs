//! Documents over HTTP, with an API that dies.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::harness::{Client, Deployment, read};

const PATH: &str = "/api/sync/session/documents";

/// Sends a request until it is answered, however often the API dies under it.
async fn persist(client: &Client, method: &str, path: &str, key: &str, body: &Value) -> Value {
    let token = client.token("service", "docs:read docs:write:session", 600);
    loop {
        let request = client
            .request(method, path)
            .bearer_auth(&token)
            .header("idempotency-key", key)
            .json(body);
        if let Ok(answer) = request.send().await {
            let status = answer.status();
            if let Ok(text) = answer.text().await {
                assert!(status.is_success(), "{status} {text}");
                return serde_json::from_str(&text).unwrap();
            }
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_write_under_a_key_is_made_once_however_often_the_api_is_killed() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    let body = json!({"id": "a", "data": {"n": 0}});
    persist(&client, "POST", PATH, "create", &body).await;
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let client = client.clone();
        writers.spawn(async move {
            let mutate = json!({"mutations": [{"op": "increment", "path": "/n", "value": 1}]});
            let path = format!("{PATH}/a/mutate");
            for round in 0..50 {
                let key = format!("{writer}-{round}");
                let written = persist(&client, "POST", &path, &key, &mutate).await;
                let read = persist(&client, "GET", &format!("{PATH}/a"), "read", &json!({})).await;
                // Nobody reads what is older than their own acknowledged write.
                assert!(read["revision"].as_u64() >= written["revision"].as_u64());
            }
        });
    }
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(rand::random_range(20..200))).await;
        deployment.restart_api_after_kill().await;
    }
    writers.join_all().await;
    let last = persist(&client, "GET", &format!("{PATH}/a"), "read", &json!({})).await;
    assert_eq!(
        (&last["data"]["n"], &last["revision"]),
        (&json!(400), &json!(401))
    );
}

#[tokio::test]
async fn a_token_for_one_service_writes_there_only() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    let token = client.token("service", "docs:write:session", 600);
    let create = async |service: &str| {
        let request = client.request("POST", &format!("/api/sync/{service}/documents"));
        let answer = request
            .bearer_auth(&token)
            .json(&json!({"data": {}}))
            .send();
        read(answer.await.unwrap()).await
    };
    let (status, envelope) = create("session").await;
    assert_eq!(
        (status, &envelope["revision"]),
        (StatusCode::CREATED, &json!(1))
    );
    let (status, error) = create("profile").await;
    assert_eq!(
        (status, &error["error"]),
        (StatusCode::FORBIDDEN, &json!("forbidden"))
    );
}

#[tokio::test]
async fn limits_are_settings() {
    let settings = [("SLUICE_DOCUMENT_LIMIT_BYTES", "100")];
    let deployment = Deployment::without_workers(&settings).await;
    let client = &deployment.client;
    let token = client.token("service", "docs:write", 600);
    let body = json!({"data": {"text": "x".repeat(100)}});
    let request = client.request("POST", PATH).bearer_auth(token).json(&body);
    let (status, error) = read(request.send().await.unwrap()).await;
    assert_eq!(
        (status, &error["error"]),
        (StatusCode::PAYLOAD_TOO_LARGE, &json!("document_too_large"))
    );
}

//! Requests as jobs: waiting, not waiting, and asking twice.

use futures_util::StreamExt;
use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_queue::State;

use crate::harness::{Deployment, files, read};

#[tokio::test]
async fn respond_async_answers_202_with_the_job_and_its_place() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 10)).await;
    let body = json!({"user": "ann", "type": "allOne"});
    let answer = client
        .post_with("sync", &body, &[("prefer", "respond-async")])
        .await;
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let location = answer.headers()["location"].to_str().unwrap().to_owned();
    let id: Value = answer.json().await.unwrap();
    let id = id["job"].as_str().unwrap();
    assert_eq!(location, format!("/api/v1/jobs/{id}"));
    let view = client.finished(id).await;
    assert_eq!(view["state"], "completed");
    assert_eq!(
        view["result"],
        json!({"user": "ann", "synced": 10, "skipped": 0})
    );
    assert_eq!(view["progress"]["entries"], 10);
}

#[tokio::test]
async fn a_wait_that_runs_out_answers_202() {
    let deployment = Deployment::without_workers(&[("SLUICE_REQUEST_WAIT_SECS", "1")]).await;
    deployment.leaves_jobs(State::Available);
    let client = &deployment.client;
    let answer = client
        .post("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let (status, body) = read(answer).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    assert_eq!(
        client.job(body["job"].as_str().unwrap()).await["state"],
        "available"
    );
}

#[tokio::test]
async fn an_idempotency_key_gives_the_first_job_again_also_when_it_is_done() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 10)).await;
    let call = async |body: &Value, key: &str| {
        let headers = [("idempotency-key", key), ("prefer", "respond-async")];
        read(client.post_with("sync", body, &headers).await).await
    };
    let body = json!({"user": "ann", "type": "allOne"});
    let (_, first) = call(&body, "key-1").await;
    client.finished(first["job"].as_str().unwrap()).await;
    let (_, again) = call(&body, "key-1").await;
    assert_eq!(first, again);
    let (_, other) = call(&body, "key-2").await;
    assert_ne!(first, other);
    let (status, refused) = call(&json!({"user": "ann", "type": "allTwo"}), "key-1").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{refused}");
}

#[tokio::test]
async fn a_job_streams_its_progress_until_it_ends() {
    let mut deployment = Deployment::without_workers(&[]).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 3000)).await;
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let answer = client
        .request("GET", &format!("/api/v1/jobs/{id}"))
        .bearer_auth(client.token("ann", "", 60))
        .header("accept", "text/event-stream")
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    deployment.add_worker();
    let mut text = String::new();
    let mut body = answer.bytes_stream();
    while let Some(chunk) = body.next().await {
        text.push_str(std::str::from_utf8(&chunk.unwrap()).unwrap());
    }
    let views: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    assert_eq!(views.first().unwrap()["state"], "available");
    assert_eq!(views.last().unwrap()["state"], "completed");
    assert!(
        views
            .iter()
            .any(|view| view["progress"]["entries"].as_u64() > Some(0)),
        "{text}"
    );
}

#[tokio::test]
async fn an_outage_of_convex_is_retried_until_it_is_over() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    client.import(&files("ann", 10)).await;
    deployment.convex.kill();
    let id = client
        .enqueue("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    crate::harness::eventually("an attempt has failed", async || {
        let view = client.job(&id).await;
        !view["errors"].as_array().unwrap().is_empty()
    })
    .await;
    deployment.restart_convex_after_kill().await;
    let view = client.finished(&id).await;
    assert_eq!(view["result"]["synced"], 10, "{view}");
}

//! Documents over HTTP, with an API that dies.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_test_support::TestValkey;
use tokio::task::JoinSet;

use crate::harness::{Client, Deployment, eventually, read};

const PATH: &str = "/api/sync/session/documents";

/// Sends a request until it is answered, however often the API dies under it.
async fn persist(client: &Client, method: &str, path: &str, key: &str, body: &Value) -> Value {
    persist_with(client, (method, path), &[("idempotency-key", key)], body).await
}

async fn persist_with(
    client: &Client,
    (method, path): (&str, &str),
    headers: &[(&str, &str)],
    body: &Value,
) -> Value {
    let token = client.token("service", "docs:read docs:write:session", 600);
    loop {
        let mut request = client.request(method, path).bearer_auth(&token).json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
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
    let acknowledged = Arc::new(AtomicU64::new(1));
    let mut writers = JoinSet::new();
    for writer in 0..8 {
        let (client, acknowledged) = (client.clone(), acknowledged.clone());
        writers.spawn(async move {
            let mutate = json!({"mutations": [{"op": "increment", "path": "/n", "value": 1}]});
            let path = format!("{PATH}/a/mutate");
            for round in 0..50 {
                let key = format!("{writer}-{round}");
                let written = persist(&client, "POST", &path, &key, &mutate).await;
                acknowledged.fetch_max(written["revision"].as_u64().unwrap(), Ordering::SeqCst);
                // Nobody reads what is older than a write that was acknowledged before, to
                // whomever.
                let oldest = acknowledged.load(Ordering::SeqCst);
                let read = persist(&client, "GET", &format!("{PATH}/a"), "read", &json!({})).await;
                assert!(
                    read["revision"].as_u64() >= Some(oldest),
                    "{oldest}: {read}"
                );
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

/// Writers who each send the next write when the last one was acknowledged, some of them
/// asynchronously.
async fn append_all(client: &Client, writer: usize) -> Vec<String> {
    let mut jobs = Vec::new();
    for round in 0..25 {
        let name = format!("{writer}-{round}");
        let append = json!({"mutations": [{"op": "append", "path": "/all", "value": name}]});
        let mut headers = vec![("idempotency-key", name.as_str())];
        if !(writer + round).is_multiple_of(3_usize) {
            headers.push(("prefer", "respond-async"));
        }
        let path = format!("{PATH}/a/mutate");
        let answer = persist_with(client, ("POST", &path), &headers, &append).await;
        jobs.extend(answer["job"].as_str().map(str::to_owned));
    }
    jobs
}

#[tokio::test]
async fn acknowledged_writes_are_made_once_and_in_order_though_apis_and_workers_are_killed() {
    let mut deployment = Deployment::start().await;
    let client = deployment.client.clone();
    let body = json!({"id": "a", "data": {"all": []}});
    persist(&client, "POST", PATH, "create", &body).await;
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        let client = client.clone();
        writers.spawn(async move { append_all(&client, writer).await });
    }
    for kill in 0..6 {
        tokio::time::sleep(Duration::from_millis(rand::random_range(50..400))).await;
        if kill % 3 == 2 {
            deployment.workers.clear();
            deployment.add_worker();
        } else {
            deployment.restart_api_after_kill().await;
        }
    }
    let jobs: Vec<String> = writers.join_all().await.into_iter().flatten().collect();
    assert!(!jobs.is_empty());
    for job in jobs {
        let view = client.finished(&job).await;
        assert_eq!(view["state"], "completed", "{view}");
        assert!(view["result"]["revision"].is_u64(), "{view}");
    }
    let last = persist(&client, "GET", &format!("{PATH}/a"), "read", &json!({})).await;
    assert_eq!(last["revision"], 101);
    let all: Vec<&str> = last["data"]["all"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it.as_str().unwrap())
        .collect();
    for writer in 0..4 {
        let own: Vec<String> = (0..25).map(|round| format!("{writer}-{round}")).collect();
        let prefix = format!("{writer}-");
        let made: Vec<&str> = all
            .iter()
            .copied()
            .filter(|it| it.starts_with(&prefix))
            .collect();
        assert_eq!(made, own);
    }
}

#[tokio::test]
async fn a_queued_service_is_paused_with_its_queue() {
    let settings = [
        ("SLUICE_DOCUMENT_QUEUED_SERVICES", "other,session"),
        ("SLUICE_REQUEST_WAIT_SECS", "1"),
    ];
    let mut deployment = Deployment::without_workers(&settings).await;
    let client = deployment.client.clone();
    let token = client.token("service", "docs:write", 600);
    let body = json!({"id": "a", "data": {"text": "x".repeat(1_000_000)}});
    let create = client.request("POST", PATH).bearer_auth(&token).json(&body);
    let (status, accepted) = read(create.send().await.unwrap()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    deployment.add_worker();
    let path = format!("/api/v1/jobs/{}", accepted["job"].as_str().unwrap());
    eventually("its user sees that the write was made", async || {
        let look = client.request("GET", &path).bearer_auth(&token).send();
        let (status, view) = read(look.await.unwrap()).await;
        assert_eq!(status, StatusCode::OK, "{view}");
        view["result"]["revision"] == 1
    })
    .await;
}

#[tokio::test]
async fn what_purged_documents_leave_behind_is_removed_by_the_clock() {
    let settings = [
        ("SLUICE_DOCUMENT_RETENTION_SECS", "1"),
        ("SLUICE_PURGE_SCHEDULE", "* * * * * *"),
    ];
    let deployment = Deployment::start_with(&settings).await;
    let client = &deployment.client;
    let body = json!({"id": "a", "data": {}});
    persist(client, "POST", PATH, "create", &body).await;
    persist(
        client,
        "DELETE",
        &format!("{PATH}/a"),
        "delete",
        &Value::Null,
    )
    .await;
    let mut valkey = deployment.valkey.connection();
    // As old as an id that no call can be creating any more.
    let indexes: Vec<String> = redis::Commands::keys(&mut valkey, "sd1:*:index").unwrap();
    let _: () = redis::Commands::zadd(&mut valkey, &indexes[0], "a", 1).unwrap();
    eventually("nothing is left that would not go by itself", async || {
        let keys: Vec<String> = redis::Commands::keys(&mut valkey, "sd1:*").unwrap();
        let mut lasts = |key: &String| redis::Commands::ttl::<_, i64>(&mut valkey, key) == Ok(-1);
        !keys.iter().any(&mut lasts)
    })
    .await;
}

/// What `sluice doctor` finds of the JSON module of a server.
fn json_finding(valkey: &TestValkey) -> String {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["doctor", "--data", folder.path().to_str().unwrap()])
        .env("SLUICE_VALKEY_URL", valkey.url())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text.lines().find(|line| line[6..].starts_with("json"));
    line.unwrap_or_else(|| panic!("{text}")).to_owned()
}

#[test]
fn doctor_says_how_to_get_the_json_module() {
    let finding = json_finding(&TestValkey::start_with_json());
    assert!(finding.starts_with("ok "), "{finding}");
    let finding = json_finding(&TestValkey::start());
    assert!(finding.starts_with("warn "), "{finding}");
    for words in ["json_module_missing", "loadmodule"] {
        assert!(finding.contains(words), "{finding}");
    }
}

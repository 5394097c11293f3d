//! Malformed input is answered with 400 and the name of the field.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Deployment, read};

#[tokio::test]
async fn every_malformed_body_names_its_field() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    let long = "u".repeat(300);
    let cases = [
        ("sync", json!({"type": "allOne"}), "user"),
        ("sync", json!({"user": "", "type": "allOne"}), "user"),
        ("sync", json!({"user": 7, "type": "allOne"}), "user"),
        ("sync", json!({"user": null, "type": "allOne"}), "user"),
        ("sync", json!({"user": long, "type": "allOne"}), "user"),
        ("sync", json!({"user": "a\u{0}b", "type": "allOne"}), "user"),
        ("sync", json!({"user": "ann"}), "type"),
        ("sync", json!({"user": "ann", "type": "all"}), "type"),
        ("sync", json!({"user": "ann", "type": 1}), "type"),
        ("sync", json!({"user": "ann", "type": "OUT"}), "type"),
        ("prefetch", json!({"limit": 3}), "user"),
        ("prefetch", json!({"user": "ann"}), "limit"),
        ("prefetch", json!({"user": "ann", "limit": 0}), "limit"),
        ("prefetch", json!({"user": "ann", "limit": -1}), "limit"),
        ("prefetch", json!({"user": "ann", "limit": 1.5}), "limit"),
        ("prefetch", json!({"user": "ann", "limit": "3"}), "limit"),
        ("prefetch", json!({"user": "ann", "limit": 1e300}), "limit"),
        ("invalidate", json!({"type": "OUT"}), "user"),
        ("invalidate", json!({"user": "ann"}), "type"),
        ("invalidate", json!({"user": "ann", "type": "out"}), "type"),
        (
            "invalidate",
            json!({"user": "ann", "type": "allOne"}),
            "type",
        ),
    ];
    for (operation, body, field) in cases {
        let (status, answer) = read(client.post(operation, &body).await).await;
        assert_eq!(
            status,
            StatusCode::BAD_REQUEST,
            "{operation} {body}: {answer}"
        );
        assert_eq!(answer["error"], "invalid_request", "{operation} {body}");
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains(field),
            "{operation} {body}: {message:?} does not name {field}"
        );
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_object_is_refused() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    let token = client.token("service", "meta:write", 600);
    for body in [
        "",
        "{",
        "[]",
        "null",
        "\"ann\"",
        "{\"user\":\"ann\",\"type\":\"allOne\"} more",
        "{\"user\":\"\\ud800\"}",
    ] {
        for operation in ["sync", "prefetch", "invalidate"] {
            let request = client
                .request("POST", &format!("/api/v1/e/meta/{operation}"))
                .bearer_auth(&token)
                .header("content-type", "application/json")
                .body(body);
            let (status, answer) = read(request.send().await.unwrap()).await;
            assert_eq!(
                status,
                StatusCode::BAD_REQUEST,
                "{operation} {body:?}: {answer}"
            );
            assert_eq!(answer["error"], "invalid_request");
            assert!(answer["message"].is_string());
        }
    }
}

#[tokio::test]
async fn malformed_queries_and_headers_name_their_field() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    for (path, field) in [
        ("/api/v1/meta?userId=ann&limit=0", "limit"),
        ("/api/v1/meta?userId=ann&limit=x", "limit"),
        ("/api/v1/meta?userId=ann&limit=100000", "limit"),
        ("/api/v1/meta?userId=ann&cursor=rubbish", "cursor"),
        ("/api/v1/meta?userId=", "userId"),
    ] {
        let (status, answer) = read(client.get(path).await).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_request")),
            "{path}"
        );
        assert!(
            answer["message"].as_str().unwrap().contains(field),
            "{path}: {answer}"
        );
    }
    let (status, answer) = read(client.get("/api/v1/meta/%ff?userId=ann").await).await;
    assert_eq!(
        (status, &answer["error"]),
        (StatusCode::BAD_REQUEST, &json!("invalid_request"))
    );
    let long = "k".repeat(300);
    let body = json!({"user": "ann", "type": "allOne"});
    let answer = client
        .post_with("sync", &body, &[("idempotency-key", &long)])
        .await;
    let (status, answer) = read(answer).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let message = answer["message"].as_str().unwrap().to_lowercase();
    assert!(message.contains("idempotency-key"), "{answer}");
}

#[tokio::test]
async fn unknown_jobs_and_paths_answer_404_in_the_same_shape() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    for path in [
        "/api/v1/jobs/sync_01j00000000000000000000000",
        "/api/v1/jobs/nonsense",
        "/api/v1/nothing",
    ] {
        let (status, answer) = read(client.get(path).await).await;
        assert_eq!(
            (status, &answer["error"]),
            (StatusCode::NOT_FOUND, &json!("not_found")),
            "{path}"
        );
    }
    let (status, answer): (_, Value) = read(client.get("/api/v1/e/meta/sync").await).await;
    assert_eq!(status, StatusCode::METHOD_NOT_ALLOWED);
    assert!(answer["error"].is_string());
}

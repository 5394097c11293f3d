//! Reading many entries in one request.

use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sluice_api::auth::Scope;

use crate::app::{Answer, App, USER, get, token_of};
use crate::reads::sync;

const PATH: &str = "/api/v1/meta/batch";

fn request(path: &str, token: &str, body: &Value) -> Request<Body> {
    Request::post(path)
        .header("authorization", format!("Bearer {token}"))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

/// Reads entries of [`USER`] as that user.
async fn read(app: &App, ids: &[&str]) -> Answer {
    let body = json!({"ids": ids});
    app.send(request(PATH, &token_of(USER, &[]), &body)).await
}

#[tokio::test]
async fn each_entry_is_answered_as_by_itself_in_the_order_of_the_ids() {
    let app = App::start().await;
    sync(&app, &["bulk"]).await;
    for id in ["hit", "miss"] {
        app.add_file(id).await;
    }
    let own = token_of(USER, &[]);
    app.send(get("/api/v1/meta/hit", &own)).await;

    let answer = read(&app, &["miss", "none", "bulk", "hit", "bulk"]).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    let entries = answer.json()["entries"].clone();
    let expected = [
        ("miss", 200, json!("miss")),
        ("none", 404, Value::Null),
        ("bulk", 200, json!("bulk")),
        ("hit", 200, json!("hit")),
        ("bulk", 200, json!("bulk")),
    ];
    assert_eq!(entries.as_array().unwrap().len(), expected.len());
    for (at, (id, status, x_cache)) in expected.into_iter().enumerate() {
        let entry = &entries[at];
        assert_eq!(entry["id"], id);
        assert_eq!(
            (&entry["status"], &entry["x-cache"]),
            (&json!(status), &x_cache),
            "{id}"
        );
        let alone = app.send(get(&format!("/api/v1/meta/{id}"), &own)).await;
        assert_eq!(alone.status.as_u16(), status);
        match status {
            200 => assert_eq!(entry["entry"], alone.json(), "{id}"),
            _ => assert_eq!(entry["error"], alone.json(), "{id}"),
        }
    }
}

#[tokio::test]
async fn a_missing_entry_is_fetched_once_and_cached() {
    let app = App::start().await;
    app.add_file("f1").await;
    // The node looks once for the functions that it reads through.
    read(&app, &["none"]).await;
    let before = app.convex_requests.load(Ordering::SeqCst);
    let first = read(&app, &["f1", "f1", "f1"]).await.json();
    assert!(
        first["entries"]
            .as_array()
            .unwrap()
            .iter()
            .all(|it| it["status"] == 200)
    );
    assert_eq!(app.convex_requests.load(Ordering::SeqCst) - before, 1);
    assert_eq!(
        read(&app, &["f1"]).await.json()["entries"][0]["x-cache"],
        "hit"
    );
}

#[tokio::test]
async fn every_entry_that_is_read_is_ranked() {
    let app = App::start().await;
    sync(&app, &["f1", "f2", "f3"]).await;
    read(&app, &["f1", "f2", "none"]).await;
    read(&app, &["f2"]).await;
    app.cache.record_accesses().await;
    let ranked = app.cache.most_active(USER, 0, 10).await.unwrap();
    assert_eq!(ranked, ["f2", "f1"]);
}

#[tokio::test]
async fn what_cannot_be_fetched_does_not_keep_the_rest_back() {
    let app = App::start().await;
    sync(&app, &["f1"]).await;
    app.stop_convex();
    let entries = read(&app, &["f1", "f2"]).await.json()["entries"].clone();
    assert_eq!(entries[0]["status"], 200);
    assert_eq!(entries[1]["status"], 503);
    assert_eq!(entries[1]["error"]["error"], "unavailable");
}

#[tokio::test]
async fn without_valkey_there_is_one_answer_for_all() {
    let mut app = App::start().await;
    sync(&app, &["f1"]).await;
    app.valkey.kill();
    let answer = read(&app, &["f1", "f2"]).await;
    assert_eq!(answer.error(), (503, "unavailable".to_owned()));
}

#[tokio::test]
async fn entries_of_others_need_meta_read_as_by_themselves() {
    let app = App::start().await;
    sync(&app, &["f1"]).await;
    let path = format!("{PATH}?userId={USER}");
    let body = json!({"ids": ["f1"]});
    let other = app
        .send(request(&path, &token_of("usr_2", &[]), &body))
        .await;
    assert_eq!(other.error(), (403, "forbidden".to_owned()));
    let reader = token_of("service", &[Scope::MetaRead]);
    assert_eq!(app.send(request(&path, &reader, &body)).await.status, 200);
    let own = app
        .send(request(PATH, &token_of("usr_2", &[]), &body))
        .await;
    assert_eq!(own.json()["entries"][0]["status"], 404);
    let mut nobody = request(PATH, "", &body);
    nobody.headers_mut().remove("authorization");
    assert_eq!(
        app.send(nobody).await.error(),
        (401, "unauthorized".to_owned())
    );
}

#[tokio::test]
async fn bodies_are_refused_by_field_and_rule() {
    let app = App::start().await;
    let many = vec!["f"; 1_001];
    let long = "f".repeat(1_025);
    for (body, named) in [
        (json!({}), "ids"),
        (json!({"ids": []}), "ids: must hold 1 to 1000 ids"),
        (json!({"ids": many}), "ids: must hold 1 to 1000 ids"),
        (
            json!({"ids": ["f1", ""]}),
            "ids[1]: must be 1 to 1024 bytes long",
        ),
        (
            json!({"ids": [long]}),
            "ids[0]: must be 1 to 1024 bytes long",
        ),
        (json!({"ids": ["f1", 1]}), "ids[1]"),
        (json!({"ids": "f1"}), "ids"),
        (json!({"ids": ["f1"], "user": USER}), "user"),
        (json!(["f1"]), "body"),
    ] {
        let answer = app.send(request(PATH, &token_of(USER, &[]), &body)).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{body}"
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(named), "{body}: {message}");
    }
    let long = json!({"ids": ["f".repeat(4_000_000)]});
    let answer = app.send(request(PATH, &token_of(USER, &[]), &long)).await;
    assert_eq!(answer.error(), (413, "invalid_request".to_owned()));
}

#[tokio::test]
async fn a_thousand_long_ids_fit() {
    let app = App::start().await;
    let ids: Vec<String> = (0..1_000).map(|at| format!("{at:0>1024}")).collect();
    let entries: Vec<&str> = ids.iter().map(String::as_str).collect();
    sync(&app, &entries).await;
    let answer = read(&app, &entries).await.json();
    let entries = answer["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1_000);
    assert!(entries.iter().all(|entry| entry["x-cache"] == "bulk"));
}

#[tokio::test]
async fn a_file_named_as_the_address_is_read_as_any_other() {
    let app = App::start().await;
    sync(&app, &["batch"]).await;
    let answer = app.send(get(PATH, &token_of(USER, &[]))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("x-cache")),
        (200, "bulk")
    );
    assert_eq!(answer.json()["id"], "batch");
}

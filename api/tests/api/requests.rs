use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use serde_json::{Value, json};
use sluice_api::ApiConfig;
use sluice_api::auth::Scope;
use sluice_queue::{JobError, State};

use crate::app::{App, USER, post, raw, sync_body, token, token_of};

const ENDPOINTS: [&str; 3] = ["sync", "prefetch", "invalidate"];

#[tokio::test]
async fn the_jobs_result_is_the_answer_verbatim() {
    let app = App::start().await;
    app.work("sync", async |_| {
        Ok(raw(&json!({"user": USER, "synced": 3, "skipped": 1})))
    });
    let answer = app.post("sync", &sync_body()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(
        answer.json(),
        json!({"user": USER, "synced": 3, "skipped": 1})
    );
}

#[tokio::test]
async fn the_job_gets_what_the_caller_asked_for() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    for (endpoint, body) in [
        ("sync", json!({"user": USER, "type": "mostOne"})),
        ("prefetch", json!({"user": USER, "limit": 7})),
        ("invalidate", json!({"user": USER, "type": "DEL"})),
    ] {
        let request = post(endpoint, &body).header("prefer", "respond-async");
        let accepted = app.send(request.build()).await;
        let job = app.get(accepted.header("location"), &[Scope::MetaRead]);
        assert_eq!(job.await.json()["payload"], body);
    }
}

#[tokio::test]
async fn refusals_become_the_documented_errors() {
    let app = App::start().await;
    app.work("sync", async |running| {
        let error = match running.payload::<Value>().unwrap()["user"].as_str() {
            Some("over") => json!({"error": "limit_exceeded", "limit": 450}),
            Some("unknown") => json!({"error": "user_not_found"}),
            _ => json!({"error": "invalidated"}),
        };
        Err(JobError::Refuse(raw(&error)))
    });
    for (user, status, error) in [
        ("over", 400, "limit_exceeded"),
        ("unknown", 404, "user_not_found"),
        ("gone", 409, "invalidated"),
    ] {
        let answer = app
            .post("sync", &json!({"user": user, "type": "allOne"}))
            .await;
        assert_eq!(answer.error(), (status, error.to_owned()));
    }
}

#[tokio::test]
async fn a_dead_job_is_named_in_the_error() {
    let app = App::start().await;
    app.work("sync", async |_| {
        Err(JobError::Fatal("Convex said no".to_owned()))
    });
    let answer = app.post("sync", &sync_body()).await;
    assert_eq!(answer.error(), (500, "job_failed".to_owned()));
    assert_eq!(answer.json()["message"], "Convex said no");
    let job = answer.json()["job"].as_str().unwrap().to_owned();
    let job = app
        .get(&format!("/api/v1/jobs/{job}"), &[Scope::MetaRead])
        .await;
    assert_eq!(job.json()["state"], "dead");
}

#[tokio::test]
async fn respond_async_is_answered_at_once_with_the_job() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let answer = app
        .send(
            post("sync", &sync_body())
                .header("prefer", "respond-async")
                .build(),
        )
        .await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let job = answer.json()["job"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{job}"));
    let found = app
        .get(answer.header("location"), &[Scope::MetaWrite])
        .await;
    assert_eq!(found.json()["state"], "available");
}

#[tokio::test]
async fn a_wait_that_runs_out_is_a_202() {
    let config = ApiConfig {
        request_wait: Duration::from_millis(50),
        ..ApiConfig::default()
    };
    let app = App::start_with(config).await;
    app.leaves_jobs(State::Available);
    assert_eq!(app.post("sync", &sync_body()).await.status, 202);
    let preferred = post("prefetch", &json!({"user": USER, "limit": 1})).header("prefer", "wait=0");
    let answer = app.send(preferred.build()).await;
    assert_eq!(answer.status, 202);
    assert_eq!(answer.header("preference-applied"), "wait=0");
}

#[tokio::test]
async fn a_shutdown_answers_those_who_wait() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let shutdown = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        app.shutdown.cancel();
    };
    let body = sync_body();
    let (answer, ()) = tokio::join!(app.post("sync", &body), shutdown);
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn an_idempotency_key_gets_the_first_job_again() {
    let app = App::start().await;
    app.work("invalidate", async |_| Ok(raw(&json!({"invalidated": 1}))));
    let send = async |key: &str, body: &Value, caller: &str| {
        let request = post("invalidate", body)
            .header("idempotency-key", key)
            .header("prefer", "respond-async")
            .header(
                "authorization",
                &format!("Bearer {}", token_of(caller, &[Scope::MetaWrite])),
            );
        app.send(request.build()).await
    };
    let body = json!({"user": USER, "type": "OUT"});
    let first = send("k1", &body, "a").await.json();
    assert_eq!(send("k1", &body, "a").await.json(), first);
    assert_ne!(send("k2", &body, "a").await.json(), first, "another key");
    assert_ne!(send("k1", &body, "b").await.json(), first, "another caller");

    let other = json!({"user": USER, "type": "DEL"});
    assert_eq!(
        send("k1", &other, "a").await.error(),
        (422, "idempotency_key_reused".to_owned())
    );
}

#[tokio::test]
async fn an_idempotency_key_counts_per_endpoint() {
    let app = App::start().await;
    app.leaves_jobs(State::Available);
    let sync = post("sync", &sync_body())
        .header("idempotency-key", "k")
        .header("prefer", "respond-async");
    let prefetch = post("prefetch", &json!({"user": USER, "limit": 1}))
        .header("idempotency-key", "k")
        .header("prefer", "respond-async");
    assert_eq!(app.send(sync.build()).await.status, 202);
    assert_eq!(app.send(prefetch.build()).await.status, 202);
}

#[tokio::test]
async fn malformed_idempotency_keys_are_refused() {
    let app = App::start().await;
    for key in ["", &"k".repeat(256)] {
        let answer = app
            .send(
                post("sync", &sync_body())
                    .header("idempotency-key", key)
                    .build(),
            )
            .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
        assert!(
            answer.text().contains("idempotency-key"),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn malformed_bodies_are_refused_by_every_endpoint_and_start_no_job() {
    let app = App::start().await;
    for endpoint in ENDPOINTS {
        for body in [
            json!({}),
            json!({"user": "", "type": "allOne", "limit": 1}),
            json!([]),
        ] {
            let answer = app.post(endpoint, &body).await;
            assert_eq!(
                answer.error(),
                (400, "invalid_request".to_owned()),
                "{endpoint} {body}"
            );
        }
        let plain = post(endpoint, &sync_body()).header("content-type", "text/plain");
        assert_eq!(
            app.send(plain.build()).await.error(),
            (400, "invalid_request".to_owned())
        );
    }
    assert!(app.queues.queues().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_body_that_is_too_long_is_refused_in_the_same_shape() {
    let app = App::start().await;
    let body = json!({"user": "u".repeat(sluice_api::MAX_BODY_BYTES), "type": "allOne"});
    assert_eq!(
        app.post("sync", &body).await.error(),
        (413, "invalid_request".to_owned())
    );
}

#[tokio::test]
async fn a_token_with_meta_write_is_needed_whatever_the_body() {
    let app = App::start().await;
    for endpoint in ENDPOINTS {
        let without = Request::builder()
            .method(Method::POST)
            .uri(format!("/api/v1/e/meta/{endpoint}"))
            .body(Body::from("{"))
            .unwrap();
        let answer = app.send(without).await;
        assert_eq!(answer.error(), (401, "unauthorized".to_owned()));
        assert!(answer.header("www-authenticate").starts_with("Bearer "));

        for token in [token(&[Scope::MetaRead, Scope::Admin]), token_of(USER, &[])] {
            let request =
                post(endpoint, &json!({})).header("authorization", &format!("Bearer {token}"));
            let answer = app.send(request.build()).await;
            assert_eq!(answer.error(), (403, "forbidden".to_owned()));
            assert!(
                answer.json()["message"]
                    .as_str()
                    .unwrap()
                    .contains("meta:write")
            );
        }
    }
}

#[tokio::test]
async fn without_valkey_callers_are_told_to_come_again() {
    let mut app = App::start().await;
    app.valkey.kill();
    let answer = app.post("sync", &sync_body()).await;
    assert_eq!(answer.error(), (503, "unavailable".to_owned()));
    assert!(!answer.header("retry-after").is_empty());
}

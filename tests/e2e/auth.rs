//! Who gets in.

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, Deployment, SECRET, files, read};

/// Everything that needs a token, with the scope that is enough.
const GUARDED: [(&str, &str, &str); 7] = [
    ("POST", "/api/v1/e/meta/sync", "meta:write"),
    ("POST", "/api/v1/e/meta/prefetch", "meta:write"),
    ("POST", "/api/v1/e/meta/invalidate", "meta:write"),
    ("GET", "/api/v1/meta/ann-0?userId=ann", "meta:read"),
    ("GET", "/api/v1/meta?userId=ann", "meta:read"),
    (
        "GET",
        "/api/v1/jobs/sync_01j00000000000000000000000",
        "meta:read",
    ),
    ("GET", "/metrics", "admin"),
];

async fn call(
    client: &Client,
    method: &str,
    path: &str,
    token: Option<&str>,
) -> (StatusCode, String) {
    let mut request = client.request(method, path);
    if method == "POST" {
        request = request.json(&json!({"user": "ann", "type": "OUT", "limit": 1}));
    }
    if let Some(token) = token {
        request = request.bearer_auth(token);
    }
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

fn error(body: &str) -> Value {
    serde_json::from_str::<Value>(body).unwrap()["error"].clone()
}

#[tokio::test]
async fn a_missing_broken_expired_or_forged_token_is_refused_everywhere() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    let expired = client.token("service", "meta:read meta:write admin", -3600);
    let forged = Client::new(
        "http://unused",
        "http://unused",
        "",
        "another secret of much the same length",
    )
    .token("service", "meta:read meta:write admin", 600);
    let unsigned = {
        let token = client.token("service", "admin", 600);
        let mut parts = token.split('.');
        let (_, claims) = (parts.next(), parts.next().unwrap());
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{claims}.")
    };
    let claims = json!({"sub": "service", "scope": "admin"});
    let endless = jsonwebtoken::encode(
        &Header::new(Algorithm::HS256),
        &claims,
        &EncodingKey::from_secret(SECRET.as_bytes()),
    )
    .unwrap();
    for (method, path, _) in GUARDED {
        let tokens = [
            None,
            Some("garbage"),
            Some(&*expired),
            Some(&*forged),
            Some(&*unsigned),
            Some(&*endless),
        ];
        for token in tokens {
            let (status, body) = call(client, method, path, token).await;
            assert_eq!(
                status,
                StatusCode::UNAUTHORIZED,
                "{method} {path} {token:?}: {body}"
            );
            assert_eq!(error(&body), "unauthorized", "{method} {path}");
        }
    }
}

#[tokio::test]
async fn each_call_needs_its_scope() {
    let deployment = Deployment::start().await;
    let client = &deployment.client;
    client.import(&files("ann", 1)).await;
    for (method, path, needed) in GUARDED {
        for scope in ["", "meta:read", "meta:write", "admin", "unknown"] {
            let token = client.token("service", scope, 600);
            let (status, body) = call(client, method, path, Some(&token)).await;
            // No scope includes another, but each of them lets its holder look at jobs.
            let enough = scope == needed
                || (path.contains("/jobs/") && ["meta:write", "admin"].contains(&scope));
            if enough {
                assert!(
                    status != StatusCode::FORBIDDEN && status != StatusCode::UNAUTHORIZED,
                    "{path} {scope}: {body}"
                );
            } else if path.contains("/jobs/") {
                // Whose job it is decides here, and this one is nobody's.
                assert!(
                    status == StatusCode::FORBIDDEN || status == StatusCode::NOT_FOUND,
                    "{path} {scope}: {body}"
                );
            } else {
                assert_eq!(
                    status,
                    StatusCode::FORBIDDEN,
                    "{method} {path} with {scope:?}: {body}"
                );
                assert_eq!(error(&body), "forbidden");
            }
        }
    }
}

#[tokio::test]
async fn health_needs_no_token() {
    let deployment = Deployment::without_workers(&[]).await;
    for path in ["/healthz", "/readyz"] {
        let (status, _) = call(&deployment.client, "GET", path, None).await;
        assert_eq!(status, StatusCode::OK, "{path}");
    }
}

#[tokio::test]
async fn readiness_names_the_part_that_is_down() {
    let mut deployment = Deployment::without_workers(&[]).await;
    deployment.valkey.kill();
    let answer = deployment
        .client
        .request("GET", "/readyz")
        .send()
        .await
        .unwrap();
    let (status, body) = read(answer).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(body.to_string().contains("valkey"), "{body}");
    let (status, _) = call(&deployment.client, "GET", "/healthz", None).await;
    assert_eq!(status, StatusCode::OK);
    let answer = deployment
        .client
        .post("sync", &json!({"user": "ann", "type": "allOne"}))
        .await;
    let (status, body) = read(answer).await;
    assert_eq!(
        (status, &body["error"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("unavailable"))
    );
}

//! The shape of every answer that is not a success.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use sluice_api::auth::Scope;

use super::{DEVICES, SHARES, User, code, is, laptop, problem};
use crate::app::{App, SECRET};

fn signed(claims: &serde_json::Value) -> Request<Body> {
    let mut claims = claims.clone();
    claims["exp"] = json!(jsonwebtoken::get_current_timestamp() + 60);
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap();
    crate::app::get(DEVICES, &token)
}

#[tokio::test]
async fn tokens_that_do_not_do_are_refused_with_the_reason() {
    let app = App::start().await;
    let none = Request::get(DEVICES).body(Body::empty()).unwrap();
    let answer = app.send(none).await;
    assert_eq!(code(&answer), is(401, "UNAUTHORIZED"));
    assert!(answer.header("www-authenticate").contains("invalid_token"));

    let scopes = "files:read files:write";
    for (claims, named) in [
        (json!({"sub": "u", "scope": scopes}), "tenant_id"),
        (json!({"tenant_id": "t", "scope": scopes}), "sub"),
        (
            json!({"sub": "u", "tenant_id": "", "scope": scopes}),
            "tenant_id",
        ),
        (
            json!({"sub": "u", "tenant_id": "a}b", "scope": scopes}),
            "tenant_id",
        ),
        (
            json!({"sub": "u", "tenant_id": 1, "scope": scopes}),
            "tenant_id",
        ),
        (
            json!({"sub": "u", "tenant_id": "t", "groups": "g", "scope": scopes}),
            "groups",
        ),
    ] {
        let answer = app.send(signed(&claims)).await;
        let (status, code, detail) = problem(&answer);
        assert_eq!((status, &*code), (401, "UNAUTHORIZED"), "{claims}");
        assert!(detail.contains(named), "{claims}: {detail}");
    }
    let good = json!({"sub": "u", "tenant_id": "t", "groups": ["g"], "scope": scopes});
    assert_eq!(app.send(signed(&good)).await.status, 200);
}

#[tokio::test]
async fn each_call_needs_its_scope() {
    let app = App::start().await;
    let of = |scopes: &[Scope]| User::of("t", "u", &[], scopes);
    let all_others = of(&[Scope::FilesWrite, Scope::TenantAdmin, Scope::Admin]);
    let answer = all_others.get(&app, DEVICES).await;
    assert_eq!(code(&answer), is(403, "FORBIDDEN"));
    let challenge = answer.header("www-authenticate");
    assert!(challenge.contains("scope=\"files:read\""), "{challenge}");
    let reader = of(&[Scope::FilesRead]);
    reader.register(&app, "d").await;
    let answer = reader
        .send(&app, "POST", SHARES, &json!({"name": "s"}))
        .await;
    assert_eq!(code(&answer), is(403, "FORBIDDEN"));
}

#[tokio::test]
async fn what_no_handler_answers_has_the_surfaces_shape_too() {
    let (app, ann) = (App::start().await, User::new("ann"));
    for (method, path, expected) in [
        ("GET", "/api/v1/sync", is(404, "NOT_FOUND")),
        ("GET", "/api/v1/sync/nowhere", is(404, "NOT_FOUND")),
        ("GET", "/api/v1/shares/a/b/c", is(404, "NOT_FOUND")),
        ("PUT", DEVICES, is(405, "METHOD_NOT_ALLOWED")),
        (
            "DELETE",
            "/api/v1/sync/devices/%FF",
            is(400, "INVALID_REQUEST"),
        ),
    ] {
        let answer = ann.send(&app, method, path, &json!({})).await;
        assert_eq!(code(&answer), expected, "{method} {path}");
    }
    for elsewhere in ["/api/v1/synchronous", "/api/v1/sharesx", "/api/v1/meta/x"] {
        let answer = ann.get(&app, elsewhere).await;
        assert!(answer.json()["error"].is_string(), "{}", answer.text());
    }
}

#[tokio::test]
async fn bodies_that_are_none_or_too_long_are_refused() {
    let (app, ann) = (App::start().await, User::new("ann"));
    for text in ["", "{", "[]", "null", "\"x\"", "{\"device_id\":\"d\"} x"] {
        let request = ann.request("POST", DEVICES, Body::from(text));
        let answer = app.send(request).await;
        assert_eq!(code(&answer), is(422, "INVALID_REQUEST"), "{text}");
    }
    let mut form = ann.request("POST", DEVICES, Body::from(laptop("d").to_string()));
    let plain = "text/plain".parse().unwrap();
    form.headers_mut().insert("content-type", plain);
    assert_eq!(code(&app.send(form).await), is(422, "INVALID_REQUEST"));

    let long = format!("{{\"device_id\":\"{}\"}}", "x".repeat(4 * 1024 * 1024));
    let answer = app
        .send(ann.request("POST", DEVICES, Body::from(long)))
        .await;
    let (status, code, detail) = problem(&answer);
    assert_eq!((status, &*code), (413, "TOO_LARGE"));
    assert!(detail.contains("4194304"), "{detail}");
}

#[tokio::test]
async fn without_valkey_the_answer_is_to_come_again() {
    let (mut app, ann) = (App::start().await, User::new("ann"));
    ann.register(&app, "d").await;
    app.valkey.kill();
    let answer = ann.get(&app, DEVICES).await;
    assert_eq!(code(&answer), is(503, "UNAVAILABLE"));
    assert_eq!(answer.header("retry-after"), "2");
}

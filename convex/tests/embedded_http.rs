//! What all routes of the embedded store have in common: keys, checks and their order, limits.
#![allow(clippy::unwrap_used)]

mod common;

use common::{IMPORT, KEY, Server, answer, import_body};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn every_route_wants_the_deploy_key() {
    let server = Server::start().await;
    let routes = [
        (Method::GET, "/api/json_schemas"),
        (Method::GET, "/api/list_snapshot"),
        (Method::POST, "/api/list_snapshot"),
        (Method::GET, "/api/document_deltas"),
        (Method::POST, "/api/document_deltas"),
        (Method::GET, "/api/test_streaming_export_connection"),
        (Method::GET, "/api/get_table_column_names"),
        (
            Method::GET,
            "/api/streaming_import/primary_key_indexes_ready",
        ),
        (Method::PUT, "/api/streaming_import/add_primary_key_indexes"),
        (Method::PUT, "/api/streaming_import/clear_tables"),
        (Method::POST, "/api/streaming_import/replace_tables"),
        (Method::POST, IMPORT),
        (Method::GET, "/api/query"),
        (Method::POST, "/api/query"),
        (Method::POST, "/api/mutation"),
    ];
    for (method, path) in routes {
        let url = format!("{}{path}", server.url);
        // The body is broken too: the key is looked at first.
        let request = || server.http.request(method.clone(), &url).body("{");
        let (status, body) = answer(request()).await;
        assert_eq!(
            (status, &body["code"]),
            (403, &json!("BadDeployKey")),
            "{method} {path}"
        );
        let (status, body) = answer(request().header("Authorization", "Convex wrong")).await;
        assert_eq!(
            (status, &body["code"]),
            (401, &json!("BadAdminKey")),
            "{method} {path}"
        );
        assert_eq!(body.as_object().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn checks_come_in_their_order() {
    let server = Server::start().await;
    let bare = |path: &str| server.http.get(format!("{}{path}", server.url));
    // The client header, then the query string, then the key.
    let (status, body) =
        answer(bare("/api/list_snapshot?snapshot=x").header("Convex-Client", "airbyte")).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("InvalidClientVersion"))
    );
    let (status, body) = answer(bare("/api/list_snapshot?snapshot=x")).await;
    assert_eq!((status, &body["code"]), (400, &json!("BadQueryArgs")));
    let (status, body) = answer(bare("/api/json_schemas?deltaSchema=1")).await;
    assert_eq!((status, &body["code"]), (400, &json!("BadQueryArgs")));
    let (status, body) = answer(bare("/api/list_snapshot?snapshot=-1&format=xml")).await;
    assert_eq!((status, &body["code"]), (403, &json!("BadDeployKey")));
    let (status, _) = answer(bare(&format!("/api/list_snapshot?adminKey={KEY}"))).await;
    assert_eq!(status, 200);
    let unknown = server.get("/api/list_snapshot").await;
    assert_eq!(unknown.0, 200);
    let accepted = answer(
        server
            .request(Method::GET, "/api/json_schemas")
            .header("Convex-Client", "airbyte-export-0.4.0"),
    )
    .await;
    assert_eq!(accepted, (200, json!({})));
}

#[tokio::test]
async fn the_connection_test_answers_null() {
    let server = Server::start().await;
    let response = server
        .request(Method::GET, "/api/test_streaming_export_connection")
        .send()
        .await
        .unwrap();
    assert_eq!(response.headers()["content-type"], "application/json");
    assert_eq!(response.text().await.unwrap(), "null");
}

#[tokio::test]
async fn unknown_paths_and_methods_have_no_body() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/api/get_tables_and_columns").await,
        (404, Value::Null)
    );
    let response = server
        .request(Method::DELETE, "/api/list_snapshot")
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 405);
    assert!(
        response.headers()["allow"]
            .to_str()
            .unwrap()
            .contains("POST")
    );
    assert!(response.bytes().await.unwrap().is_empty());
    let head = server
        .request(Method::HEAD, "/api/list_snapshot")
        .send()
        .await
        .unwrap();
    assert_eq!(head.status(), 200);
}

#[tokio::test]
async fn bodies_that_are_no_json_or_too_large_are_refused() {
    let server = Server::start().await;
    let send = async |path: &str, content_type: &str, body: Vec<u8>| {
        let request = server
            .request(Method::POST, path)
            .header("Content-Type", content_type)
            .body(body);
        let (status, body) = answer(request).await;
        (status, body["code"].as_str().map(str::to_owned))
    };
    let refused = (400, Some("BadJsonBody".to_owned()));
    assert_eq!(
        send("/api/list_snapshot", "text/plain", b"{}".to_vec()).await,
        refused
    );
    assert_eq!(
        send("/api/list_snapshot", "application/json", b"{".to_vec()).await,
        refused
    );
    assert_eq!(
        send(
            "/api/list_snapshot",
            "application/vnd.x+json; charset=utf-8",
            b"{}".to_vec()
        )
        .await,
        (200, None)
    );
    let padded = |size: usize| {
        let mut body = b"{}".to_vec();
        body.resize(size, b' ');
        body
    };
    assert_eq!(
        send("/api/list_snapshot", "application/json", padded(2 << 20)).await,
        (200, None)
    );
    assert_eq!(
        send(
            "/api/list_snapshot",
            "application/json",
            padded((2 << 20) + 1)
        )
        .await,
        refused
    );
    let mut import = import_body("t", None, [json!({ "n": 1 })])
        .to_string()
        .into_bytes();
    import.resize(20 << 20, b' ');
    assert_eq!(
        send(IMPORT, "application/json", import.clone()).await,
        (200, None)
    );
    import.push(b' ');
    assert_eq!(send(IMPORT, "application/json", import).await, refused);
}

#[tokio::test]
async fn browsers_of_any_origin_are_let_in() {
    let server = Server::start().await;
    let preflight = server
        .http
        .request(Method::OPTIONS, format!("{}/api/query", server.url))
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST")
        .header(
            "Access-Control-Request-Headers",
            "authorization,content-type",
        );
    let response = preflight.send().await.unwrap();
    let headers = response.headers();
    assert_eq!(
        headers["access-control-allow-origin"],
        "https://app.example"
    );
    assert_eq!(
        headers["access-control-allow-headers"],
        "authorization,content-type"
    );
    assert_eq!(headers["access-control-allow-credentials"], "true");
    assert_eq!(headers["access-control-max-age"], "86400");
}

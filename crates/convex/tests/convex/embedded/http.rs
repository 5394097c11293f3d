//! What all routes of the embedded store have in common: keys, checks and their order, limits.

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{IMPORT, KEY, Server, answer, import_body};

/// All routes, with a body that each accepts, and the permission they need: export, import, none,
/// or that of a function.
fn routes() -> Vec<(Method, &'static str, Value, &'static str)> {
    const EXPORT: &str = "deployment:data:view";
    const TO_IMPORT: &str = "deployment:backups:import";
    let import = |path: &'static str, method: Method, body: Value| (method, path, body, TO_IMPORT);
    let definition = json!({ "tableDefinition": { "tableName": "made", "indexes": [] } });
    let truncation = json!({ "tableName": "t", "deleteType": "HardDelete" });
    vec![
        (Method::GET, "/api/json_schemas", Value::Null, EXPORT),
        (Method::GET, "/api/list_snapshot", Value::Null, EXPORT),
        (Method::POST, "/api/list_snapshot", json!({}), EXPORT),
        (
            Method::GET,
            "/api/document_deltas?cursor=9000000000000000000",
            Value::Null,
            EXPORT,
        ),
        (
            Method::POST,
            "/api/document_deltas",
            json!({ "cursor": 9_000_000_000_000_000_000i64 }),
            EXPORT,
        ),
        (
            Method::GET,
            "/api/test_streaming_export_connection",
            Value::Null,
            EXPORT,
        ),
        (
            Method::GET,
            "/api/get_table_column_names",
            Value::Null,
            EXPORT,
        ),
        (Method::POST, "/api/v1/data/sync", json!({}), EXPORT),
        (
            Method::GET,
            "/api/v1/data/list_active_syncs",
            Value::Null,
            EXPORT,
        ),
        // Refused for its cursor, once it comes that far.
        (
            Method::POST,
            "/api/data_sync_cursor_from_deltas",
            json!({ "cursor": 9_000_000_000_000_000_000i64 }),
            EXPORT,
        ),
        import(
            "/api/streaming_import/primary_key_indexes_ready",
            Method::GET,
            json!({ "tables": [] }),
        ),
        import(
            "/api/streaming_import/add_primary_key_indexes",
            Method::PUT,
            json!({ "indexes": {} }),
        ),
        import(
            "/api/streaming_import/clear_tables",
            Method::PUT,
            json!({ "tableNames": [] }),
        ),
        import(
            IMPORT,
            Method::POST,
            json!({ "tables": {}, "messages": [] }),
        ),
        import("/api/streaming_import/get_schema", Method::GET, Value::Null),
        import(
            "/api/streaming_import/fivetran_create_table",
            Method::POST,
            definition,
        ),
        import(
            "/api/streaming_import/fivetran_truncate_table",
            Method::POST,
            truncation,
        ),
        import(
            "/api/streaming_import/apply_fivetran_operations",
            Method::POST,
            json!([]),
        ),
        import(
            "/api/import?format=jsonLines&tableName=t&mode=append",
            Method::POST,
            json!({}),
        ),
        // Always 400, whatever the key may do.
        (
            Method::POST,
            "/api/streaming_import/replace_tables",
            json!({ "tableNames": {} }),
            "",
        ),
        (
            Method::GET,
            "/api/query?path=sluice:getMany&args=%7B%22user%22%3A%22u%22%2C%22ids%22%3A%5B%5D%7D",
            Value::Null,
            "deployment:functions:runInternalQueries",
        ),
        (
            Method::POST,
            "/api/query",
            json!({ "path": "sluice:getMany", "args": { "user": "u", "ids": [] } }),
            "deployment:functions:runInternalQueries",
        ),
        (
            Method::POST,
            "/api/mutation",
            json!({ "path": "sluice:remove", "args": { "user": "u", "docIds": [] } }),
            "deployment:functions:runInternalMutations",
        ),
    ]
}

#[tokio::test]
async fn every_route_wants_the_deploy_key() {
    let server = Server::start().await;
    for (method, path, ..) in routes() {
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
        let client = request().header("Convex-Client", "nodash");
        assert_eq!(
            answer(client).await.1["code"],
            json!("InvalidClientVersion")
        );
    }
}

#[tokio::test]
async fn a_limited_key_opens_what_it_permits_and_nothing_else() {
    let permissions = [
        "deployment:data:view",
        "deployment:backups:import",
        "deployment:functions:runInternalQueries",
        "deployment:functions:runInternalMutations",
    ];
    let server = Server::with(|config| {
        for (n, permission) in permissions.iter().enumerate() {
            let key = format!("prod:test|limited{n}={permission}");
            config.limited_keys.push(key.parse().unwrap());
        }
    })
    .await;
    for (n, granted) in permissions.iter().enumerate() {
        for (method, path, body, needed) in routes() {
            let request = server
                .http
                .request(method.clone(), format!("{}{path}", server.url));
            let request = request.header("Authorization", format!("Convex limited{n}"));
            let request = if body.is_null() {
                request
            } else {
                request.json(&body)
            };
            let (status, answer) = answer(request).await;
            let code = answer["code"].as_str().unwrap_or_default();
            if needed.is_empty() || needed == *granted {
                assert_ne!(code, "OperationNotPermitted", "{method} {path}");
            } else {
                assert_eq!(
                    (status, code),
                    (403, "OperationNotPermitted"),
                    "{method} {path}"
                );
                assert!(answer["message"].as_str().unwrap().contains(needed));
            }
        }
    }
}

#[tokio::test]
async fn an_export_that_is_switched_off_is_refused_before_the_permission_is_looked_at() {
    let server = Server::with(|config| {
        config.export = false;
        let key = "limited=deployment:backups:import";
        config.limited_keys.push(key.parse().unwrap());
    })
    .await;
    for (method, path, body, needed) in routes() {
        let request = server
            .http
            .request(method.clone(), format!("{}{path}", server.url));
        let request = request.header("Authorization", "Convex limited");
        let request = if body.is_null() {
            request
        } else {
            request.json(&body)
        };
        let (status, answer) = answer(request).await;
        let off = (status, &answer["code"]) == (403, &json!("StreamingExportNotEnabled"));
        assert_eq!(off, needed == "deployment:data:view", "{method} {path}");
    }
}

/// Section 2's list of checks: each request is wrong in one more way than the one after it, and is
/// refused for the first.
#[tokio::test]
async fn each_check_comes_before_the_ones_after_it() {
    let server = Server::with(|config| {
        let key = "importer=deployment:backups:import";
        config.limited_keys.push(key.parse().unwrap());
    })
    .await;
    let code = async |client: &str, key: &str, method: Method, path: &str, body: Option<&str>| {
        let mut request = server
            .http
            .request(method, format!("{}{path}", server.url))
            .header("Convex-Client", client);
        if !key.is_empty() {
            request = request.header("Authorization", format!("Convex {key}"));
        }
        if let Some(body) = body {
            let json = request.header("Content-Type", "application/json");
            request = json.body(body.to_owned());
        }
        let (_, answer) = answer(request).await;
        answer["code"].as_str().unwrap_or_default().to_owned()
    };
    let get = async |client: &str, key: &str, query: &str| {
        code(
            client,
            key,
            Method::GET,
            &format!("/api/list_snapshot?{query}"),
            None,
        )
        .await
    };
    let good = "airbyte-export-0.4.0";
    assert_eq!(get("x", "", "snapshot=x").await, "InvalidClientVersion");
    assert_eq!(
        get("npm-0.1.0", "", "snapshot=x").await,
        "ClientVersionUnsupported"
    );
    assert_eq!(get(good, "", "snapshot=x").await, "BadQueryArgs");
    assert_eq!(get(good, "", "cursor=x").await, "BadDeployKey");
    assert_eq!(get(good, "wrong", "cursor=x").await, "BadAdminKey");
    assert_eq!(
        get(good, "importer", "cursor=x").await,
        "OperationNotPermitted"
    );
    assert_eq!(
        get(good, "s3cret", "cursor=x&format=y").await,
        "InvalidListSnapshotCursor"
    );
    assert_eq!(get(good, "s3cret", "format=y").await, "BadFormat");

    let post = async |key: &str, body: &str| {
        code(good, key, Method::POST, "/api/list_snapshot", Some(body)).await
    };
    assert_eq!(post("", "{").await, "BadDeployKey");
    assert_eq!(post("wrong", "{").await, "BadAdminKey");
    assert_eq!(post("importer", "{").await, "BadJsonBody");
    assert_eq!(
        post("importer", r#"{"cursor":"x"}"#).await,
        "OperationNotPermitted"
    );
    assert_eq!(
        post("s3cret", r#"{"cursor":"x","format":"y"}"#).await,
        "InvalidListSnapshotCursor"
    );
    assert_eq!(post("s3cret", r#"{"format":"y"}"#).await, "BadFormat");

    let import = async |body: &str| code(good, "s3cret", Method::POST, IMPORT, Some(body)).await;
    assert_eq!(import(r#"{"messages":[]}"#).await, "BadJsonBody");
    // Whatever is wrong further down, nothing of it is looked at before the body is of its shape.
    assert_eq!(
        import(r#"{"tables":{"t":{"primaryKey":[]}},"messages":[]}"#).await,
        "BadJsonBody"
    );
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
async fn unknown_paths_are_told_and_methods_have_no_body() {
    let server = Server::start().await;
    let (status, body) = server.get("/api/get_tables_and_columns").await;
    assert_eq!((status, &body["code"]), (404, &json!("NotFound")));
    assert!(body["message"].as_str().unwrap().contains("/api/query"));
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

#[tokio::test]
async fn the_version_and_the_name_are_told_without_a_key() {
    let server = Server::start().await;
    for path in ["/version", "/instance_version", "/instance_name"] {
        let response = server
            .http
            .get(format!("{}{path}", server.url))
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{path}");
        assert!(!response.text().await.unwrap().is_empty(), "{path}");
    }
}

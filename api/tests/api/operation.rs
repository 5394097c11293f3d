use std::collections::HashSet;

use axum::body::Body;
use axum::http::{Method, Request};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use sluice_api::ApiConfig;
use sluice_api::auth::Scope;
use sluice_convex::{FilesVia, files};
use sluice_store::documents::DocumentsConfig;
use sluice_store::tail::Tail;
use sluice_test_support::Contract;
use tower::ServiceExt as _;

use crate::app::{Answer, App};
use crate::documents;

async fn open(app: &App, path: &str) -> Answer {
    app.send(Request::get(path).body(Body::empty()).unwrap())
        .await
}

#[tokio::test]
async fn readiness_names_the_part_that_is_down() {
    let mut app = App::start().await;
    let ready = open(&app, "/readyz").await;
    assert_eq!(
        (ready.status.as_u16(), ready.json()["status"].as_str()),
        (200, Some("ok"))
    );
    // Entries that are cached may be older without it, but are served.
    assert_eq!(ready.json()["tail"], "unattended");

    app.stop_convex();
    let without_convex = open(&app, "/readyz").await;
    assert_eq!(without_convex.status, 503);
    assert_eq!(without_convex.json()["valkey"], "ok");
    assert_eq!(without_convex.json()["convex"], "unavailable");

    app.valkey.kill();
    let without_both = open(&app, "/readyz").await;
    assert_eq!(without_both.json()["valkey"], "unavailable");
    assert_eq!(open(&app, "/healthz").await.status, 200);
}

#[tokio::test]
async fn workers_are_ready_while_valkey_answers() {
    let mut app = App::start().await;
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    let parts = sluice_api::Probes {
        queues: app.queues.clone(),
        files: files(app.convex.clone(), FilesVia::Functions),
        tail: Tail::new(app.cache.valkey()),
        needs_convex: false,
    };
    let probes = sluice_api::probes(parts, metrics);
    let ask = async |path: &str| {
        let request = Request::get(path).body(Body::empty()).unwrap();
        probes.clone().oneshot(request).await.unwrap().status()
    };
    app.stop_convex();
    for path in ["/healthz", "/readyz", "/metrics"] {
        assert_eq!(ask(path).await, 200, "{path}");
    }
    app.valkey.kill();
    assert_eq!(ask("/readyz").await, 503);
    assert_eq!(ask("/healthz").await, 200);
}

#[tokio::test]
async fn metrics_need_admin() {
    let app = App::start().await;
    assert_eq!(
        open(&app, "/metrics").await.error(),
        (401, "unauthorized".to_owned())
    );
    let scopes = [Scope::MetaRead, Scope::MetaWrite];
    assert_eq!(
        app.get("/metrics", &scopes).await.error(),
        (403, "forbidden".to_owned())
    );
    assert_eq!(app.get("/metrics", &[Scope::Admin]).await.status, 200);
}

#[tokio::test]
async fn the_document_describes_every_endpoint() {
    let app = App::start().await;
    let document = open(&app, "/openapi.json").await.json();
    for (path, method) in [
        ("/api/v1/e/meta/sync", "post"),
        ("/api/v1/e/meta/prefetch", "post"),
        ("/api/v1/e/meta/invalidate", "post"),
        ("/api/v1/meta/{fileId}", "get"),
        ("/api/v1/meta", "get"),
        ("/api/v1/jobs/{id}", "get"),
        ("/api/sync/{service}/documents", "get"),
        ("/api/sync/{service}/documents/batch", "post"),
        ("/api/sync/{service}/documents/{id}", "put"),
        ("/api/sync/{service}/documents/{id}/mutate", "post"),
        ("/healthz", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    ] {
        let responses = &document["paths"][path][method]["responses"];
        assert!(responses["200"].is_object(), "{method} {path}");
    }
    assert_eq!(
        document["components"]["schemas"]["UserId"]["maxLength"],
        256
    );
    let mutate = &document["paths"]["/api/sync/{service}/documents/{id}/mutate"]["post"];
    let parameters: Vec<&str> = mutate["parameters"]
        .as_array()
        .unwrap()
        .iter()
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        parameters,
        ["service", "id", "If-Match", "Idempotency-Key", "Prefer"]
    );
    assert!(mutate["responses"]["202"].is_object());
}

#[tokio::test]
async fn every_reference_in_the_document_leads_somewhere() {
    let app = App::start().await;
    let document = open(&app, "/openapi.json").await;
    let schemas = &document.json()["components"]["schemas"];
    let text = document.text();
    let references = text.split("\"#/components/schemas/").skip(1);
    let mut count = 0;
    for name in references.map(|rest| rest.split('"').next().unwrap()) {
        assert!(schemas[name].is_object(), "{name}");
        count += 1;
    }
    assert!(count > 10);
}

#[tokio::test]
async fn what_callers_send_is_taken_up_to_the_bounds_of_the_document_and_no_further() {
    let config = ApiConfig {
        documents: DocumentsConfig {
            max_mutations: 2,
            ..DocumentsConfig::default()
        },
        ..ApiConfig::default()
    };
    let app = App::start_with_json_and(config).await;
    let contract = Contract::new(open(&app, "/openapi.json").await.json());
    documents::create(&app, "d", json!({"n": 1})).await;
    let beyond = |bound: u64| serde_json::from_str::<Value>(&format!("{}", bound as u128 + 1));
    let step = json!({"op": "increment", "path": "/n", "value": 1});
    let long = "a".repeat(128);
    for (schema, value, is_right) in [
        ("ExpiryTime", json!(i64::MAX), true),
        ("ExpiryTime", beyond(i64::MAX as u64).unwrap(), false),
        ("ExpiryTime", json!(-1), false),
        ("Revision", json!(0), true),
        ("Revision", json!(u64::MAX), true),
        ("Revision", beyond(u64::MAX).unwrap(), false),
        ("Revision", json!(-1), false),
        ("Revision", json!("7-1795289394786"), true),
        ("Revision", json!("7"), false),
        ("Revision", json!("07-1"), false),
        ("Mutations", json!([]), false),
        ("Mutations", json!([step, step]), true),
        ("Mutations", json!([step, step, step]), false),
        ("Name", json!("."), false),
        ("Name", json!(".."), false),
        ("Name", json!("..."), true),
        ("Name", json!("..a"), true),
        ("Name", json!(""), false),
        ("Name", json!("a/b"), false),
        ("Name", json!(long), true),
        ("Name", json!(format!("{long}a")), false),
    ] {
        let (method, path, body) = match schema {
            "ExpiryTime" => ("PATCH", "/d/merge", json!({"data": {}, "expiresAt": value})),
            "Revision" => ("DELETE", "/d", json!({"expectedRevision": value})),
            "Mutations" => ("POST", "/d/mutate", json!({"mutations": value})),
            _ => ("POST", "", json!({"id": value, "data": {}})),
        };
        let path = format!("{}{path}", documents::PATH);
        let answer = documents::call(&app, method, &path, &body).await;
        assert_eq!(contract.takes(schema, &value), is_right, "{schema} {value}");
        assert_eq!(answer.status != 400, is_right, "{body}: {}", answer.text());
    }
}

#[test]
fn operations_have_ids_of_their_own_and_describe_every_variable_of_their_path() {
    let document = serde_json::to_value(sluice_api::openapi()).unwrap();
    let mut seen = HashSet::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        let variables: Vec<&str> = path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .collect();
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap().to_owned();
            assert!(seen.insert(id), "{method} {path}");
            let parameters = operation["parameters"].as_array();
            let described: Vec<&str> = parameters
                .into_iter()
                .flatten()
                .filter(|it| it["in"] == "path" && it["required"] == true)
                .map(|it| it["name"].as_str().unwrap())
                .collect();
            assert_eq!(described, variables, "{method} {path}");
        }
    }
    assert!(seen.len() > 10);
}

#[tokio::test]
async fn the_docs_are_one_page_that_needs_nothing_else() {
    let app = App::start().await;
    let page = open(&app, "/docs").await;
    assert_eq!(page.status, 200);
    assert!(
        page.header("content-security-policy")
            .starts_with("default-src 'none'")
    );
    let text = page.text();
    assert!(text.contains("/api/v1/e/meta/sync") && text.contains("id=\"shape-SyncBody\""));
    assert!(!text.contains("http://") && !text.contains("https://"));
}

#[tokio::test]
async fn unknown_routes_and_methods_are_answered_in_json() {
    let app = App::start().await;
    assert_eq!(
        open(&app, "/nowhere").await.error(),
        (404, "not_found".to_owned())
    );
    let answer = open(&app, "/api/v1/e/meta/sync").await;
    assert_eq!(answer.error(), (405, "method_not_allowed".to_owned()));
    assert_eq!(answer.header("allow"), "POST");
}

#[tokio::test]
async fn answers_carry_a_request_id_and_a_fit_one_is_kept() {
    let app = App::start().await;
    let with = async |id: &str| {
        let request = Request::get("/healthz")
            .header("x-request-id", id)
            .body(Body::empty())
            .unwrap();
        app.send(request).await.header("x-request-id").to_owned()
    };
    assert_eq!(with("trace-1.a_B").await, "trace-1.a_B");
    for unfit in ["", "a b", "a=\"b\"", &"x".repeat(65)] {
        let given = with(unfit).await;
        assert_ne!(given, unfit);
        assert_eq!(given.len(), 16);
    }
}

#[tokio::test]
async fn other_origins_may_call_only_when_configured() {
    let preflight = || {
        Request::builder()
            .method(Method::OPTIONS)
            .uri("/api/v1/meta")
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET")
            .header("access-control-request-headers", "authorization")
            .body(Body::empty())
            .unwrap()
    };
    let closed = App::start().await;
    let answer = closed.send(preflight()).await;
    assert_eq!(answer.header("access-control-allow-origin"), "");

    let cors_origins = vec!["https://app.example".parse().unwrap()];
    let open = App::start_with(ApiConfig {
        cors_origins,
        ..ApiConfig::default()
    })
    .await;
    let answer = open.send(preflight()).await;
    assert_eq!(
        answer.header("access-control-allow-origin"),
        "https://app.example"
    );
    assert_eq!(
        answer.header("access-control-allow-headers"),
        "authorization"
    );
}

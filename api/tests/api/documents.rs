use axum::body::Body;
use axum::http::{HeaderValue, Request};
use serde_json::{Value, json};
use sluice_api::auth::Scope;

use crate::app::{Answer, App, token};

pub const ALL: &[Scope] = &[Scope::DocsRead, Scope::DocsWrite];
pub const PATH: &str = "/api/sync/session/documents";

pub fn request(method: &str, path: &str, scopes: &[Scope], body: &Value) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .header("authorization", format!("Bearer {}", token(scopes)))
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap()
}

pub async fn call(app: &App, method: &str, path: &str, body: &Value) -> Answer {
    app.send(request(method, path, ALL, body)).await
}

pub async fn call_with(
    app: &App,
    (method, path): (&str, &str),
    (name, value): (&'static str, &str),
    body: &Value,
) -> Answer {
    let mut request = request(method, path, ALL, body);
    request
        .headers_mut()
        .insert(name, HeaderValue::from_str(value).unwrap());
    app.send(request).await
}

pub fn at(id: &str) -> String {
    format!("{PATH}/{id}")
}

pub async fn create(app: &App, id: &str, data: Value) {
    let created = call(app, "POST", PATH, &json!({"id": id, "data": data})).await;
    assert_eq!(created.status, 201, "{}", created.text());
}

#[tokio::test]
async fn a_document_is_created_read_and_replaced() {
    let app = App::start_with_json().await;
    let created = call(&app, "POST", PATH, &json!({"data": {"n": i64::MAX}})).await;
    assert_eq!(created.status, 201, "{}", created.text());
    let envelope = created.json();
    let id = envelope["id"].as_str().unwrap();
    assert!(id.starts_with("doc_"), "{id}");
    assert_eq!(created.header("location"), at(id));
    let time = &envelope["createdAt"];
    assert_eq!(
        envelope,
        json!({
            "service": "session", "id": id, "revision": 1, "data": {"n": i64::MAX},
            "createdAt": time, "updatedAt": time,
        })
    );

    let read = app.get(&at(id), ALL).await;
    assert_eq!((read.status.as_u16(), read.json()), (200, envelope.clone()));
    assert_eq!(read.header("etag"), "\"1\"");

    let body = json!({"data": {"m": 1}, "expectedRevision": 1});
    let replaced = call(&app, "PUT", &at(id), &body).await;
    assert_eq!(replaced.status, 200);
    assert_eq!(replaced.json()["revision"], 2);
    assert_eq!(replaced.json()["data"], json!({"m": 1}));

    let late = call(&app, "PUT", &at(id), &body).await;
    assert_eq!(late.error(), (409, "revision_conflict".into()));
    assert_eq!(late.json()["expectedRevision"], 1);
    assert_eq!(late.json()["currentRevision"], 2);
}

#[tokio::test]
async fn without_the_json_module_the_reason_is_told() {
    let app = App::start().await;
    let answer = app.get(&at("a"), ALL).await;
    assert_eq!(answer.error(), (503, "json_module_missing".into()));
}

#[tokio::test]
async fn every_write_answers_the_envelope_of_the_next_revision() {
    let app = App::start_with_json().await;
    let body = json!({"id": "a", "data": {"n": 1, "keep": []}});
    assert_eq!(call(&app, "POST", PATH, &body).await.status, 201);
    let data = json!({"data": {"m": {"x": null}}});
    let merged = call(&app, "PATCH", &at("a/merge"), &data).await;
    assert_eq!(merged.json()["data"], json!({"n": 1, "keep": [], "m": {}}));

    let body = json!({"mutations": [
        {"op": "increment", "path": "/n", "value": 41},
        {"op": "append", "path": "/keep", "value": "é"},
    ], "expectedRevision": 2});
    let mutated = call(&app, "POST", &at("a/mutate"), &body).await;
    assert_eq!(mutated.json()["revision"], 3, "{}", mutated.text());
    assert_eq!(
        mutated.json()["data"],
        json!({"n": 42, "keep": ["é"], "m": {}})
    );

    let deleted = call(&app, "DELETE", &at("a"), &Value::Null).await;
    assert_eq!(deleted.json()["deleted"], true);
    assert_eq!(deleted.header("etag"), "\"4\"");
    assert_eq!(
        app.get(&at("a"), ALL).await.error(),
        (404, "not_found".into())
    );
    let again = call(&app, "DELETE", &at("a"), &Value::Null).await;
    assert_eq!(again.error(), (404, "not_found".into()));

    let restored = call(&app, "POST", &at("a/restore"), &Value::Null).await;
    assert_eq!(
        (restored.status.as_u16(), &restored.json()["revision"]),
        (200, &json!(5))
    );
    let again = call(&app, "POST", &at("a/restore"), &Value::Null).await;
    assert_eq!(again.error(), (409, "not_deleted".into()));
}

#[tokio::test]
async fn errors_have_the_documented_status_and_say_what_is_wrong() {
    let app = App::start_with_json().await;
    let body = json!({"id": "a", "data": {"n": 1}});
    assert_eq!(call(&app, "POST", PATH, &body).await.status, 201);
    let deep = (0..64).fold(json!({}), |inner, _| json!({"d": inner}));
    let long = "a".repeat(129);
    let mutations = vec![json!({"op": "toggle", "path": "/n"}); 1_001];
    for (method, path, body, expected, words) in [
        ("POST", PATH, body, (409, "already_exists"), "id"),
        ("PUT", &at("b"), json!({"data": {}}), (404, "not_found"), ""),
        (
            "PUT",
            &at("a b".replace(' ', "%20").as_str()),
            json!({"data": {}}),
            (400, "invalid_request"),
            "id:",
        ),
        (
            "PUT",
            &at(&long),
            json!({"data": {}}),
            (400, "invalid_request"),
            "id:",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": []}),
            (400, "invalid_request"),
            "data",
        ),
        ("PUT", &at("a"), json!({}), (400, "invalid_request"), "data"),
        (
            "PUT",
            &at("a"),
            json!({"data": {}, "x": 1}),
            (400, "invalid_request"),
            "x",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": {}, "expectedRevision": "1"}),
            (400, "invalid_request"),
            "expectedRevision",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": {}, "expiresAt": 1}),
            (400, "invalid_request"),
            "expiresAt",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": deep}),
            (400, "document_too_deep"),
            "64",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": {"x": "x".repeat(1 << 20)}}),
            (413, "document_too_large"),
            "1048576",
        ),
        (
            "PUT",
            &at("a"),
            json!({"data": {"x": "x".repeat(3 << 20)}}),
            (413, "document_too_large"),
            "1048576",
        ),
        (
            "POST",
            &at("a/mutate"),
            json!({"mutations": []}),
            (400, "invalid_request"),
            "mutations",
        ),
        (
            "POST",
            &at("a/mutate"),
            json!({"mutations": mutations}),
            (400, "too_many_mutations"),
            "1000",
        ),
        (
            "POST",
            &at("a/mutate"),
            json!({"mutations": [{"op": "pop", "path": ""}]}),
            (400, "invalid_request"),
            "mutations[0]",
        ),
        (
            "POST",
            &at("a/mutate"),
            json!({"mutations": [{"op": "set", "path": "/a"}]}),
            (400, "invalid_request"),
            "value",
        ),
        (
            "POST",
            PATH,
            json!({"id": "a/b", "data": {}}),
            (400, "invalid_request"),
            "id:",
        ),
    ] {
        let answer = call(&app, method, path, &body).await;
        assert_eq!(
            answer.error(),
            (expected.0, expected.1.into()),
            "{}",
            answer.text()
        );
        let message = answer.json()["message"].to_string();
        assert!(message.contains(words), "{message} does not name {words}");
    }
    let misfit = json!({"mutations": [
        {"op": "increment", "path": "/n", "value": 1},
        {"op": "increment", "path": "/m", "value": 1},
    ]});
    let answer = call(&app, "POST", &at("a/mutate"), &misfit).await;
    assert_eq!(answer.error(), (400, "invalid_mutation".into()));
    assert_eq!(answer.json()["mutation"], 1);
    assert_eq!(app.get(&at("a"), ALL).await.json()["revision"], 1);
}

#[tokio::test]
async fn entity_tags_are_revisions() {
    let app = App::start_with_json().await;
    let body = json!({"id": "a", "data": {}});
    assert_eq!(
        call(&app, "POST", PATH, &body).await.header("etag"),
        "\"1\""
    );
    let body = json!({"data": {}});
    let path = at("a");
    let write = ("PUT", path.as_str());
    let written = call_with(&app, write, ("if-match", "\"1\""), &body).await;
    assert_eq!(
        (written.status.as_u16(), written.header("etag")),
        (200, "\"2\"")
    );
    let stale = call_with(&app, write, ("if-match", "\"1\""), &body).await;
    assert_eq!(stale.error(), (412, "revision_conflict".into()));
    assert_eq!(stale.json()["currentRevision"], 2);
    assert_eq!(
        call_with(&app, write, ("if-match", "*"), &body)
            .await
            .status,
        200
    );
    for header in [
        ("if-match", "W/\"3\""),
        ("if-match", "\"3\", \"4\""),
        ("if-none-match", "*"),
    ] {
        let answer = call_with(&app, write, header, &body).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".into()),
            "{header:?}"
        );
    }
    let read = ("GET", path.as_str());
    for (tag, status) in [("\"2\"", 200), ("\"2\", W/\"3\"", 304), ("*", 304)] {
        let answer = call_with(&app, read, ("if-none-match", tag), &Value::Null).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("etag")),
            (status, "\"3\""),
            "{tag}"
        );
    }
}

#[tokio::test]
async fn a_request_sent_again_under_its_key_gets_the_first_answer() {
    let app = App::start_with_json().await;
    let key = ("idempotency-key", "once");
    let create = json!({"data": {"n": 1}});
    let first = call_with(&app, ("POST", PATH), key, &create).await;
    let again = call_with(&app, ("POST", PATH), key, &create).await;
    assert_eq!((first.status.as_u16(), again.status.as_u16()), (201, 201));
    assert_eq!(first.body, again.body);

    let path = first.header("location").to_owned() + "/mutate";
    let one = json!({"op": "increment", "path": "/n", "value": 1});
    let mutate = json!({"mutations": [one], "expectedRevision": 1});
    let first = call_with(&app, ("POST", &path), key, &mutate).await;
    let again = call_with(&app, ("POST", &path), key, &mutate).await;
    assert_eq!(first.json()["data"]["n"], 2);
    assert_eq!(first.body, again.body);
    let other = json!({"mutations": [one, one]});
    let reused = call_with(&app, ("POST", &path), key, &other).await;
    assert_eq!(reused.error(), (422, "idempotency_key_reused".into()));
}

#[tokio::test]
async fn scopes_say_who_reads_and_who_writes_where() {
    let app = App::start_with_json().await;
    let write = |scopes: &[Scope], path: &str| {
        let body = json!({"data": {}});
        app.send(request("POST", path, scopes, &body))
    };
    let narrowed = [Scope::DocsWriteTo("session".into())];
    assert_eq!(write(&narrowed, PATH).await.status, 201);
    assert_eq!(write(&[Scope::DocsWrite], PATH).await.status, 201);
    let elsewhere = write(&narrowed, "/api/sync/other/documents").await;
    assert_eq!(elsewhere.error(), (403, "forbidden".into()));
    let reader = write(&[Scope::DocsRead, Scope::MetaWrite], PATH).await;
    assert_eq!(reader.error(), (403, "forbidden".into()));
    let writer = app.get(&at("a"), &[Scope::DocsWrite]).await;
    assert_eq!(writer.error(), (403, "forbidden".into()));
    let nobody = Request::get(at("a")).body(Body::empty()).unwrap();
    assert_eq!(app.send(nobody).await.error(), (401, "unauthorized".into()));
}

#[tokio::test]
async fn documents_are_listed_in_pages() {
    let app = App::start_with_json().await;
    for id in ["b", "a", "c"] {
        call(&app, "POST", PATH, &json!({"id": id, "data": {"of": id}})).await;
    }
    let page = app.get(&format!("{PATH}?limit=2"), ALL).await.json();
    assert_eq!(page["documents"][0]["id"], "b");
    assert_eq!(page["documents"][1]["data"], json!({"of": "a"}));
    let cursor = page["cursor"].as_str().unwrap();
    let page = app
        .get(&format!("{PATH}?limit=2&cursor={cursor}"), ALL)
        .await
        .json();
    assert_eq!(page["documents"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&page["documents"][0]["id"], &page["cursor"]),
        (&json!("c"), &Value::Null)
    );
    for query in ["limit=0", "limit=1001", "cursor=x", "page=1"] {
        let answer = app.get(&format!("{PATH}?{query}"), ALL).await;
        assert_eq!(answer.error(), (400, "invalid_request".into()), "{query}");
    }
}

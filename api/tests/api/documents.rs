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

/// The entity tag of a revision of a document.
fn tag(revision: u64, envelope: &Value) -> String {
    format!("\"{revision}-{}\"", envelope["createdAt"])
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
    assert_eq!(read.header("etag"), tag(1, &envelope));

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
    assert_eq!(deleted.header("etag"), tag(4, &deleted.json()));
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
async fn conditions_hold_as_the_rfc_says() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let envelope = app.get(&at("a"), ALL).await.json();
    let put = json!({"data": {}});
    let (path, missing) = (at("a"), at("missing"));
    let mut revision = 1;
    // What follows is the status of a read and of a write; `=` stands for the document's tag, `<`
    // for an earlier one.
    for (name, value, read, write) in [
        ("if-match", "=", 200, 200),
        ("if-match", "*", 200, 200),
        ("if-match", "\"x\" , =", 200, 200),
        ("if-match", ", =,", 200, 200),
        ("if-match", "\"a,b\",=", 200, 200),
        ("if-match", "<", 412, 412),
        ("if-match", "W/=", 412, 412),
        ("if-match", "\"0N\"", 412, 412),
        ("if-match", "\"+N\"", 412, 412),
        ("if-match", "\"N\"", 200, 200),
        ("if-match", "\"N-1\"", 412, 412),
        ("if-match", "\"\u{e9}\"", 412, 412),
        ("if-match", "\"\"", 412, 412),
        ("if-match", "N", 400, 400),
        ("if-match", "= =", 400, 400),
        ("if-match", "\"N", 400, 400),
        ("if-match", "", 400, 400),
        ("if-match", "*, =", 400, 400),
        ("if-none-match", "=", 304, 412),
        ("if-none-match", "*", 304, 412),
        ("if-none-match", "W/=", 304, 412),
        ("if-none-match", "\"x\", =", 304, 412),
        ("if-none-match", "<", 200, 200),
        ("if-none-match", "\"N\"", 200, 200),
        ("if-none-match", "\"N-1\"", 200, 200),
        ("if-none-match", "N", 400, 400),
    ] {
        let fill = |value: &str| {
            let value = value.replace('=', &tag(revision, &envelope));
            let value = value.replace('<', &tag(revision - 1, &envelope));
            value.replace('N', &revision.to_string())
        };
        let header = fill(value);
        let send = async |method: &str, path: &str, body: &Value| {
            let mut request = request(method, path, ALL, body);
            // Bytes beyond ASCII come one by one, as in Latin 1.
            let bytes: Vec<u8> = header.chars().map(|it| it as u8).collect();
            let value = HeaderValue::from_bytes(&bytes).unwrap();
            request.headers_mut().insert(name, value);
            app.send(request).await.status.as_u16()
        };
        let case = format!("{name}: {header}");
        assert_eq!(send("GET", &path, &Value::Null).await, read, "GET {case}");
        let written = send("PUT", &path, &put).await;
        assert_eq!(written, write, "PUT {case}");
        revision += u64::from(written == 200);
        // No tag matches what is not there, and nothing that is ruled out is there.
        let absent = if read == 400 {
            400
        } else if name == "if-match" {
            412
        } else {
            404
        };
        assert_eq!(send("GET", &missing, &Value::Null).await, absent, "{case}");
        assert_eq!(send("PUT", &missing, &put).await, absent, "{case}");
    }
    let stale = tag(1, &envelope);
    let answer = call_with(&app, ("DELETE", &path), ("if-match", &stale), &Value::Null).await;
    assert_eq!(answer.error(), (412, "revision_conflict".into()));
    let named = answer.json();
    assert_eq!(named["expectedRevision"], 1);
    assert_eq!(named["currentRevision"], revision);
}

#[tokio::test]
async fn a_document_is_not_taken_for_a_former_one_of_its_id() {
    let app = App::start_with_json().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.unwrap().as_millis() as u64 + 1_000;
    let body = json!({"id": "a", "data": {"of": "one"}, "expiresAt": soon});
    let key = ("idempotency-key", "k");
    let first = call_with(&app, ("POST", PATH), key, &body).await;
    assert_eq!(first.status, 201, "{}", first.text());
    while app.get(&at("a"), ALL).await.status != 404 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    create(&app, "a", json!({"of": "others"})).await;

    let (path, etag) = (at("a"), first.header("etag"));
    let get = call_with(&app, ("GET", &path), ("if-none-match", etag), &Value::Null).await;
    assert_eq!(
        (get.status.as_u16(), &get.json()["data"]["of"]),
        (200, &json!("others"))
    );
    let put = json!({"data": {}});
    let written = call_with(&app, ("PUT", &path), ("if-match", etag), &put).await;
    assert_eq!(written.status, 412);
    for expected in [json!(1), json!(etag.trim_matches('"'))] {
        let put = json!({"data": {}, "expectedRevision": expected});
        let written = call(&app, "PUT", &path, &put).await;
        assert_eq!(
            written.error(),
            (409, "revision_conflict".into()),
            "{expected}"
        );
    }
    let again = call_with(&app, ("POST", PATH), key, &body).await;
    assert_eq!((again.status.as_u16(), again.header("etag")), (201, etag));
    assert_eq!(again.json()["dataOmitted"], true);
    assert_eq!(again.json()["data"], Value::Null);
}

#[tokio::test]
async fn what_a_call_does_not_take_is_refused_and_not_dropped() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 1})).await;
    let put = json!({"data": {}});
    for (method, path, body) in [
        ("PUT", "a?expectedRevision=99", &put),
        ("DELETE", "a?expectedRevision=99", &Value::Null),
        ("POST", "a/restore?x", &Value::Null),
        ("GET", "a?x=1", &Value::Null),
        ("DELETE", "a", &json!({"expectedrevision": 1})),
        ("DELETE", "a", &json!([])),
        (
            "PUT",
            "a",
            &json!({"data": {}, "expiresAt": 9_223_372_036_854_775_809_u64}),
        ),
        (
            "PATCH",
            "a/merge",
            &json!({"data": {}, "expiresAt": u64::MAX}),
        ),
        ("PUT", "%2e", &put),
        ("PUT", "%2e%2e", &put),
    ] {
        let answer = call(&app, method, &at(path), body).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".into()),
            "{method} {path} {body}"
        );
    }
    let late = json!({"data": {}, "expiresAt": u64::MAX});
    let message = call(&app, "PUT", &at("a"), &late).await.json()["message"].to_string();
    assert!(
        message.contains("expiresAt") && message.contains("9223372036854775807"),
        "{message}"
    );
    for (method, path) in [("DELETE", at("a")), ("POST", at("a/restore"))] {
        let stale = call(&app, method, &path, &json!({"expectedRevision": 99})).await;
        assert_eq!(stale.error(), (409, "revision_conflict".into()), "{method}");
        let revision = if method == "DELETE" { 1 } else { 2 };
        let body = json!({"expectedRevision": revision});
        assert_eq!(
            call(&app, method, &path, &body).await.status,
            200,
            "{method}"
        );
    }
}

#[tokio::test]
async fn a_document_that_fits_may_be_written_with_escapes() {
    let app = App::start_with_json().await;
    let text = "\\u00e9".repeat(500_000);
    let mut request = request("POST", PATH, ALL, &Value::Null);
    *request.body_mut() = Body::from(format!(r#"{{"data":{{"x":"{text}"}}}}"#));
    assert_eq!(app.send(request).await.status, 201);
    let body = json!({"data": {"x": "x".repeat(4 << 20)}});
    let answer = call(&app, "POST", PATH, &body).await;
    assert_eq!(answer.error(), (413, "document_too_large".into()));
    assert!(
        answer.json()["message"]
            .as_str()
            .unwrap()
            .starts_with("body: ")
    );
}

#[tokio::test]
async fn a_write_is_answered_with_the_bytes_that_are_read() {
    let app = App::start_with_json().await;
    let mut request = request("POST", PATH, ALL, &Value::Null);
    let body = r#"{"id":"a","data":{"f":[1e21,-0,-0.0,0.1,1.5e-9,123456789012345680000.0,1e16]}}"#;
    *request.body_mut() = Body::from(body);
    let written = app.send(request).await;
    let read = app.get(&at("a"), ALL).await;
    assert_eq!(written.text(), read.text());
    assert_eq!(written.header("etag"), read.header("etag"));
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

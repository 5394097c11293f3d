use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use sluice_api::ApiConfig;
use sluice_api::auth::Scope;
use sluice_queue::{JobId, Retried, State};

use crate::app::{Answer, App, LONG, get, token, token_of};
use crate::documents::{ALL, PATH, at, call, call_with, create, request};

const ASYNC: (&str, &str) = ("prefer", "respond-async");

fn increment(path: &str) -> Value {
    json!({"mutations": [{"op": "increment", "path": path, "value": 1}]})
}

/// An API whose service `session` is queued.
async fn queued(request_wait: Duration) -> App {
    let config = ApiConfig {
        request_wait,
        queued_services: vec!["session".to_owned()],
        ..ApiConfig::default()
    };
    App::start_with_json_and(config).await
}

async fn later(app: &App, method: &str, path: &str, body: &Value) -> JobId {
    let answer = call_with(app, (method, path), ASYNC, body).await;
    job_of(&answer)
}

fn job_of(answer: &Answer) -> JobId {
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = answer.json()["job"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("location"), format!("/api/v1/jobs/{job}"));
    JobId::parse(&job).unwrap()
}

async fn finished(app: &App, job: &JobId) -> Value {
    app.queues.wait(job, LONG).await.unwrap().unwrap();
    app.get(&format!("/api/v1/jobs/{job}"), &[Scope::Admin])
        .await
        .json()
}

#[tokio::test]
async fn a_write_may_be_answered_with_its_job() {
    let app = App::start_with_json().await;
    let body = json!({"id": "a", "data": {"n": 1}});
    let answer = call_with(&app, ("POST", PATH), ASYNC, &body).await;
    assert_eq!(answer.header("preference-applied"), "respond-async");
    let job = job_of(&answer);
    assert_eq!(app.get(&at("a"), ALL).await.status, 404);
    app.work_as_deployed();
    let view = finished(&app, &job).await;
    let envelope = app.get(&at("a"), ALL).await.json();
    let time = &envelope["createdAt"];
    assert_eq!(
        view["result"],
        json!({"service": "session", "id": "a", "revision": 1, "createdAt": time, "updatedAt": time})
    );

    let body = json!({"data": {}, "expectedRevision": 7});
    let job = later(&app, "PUT", &at("a"), &body).await;
    let refused = finished(&app, &job).await;
    assert_eq!(
        refused["error"],
        json!({"error": "revision_conflict", "expected": 7, "current": 1})
    );
}

#[tokio::test]
async fn what_is_wrong_with_a_write_in_itself_is_told_at_once() {
    let app = App::start_with_json().await;
    let deep = (0..64).fold(json!({}), |inner, _| json!({"d": inner}));
    let no_pointer = json!({"mutations": [{"op": "toggle", "path": "x"}]});
    for (method, path, body, error) in [
        (
            "PUT",
            at("a"),
            json!({"data": deep}),
            (400, "document_too_deep"),
        ),
        (
            "PUT",
            at("a"),
            json!({"data": {"x": "x".repeat(1 << 20)}}),
            (413, "document_too_large"),
        ),
        (
            "POST",
            at("a/mutate"),
            no_pointer,
            (400, "invalid_mutation"),
        ),
    ] {
        let answer = call_with(&app, (method, &path), ASYNC, &body).await;
        assert_eq!(answer.error(), (error.0, error.1.to_owned()));
    }
}

#[tokio::test]
async fn a_queued_service_answers_as_any_other() {
    let inline = App::start_with_json().await;
    let queued = queued(LONG).await;
    queued.work_as_deployed();
    let put = |n: u64, expected: u64| json!({"data": {"n": n}, "expectedRevision": expected});
    let large = json!({"data": {"x": "x".repeat(1_000_000)}});
    for (method, path, body) in [
        (
            "POST",
            PATH.to_owned(),
            json!({"id": "a", "data": {"n": 1}}),
        ),
        ("POST", PATH.to_owned(), json!({"id": "a", "data": {}})),
        ("PUT", at("a"), put(2, 1)),
        ("PUT", at("a"), put(3, 1)),
        (
            "PATCH",
            at("a/merge"),
            json!({"data": {"m": null, "x": 9007199254740993_u64}}),
        ),
        ("POST", at("a/mutate"), increment("/n")),
        ("POST", at("a/mutate"), increment("/missing")),
        ("POST", at("a/mutate"), json!({"mutations": []})),
        ("DELETE", at("a"), Value::Null),
        ("DELETE", at("a"), Value::Null),
        ("POST", at("a/restore"), Value::Null),
        ("POST", at("a/restore"), Value::Null),
        ("PUT", at("a"), large),
        ("PUT", at("b"), json!({"data": {}})),
    ] {
        let one = call(&inline, method, &path, &body).await;
        let other = call(&queued, method, &path, &body).await;
        let comparable = |answer: &Answer| {
            let mut body = answer.json();
            if let Some(body) = body.as_object_mut() {
                body.retain(|name, _| !name.ends_with("At"));
            }
            let headers = ["location", "content-type"].map(|it| answer.header(it).to_owned());
            // Behind the revision the tag has the time of the creation.
            let tag = answer.header("etag").split('-').next().map(str::to_owned);
            (answer.status, tag, headers, body)
        };
        assert_eq!(comparable(&one), comparable(&other), "{method} {path}");
    }
    for (tag, status) in [("\"6\"", 412), ("\"7\"", 200)] {
        let put = ("PUT", &*at("a"));
        let answer = call_with(&queued, put, ("if-match", tag), &json!({"data": {}})).await;
        assert_eq!(answer.status, status, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_write_that_waits_too_long_is_answered_with_its_job() {
    let app = queued(Duration::from_millis(50)).await;
    let job = job_of(&call(&app, "POST", PATH, &json!({"id": "a", "data": {}})).await);
    app.work_as_deployed();
    assert_eq!(finished(&app, &job).await["result"]["revision"], 1);
}

#[tokio::test]
async fn no_write_overtakes_one_that_was_accepted_before() {
    let app = App::start_with_json().await;
    let mut jobs = vec![later(&app, "POST", PATH, &json!({"id": "a", "data": {"all": []}})).await];
    for n in 0..10 {
        let body = json!({"mutations": [{"op": "append", "path": "/all", "value": n}]});
        jobs.push(later(&app, "POST", &at("a/mutate"), &body).await);
    }
    // Another document's writes do not wait.
    create(&app, "b", json!({})).await;
    let body = json!({"mutations": [{"op": "append", "path": "/all", "value": "last"}]});
    let path = at("a/mutate");
    let inline = call(&app, "POST", &path, &body);
    let work = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        assert_eq!(app.get(&at("a"), ALL).await.status, 404);
        app.work_as_deployed();
    };
    let (inline, ()) = tokio::join!(inline, work);
    assert_eq!(inline.status, 200, "{}", inline.text());
    let all = json!([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, "last"]);
    assert_eq!(inline.json()["data"]["all"], all);
    for (made, job) in jobs.iter().enumerate() {
        assert_eq!(finished(&app, job).await["result"]["revision"], made + 1);
    }
    // Nothing waits any more: the next one is made at once.
    app.queues.pause("documents").await.unwrap();
    let next = call(&app, "POST", &at("a/mutate"), &body).await;
    assert_eq!(next.json()["revision"], 13);
}

#[tokio::test]
async fn a_cancelled_write_is_not_made_and_says_so() {
    let app = queued(LONG).await;
    app.queues.pause("documents").await.unwrap();
    let cancel = async {
        let jobs = async || {
            let state = sluice_queue::State::Available;
            app.queues.list("documents", state, 0, 10).await.unwrap()
        };
        while jobs().await.is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let job = jobs().await.remove(0);
        assert!(app.queues.cancel(&job.id).await.unwrap());
    };
    let body = json!({"id": "a", "data": {}});
    let (answer, ()) = tokio::join!(call(&app, "POST", PATH, &body), cancel);
    assert_eq!(answer.error(), (409, "job_cancelled".to_owned()));
    app.work_as_deployed();
    app.queues.resume("documents").await.unwrap();
    assert_eq!(call(&app, "POST", PATH, &body).await.status, 201);
    // Retried by an operator, it is made after all, once.
    let job = JobId::parse(answer.json()["job"].as_str().unwrap()).unwrap();
    assert_eq!(app.queues.retry(&job).await.unwrap(), Retried::Done);
    let view = finished(&app, &job).await;
    assert_eq!(view["error"], json!({"error": "already_exists"}));
}

#[tokio::test]
async fn a_write_sent_again_under_its_key_has_the_same_job_and_answer() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 0})).await;
    let send = async |prefer: &str, body: &Value| {
        let mut again = request("POST", &at("a/mutate"), ALL, body);
        let headers = again.headers_mut();
        headers.insert("idempotency-key", "once".parse().unwrap());
        headers.insert("prefer", prefer.parse().unwrap());
        app.send(again).await
    };
    let job = job_of(&send("respond-async", &increment("/n")).await);
    assert_eq!(job_of(&send("respond-async", &increment("/n")).await), job);
    let other = send("respond-async", &increment("/m")).await;
    assert_eq!(other.error(), (422, "idempotency_key_reused".to_owned()));
    app.work_as_deployed();
    finished(&app, &job).await;
    let at_once = send("wait=30", &increment("/n")).await;
    assert_eq!(
        (at_once.status.as_u16(), &at_once.json()["revision"]),
        (200, &json!(2))
    );
    assert_eq!(job_of(&send("respond-async", &increment("/n")).await), job);
    // No trace of the repetitions holds others back.
    app.queues.pause("documents").await.unwrap();
    assert_eq!(
        call(&app, "POST", &at("a/mutate"), &increment("/n"))
            .await
            .json()["data"]["n"],
        2
    );
}

#[tokio::test]
async fn a_batch_tells_what_became_of_each_write() {
    let app = App::start_with_json().await;
    create(&app, "old", json!({"n": 1})).await;
    app.work_as_deployed();
    let batch = json!({"writes": [
        {"op": "create", "id": "a", "data": {"n": 1}},
        {"op": "mutate", "id": "a", "mutations": [{"op": "increment", "path": "/n", "value": 1}], "expectedRevision": 1},
        {"op": "merge", "id": "a", "data": {"m": 1}, "expectedRevision": 1},
        {"op": "create", "data": {}, "idempotencyKey": "k"},
        {"op": "create", "data": {}, "idempotencyKey": "k"},
        {"op": "put", "id": "old", "data": {}, "expiresAt": null},
        {"op": "delete", "id": "old"},
        {"op": "restore", "id": "old", "expectedRevision": 3},
    ]});
    let answer = call(&app, "POST", &at("batch"), &batch).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
    let statuses: Vec<u64> = outcomes
        .iter()
        .map(|it| it["status"].as_u64().unwrap())
        .collect();
    assert_eq!(statuses, [201, 200, 409, 201, 201, 200, 200, 200]);
    assert_eq!(outcomes[1]["document"]["revision"], 2);
    assert_eq!(outcomes[2]["error"]["error"], "revision_conflict");
    assert_eq!(outcomes[2]["error"]["currentRevision"], 2);
    assert_eq!(outcomes[3]["job"], outcomes[4]["job"]);
    assert_eq!(outcomes[6]["document"]["deleted"], true);
    assert_eq!(app.get(&at("a"), ALL).await.json()["data"], json!({"n": 2}));
    assert_eq!(app.get(&at("old"), ALL).await.json()["revision"], 4);
}

#[tokio::test]
async fn a_batch_that_is_not_waited_for_tells_its_jobs() {
    let app = App::start_with_json().await;
    let batch =
        json!({"writes": [{"op": "create", "id": "a", "data": {}}, {"op": "delete", "id": "a"}]});
    let answer = call_with(&app, ("POST", &at("batch")), ASYNC, &batch).await;
    assert_eq!(answer.status, 202);
    app.work_as_deployed();
    for (outcome, revision) in answer.json()["outcomes"]
        .as_array()
        .unwrap()
        .iter()
        .zip(1..)
    {
        assert_eq!(outcome["status"], 202);
        let job = JobId::parse(outcome["job"].as_str().unwrap()).unwrap();
        assert_eq!(finished(&app, &job).await["result"]["revision"], revision);
    }
}

#[tokio::test]
async fn a_batch_with_one_wrong_write_does_nothing_and_names_it() {
    let app = App::start_with_json().await;
    let fine = json!({"op": "create", "id": "a", "data": {}});
    let large = json!({"x": "x".repeat(1 << 20)});
    for (wrong, error, words) in [
        (
            json!({"op": "create", "id": "a/b", "data": {}}),
            (400, "invalid_request"),
            "writes[1]: id:",
        ),
        (
            json!({"op": "create", "id": "b"}),
            (400, "invalid_request"),
            "writes[1]: data:",
        ),
        (
            json!({"op": "put", "data": {}}),
            (400, "invalid_request"),
            "writes[1]: id:",
        ),
        (
            json!({"op": "delete", "id": "a", "data": {}}),
            (400, "invalid_request"),
            "writes[1]: data:",
        ),
        (
            json!({"op": "destroy", "id": "a"}),
            (400, "invalid_request"),
            "writes[1]",
        ),
        (
            json!({"op": "mutate", "id": "a", "mutations": []}),
            (400, "invalid_request"),
            "writes[1]",
        ),
        (
            json!({"op": "mutate", "id": "a", "mutations": [{"op": "toggle", "path": "x"}]}),
            (400, "invalid_mutation"),
            "writes[1]: mutations[0]",
        ),
        (
            json!({"op": "put", "id": "a", "data": large}),
            (413, "document_too_large"),
            "writes[1]: data:",
        ),
        (
            json!({"op": "put", "id": "a", "data": {}, "idempotencyKey": "é"}),
            (400, "invalid_request"),
            "writes[1]: idempotencyKey:",
        ),
    ] {
        let answer = call(
            &app,
            "POST",
            &at("batch"),
            &json!({"writes": [fine, wrong]}),
        )
        .await;
        assert_eq!(
            answer.error(),
            (error.0, error.1.to_owned()),
            "{}",
            answer.text()
        );
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains(words), "{message} does not name {words}");
    }
    for count in [0, 101] {
        let answer = call(
            &app,
            "POST",
            &at("batch"),
            &json!({"writes": vec![&fine; count]}),
        )
        .await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));
    }
    assert_eq!(app.queues.queues().await.unwrap(), []);
}

#[tokio::test]
async fn a_document_may_be_called_batch() {
    let app = App::start_with_json().await;
    create(&app, "batch", json!({"n": 1})).await;
    assert_eq!(app.get(&at("batch"), ALL).await.json()["id"], "batch");
    let put = call(&app, "PUT", &at("batch"), &json!({"data": {}})).await;
    assert_eq!(put.json()["revision"], 2);
    assert_eq!(
        call(&app, "POST", &at("batch/mutate"), &increment("/n"))
            .await
            .status,
        400
    );
    assert_eq!(
        call(&app, "DELETE", &at("batch"), &Value::Null)
            .await
            .json()["revision"],
        3
    );
}

#[tokio::test]
async fn a_job_of_a_document_is_shown_to_those_who_may_see_the_document() {
    let app = App::start_with_json().await;
    app.leaves_jobs(State::Available);
    let job = later(&app, "POST", PATH, &json!({"data": {}})).await;
    let path = format!("/api/v1/jobs/{job}");
    let status = async |request: Request<Body>| app.send(request).await.status.as_u16();
    assert_eq!(status(get(&path, &token(&[Scope::DocsWrite]))).await, 200);
    for (scope, expected) in [
        (Scope::DocsRead, 200),
        (Scope::Admin, 200),
        (Scope::DocsWrite, 403),
        (Scope::MetaRead, 403),
    ] {
        assert_eq!(
            status(get(&path, &token_of("other", &[scope]))).await,
            expected
        );
    }

    // One that is nobody's.
    let mut request = request("POST", PATH, &[], &json!({"data": {}}));
    let token = token_of("", &[Scope::DocsWrite]);
    let headers = request.headers_mut();
    headers.insert("authorization", format!("Bearer {token}").parse().unwrap());
    headers.insert("prefer", "respond-async".parse().unwrap());
    let answer = app.send(request).await;
    let path = answer.header("location").to_owned();
    for (service, expected) in [("session", 200), ("other", 403)] {
        let scope = Scope::DocsWriteTo(service.into());
        assert_eq!(
            status(get(&path, &token_of("other", &[scope]))).await,
            expected
        );
    }
}

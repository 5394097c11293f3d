//! What callers are answered while a queue is full.

use serde_json::{Value, json};
use sluice_queue::State;

use crate::app::{Answer, App, post};
use crate::documents::{ALL, PATH, at, call, call_with};

const ASYNC: (&str, &str) = ("prefer", "respond-async");

async fn submit(app: &App, endpoint: &str, user: &str, kind: &str) -> Answer {
    let body = json!({"user": user, "type": kind});
    let request = post(endpoint, &body).header(ASYNC.0, ASYNC.1);
    app.send(request.build()).await
}

fn assert_full(answer: &Answer) {
    assert_eq!(answer.error(), (503, "queue_full".to_owned()));
    assert_eq!(answer.header("retry-after"), "2");
}

#[tokio::test]
async fn a_request_that_a_full_queue_does_not_take_is_told_to_come_again() {
    let app = App::start_with_backlog(1).await;
    app.leaves_jobs(State::Available);
    let first = submit(&app, "sync", "ann", "allOne").await;
    assert_eq!(first.status, 202);
    assert_full(&submit(&app, "sync", "bob", "allOne").await);
    let body = submit(&app, "sync", "bob", "allOne").await.json();
    assert_eq!(
        body,
        json!({"error": "queue_full", "message": "too many requests wait for their turn"})
    );

    // The job that does the same is there.
    let again = submit(&app, "sync", "ann", "allOne").await;
    assert_eq!((again.status, again.json()), (first.status, first.json()));

    for user in ["ann", "bob"] {
        let answer = submit(&app, "invalidate", user, "OUT").await;
        assert_eq!(answer.status, 202, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_write_that_a_full_queue_does_not_take_holds_no_other_write_up() {
    let app = App::start_with_backlog(1).await;
    app.leaves_jobs(State::Available);
    let new = |id: &str| json!({"id": id, "data": {"n": 1}});
    let taken = call_with(&app, ("POST", PATH), ASYNC, &new("a")).await;
    assert_eq!(taken.status, 202);
    assert_full(&call_with(&app, ("POST", PATH), ASYNC, &new("b")).await);

    let batch = json!({"writes": [
        {"op": "create", "id": "b", "data": {}},
        {"op": "create", "id": "c", "data": {}},
    ]});
    let answer = call_with(&app, ("POST", &at("batch")), ASYNC, &batch).await;
    let outcomes = answer.json()["outcomes"].as_array().unwrap().clone();
    for outcome in &outcomes {
        assert_eq!(outcome["status"], 503, "{outcome}");
        assert_eq!(outcome["error"]["error"], "queue_full");
        assert_eq!(outcome["job"], Value::Null);
    }
    assert_eq!(outcomes.len(), 2);

    // It is made at once: none of those before it was accepted.
    for id in ["b", "c"] {
        assert_eq!(app.get(&at(id), ALL).await.status, 404);
        let written = call(&app, "POST", PATH, &new(id)).await;
        assert_eq!(written.status, 201, "{}", written.text());
    }
}

//! Writes that are accepted now and made later.

use redis::Commands;
use serde_json::{Value, from_value, json};
use sluice_store::documents::{Change, DocumentError, Expiry, Idempotency, Write};

use super::support::{Store, object, parse, replace, write};

const ACCEPTED: &str = "sd1:{s:a}:accepted";

fn increment() -> Write {
    let mutations = json!([{"op": "increment", "path": "/n", "value": 1}]);
    write(Change::Mutate(from_value(mutations).unwrap(), Expiry::Keep))
}

#[tokio::test]
async fn an_accepted_write_is_made_once_however_often_its_job_runs() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let accepted = store
        .documents
        .accept("s", "a", &increment())
        .await
        .unwrap();
    assert!(accepted.is_new);
    let run = || {
        let documents = &store.documents;
        let token = &accepted.token;
        async move {
            documents
                .write_accepted("s", "a", &increment(), token)
                .await
        }
    };
    let first = run().await.unwrap();
    assert_eq!(parse(&first)["data"]["n"], 1);
    store.change("a", replace(json!({"n": 10}))).await.unwrap();
    assert_eq!(run().await.unwrap(), first);
    assert_eq!(store.data("a").await["n"], 10);
    // Even when what it made is remembered no more.
    let record = format!("sd1:{{s:a}}:write:{}", accepted.token);
    let _: () = store.server.connection().del(record).unwrap();
    let error = run().await.unwrap_err();
    assert!(matches!(error, DocumentError::NotAccepted), "{error}");
    assert_eq!(store.data("a").await["n"], 10);
}

#[tokio::test]
async fn no_write_is_made_at_once_while_an_accepted_one_waits() {
    let store = Store::start();
    let create = write(Change::Create(object(json!({"n": 0})), Expiry::Keep));
    let accepted = store.documents.accept("s", "a", &create).await.unwrap();
    for change in [replace(json!({})), Change::Delete, create.change.clone()] {
        let error = store.change("a", change).await.unwrap_err();
        assert!(matches!(error, DocumentError::Waiting), "{error}");
    }
    store.create("b", json!({})).await;
    store
        .documents
        .write_accepted("s", "a", &create, &accepted.token)
        .await
        .unwrap();
    store.change("a", replace(json!({}))).await.unwrap();
}

#[tokio::test]
async fn a_released_write_holds_nobody_back_and_can_still_be_made() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let documents = &store.documents;
    let accepted = documents.accept("s", "a", &increment()).await.unwrap();
    documents.release("s", "a", &accepted.token).await.unwrap();
    documents.write("s", "a", &increment()).await.unwrap();
    let write = increment();
    let made = documents.write_accepted("s", "a", &write, &accepted.token);
    assert_eq!(parse(&made.await.unwrap())["data"]["n"], 2);
}

#[tokio::test]
async fn what_was_accepted_and_never_became_a_job_holds_others_back_no_longer_than_a_later_job() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let documents = &store.documents;
    let lost = documents.accept("s", "a", &increment()).await.unwrap();
    let _: () = store
        .server
        .connection()
        .zincr(ACCEPTED, &lost.token, -60_001)
        .unwrap();
    let later = documents.accept("s", "a", &increment()).await.unwrap();
    let young = documents.accept("s", "a", &increment()).await.unwrap();
    let make = async |token: &str| {
        let write = increment();
        let made = documents.write_accepted("s", "a", &write, token);
        made.await.unwrap();
    };
    make(&later.token).await;
    let error = documents.write("s", "a", &increment()).await.unwrap_err();
    assert!(matches!(error, DocumentError::Waiting), "{error}");
    make(&young.token).await;
    documents.write("s", "a", &increment()).await.unwrap();
    assert_eq!(store.data("a").await["n"], 3);
}

#[tokio::test]
async fn only_so_many_released_writes_are_remembered() {
    let store = Store::start();
    for at in 0..103 {
        let accepted = store
            .documents
            .accept("s", "a", &increment())
            .await
            .unwrap();
        // Each a millisecond of its own, so that the oldest ones are known.
        let _: () = redis::cmd("ZINCRBY")
            .arg(ACCEPTED)
            .arg(at * 1_000)
            .arg(&accepted.token)
            .query(&mut store.server.connection())
            .unwrap();
        store
            .documents
            .release("s", "a", &accepted.token)
            .await
            .unwrap();
    }
    let left: Vec<(String, f64)> = store
        .server
        .connection()
        .zrange_withscores(ACCEPTED, 0, -1)
        .unwrap();
    assert_eq!(left.len(), 100);
    assert!(left[0].1 < left[99].1 - 90_000.0);
    assert!(store.ttl("accepted") > 0);
}

#[tokio::test]
async fn under_a_key_a_write_is_accepted_once() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let keyed = |fingerprint: &str| Write {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: fingerprint.into(),
        }),
        ..increment()
    };
    let documents = &store.documents;
    let first = documents.accept("s", "a", &keyed("f")).await.unwrap();
    let again = documents.accept("s", "a", &keyed("f")).await.unwrap();
    assert_eq!((&first.token, false), (&again.token, again.is_new));
    let write = keyed("f");
    let made = documents.write_accepted("s", "a", &write, &first.token);
    let made = made.await.unwrap();
    assert!(
        !documents
            .accept("s", "a", &keyed("f"))
            .await
            .unwrap()
            .is_new
    );
    assert_eq!(documents.write("s", "a", &keyed("f")).await.unwrap(), made);
    let error = documents.accept("s", "a", &keyed("g")).await.unwrap_err();
    assert!(matches!(error, DocumentError::IdempotencyKeyReused));
}

#[tokio::test]
async fn a_document_is_read_as_one_write_left_it() {
    let store = Store::start();
    let first = store.create("a", json!({"n": 1})).await;
    let second = store.change("a", replace(json!({"n": 2}))).await.unwrap();
    store.change("a", Change::Delete).await.unwrap();
    for document in [first, second] {
        let at = store.documents.at("s", "a", document.version()).await;
        assert_eq!(at.unwrap(), Some(document));
    }
    for (id, version) in [("b", "1"), ("a", "9"), ("a", "1-5")] {
        let at = store.documents.at("s", id, version.parse().unwrap()).await;
        assert_eq!(at.unwrap(), None, "{id} {version}");
    }
}

#[test]
fn answers_are_read_as_they_were_written() {
    for (error, json) in [
        (DocumentError::NotFound, json!({"error": "not_found"})),
        (
            DocumentError::Mutation {
                index: 2,
                reason: "r".into(),
            },
            json!({"error": "invalid_mutation", "index": 2, "reason": "r"}),
        ),
        (
            DocumentError::TooLarge {
                limit: 9,
                mutation: None,
            },
            json!({"error": "document_too_large", "limit": 9}),
        ),
    ] {
        assert!(error.is_answer());
        let written: Value = serde_json::to_value(&error).unwrap();
        assert_eq!(written, json);
        let read: DocumentError = from_value(written).unwrap();
        assert_eq!(read.to_string(), error.to_string());
    }
    assert!(!DocumentError::Contended.is_answer());
    assert!(serde_json::to_value(DocumentError::Contended).is_err());
}

//! Writes, one at a time.

use std::time::Duration;

use serde_json::{Value, json};
use sluice_store::documents::{
    Change, DocumentError, DocumentsConfig, Expiry, Idempotency, Mutation, Write,
};

use super::support::{Store, at, object, parse, replace, write};

#[tokio::test]
async fn a_document_is_seen_with_json_get_as_it_is_answered() {
    let store = Store::start();
    let created = store.create("a", json!({"n": 1, "e": [], "o": {}})).await;
    assert_eq!((created.revision, created.deleted), (1, false));
    let raw: String = redis::cmd("JSON.GET")
        .arg("sd1:{s:a}:document")
        .query(&mut store.server.connection())
        .unwrap();
    let envelope: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(envelope, parse(&created));
    assert_eq!(
        parse(&store.documents.get("s", "a").await.unwrap()),
        envelope
    );
    let time = envelope["createdAt"].as_u64().unwrap();
    assert_eq!(
        envelope,
        json!({
            "service": "s", "id": "a", "revision": 1, "data": {"n": 1, "e": [], "o": {}},
            "createdAt": time, "updatedAt": time,
        })
    );
}

#[tokio::test]
async fn replacing_takes_all_data_away_and_counts_the_revision_up() {
    let store = Store::start();
    store.create("a", json!({"old": 1})).await;
    let replaced = store.change("a", replace(json!({"new": 2}))).await.unwrap();
    assert_eq!(replaced.revision, 2);
    assert_eq!(store.data("a").await, json!({"new": 2}));
}

#[tokio::test]
async fn an_id_is_given_once() {
    let store = Store::start();
    store.create("a", json!({"n": 1})).await;
    let again = Change::Create(object(json!({"n": 2})), Expiry::Keep);
    let error = store.change("a", again).await.unwrap_err();
    assert!(matches!(error, DocumentError::AlreadyExists), "{error}");
    assert_eq!(store.data("a").await, json!({"n": 1}));
}

#[tokio::test]
async fn a_write_that_expects_another_revision_names_both() {
    let store = Store::start();
    store.create("a", json!({"n": 1})).await;
    store.change("a", replace(json!({"n": 2}))).await.unwrap();
    let late = Write {
        expected_revision: Some(1.into()),
        ..write(replace(json!({"n": 3})))
    };
    let error = store.documents.write("s", "a", &late).await.unwrap_err();
    let DocumentError::RevisionConflict { expected, current } = error else {
        panic!("{error}");
    };
    assert_eq!((expected.revision, current.revision), (1, 2));
    assert_eq!(store.data("a").await, json!({"n": 2}));
}

#[tokio::test]
async fn a_merge_leaves_what_it_does_not_name() {
    let store = Store::start();
    store
        .create("a", json!({"a": {"b": 1, "c": 2}, "d": [1]}))
        .await;
    let patch = object(json!({"a": {"b": null, "e": {"f": null}}, "d": []}));
    let merged = store
        .change("a", Change::Merge(patch, Expiry::Keep))
        .await
        .unwrap();
    assert_eq!(
        parse(&merged)["data"],
        json!({"a": {"c": 2, "e": {}}, "d": []})
    );
    assert_eq!(store.data("a").await, parse(&merged)["data"]);
}

#[tokio::test]
async fn a_deleted_document_is_gone_until_it_is_restored() {
    let store = Store::start();
    store.create("a", json!({"n": 1})).await;
    let deleted = store.change("a", Change::Delete).await.unwrap();
    assert_eq!((deleted.revision, deleted.deleted), (2, true));
    assert_eq!(parse(&deleted)["deleted"], true);
    assert_eq!(parse(&deleted)["data"], json!({"n": 1}));
    for change in [Change::Delete, replace(json!({}))] {
        let error = store.change("a", change).await.unwrap_err();
        assert!(matches!(error, DocumentError::NotFound), "{error}");
    }
    assert!(store.documents.get("s", "a").await.is_err());
    let again = Change::Create(object(json!({})), Expiry::Keep);
    let error = store.change("a", again).await.unwrap_err();
    assert!(matches!(error, DocumentError::AlreadyExists), "{error}");
    assert!(store.ttl("document") > 0 && store.ttl("changes") > 0);

    let restored = store.change("a", Change::Restore).await.unwrap();
    assert_eq!((restored.revision, restored.deleted), (3, false));
    assert_eq!(store.data("a").await, json!({"n": 1}));
    assert_eq!((store.ttl("document"), store.ttl("changes")), (-1, -1));
    let error = store.change("a", Change::Restore).await.unwrap_err();
    assert!(matches!(error, DocumentError::NotDeleted), "{error}");
}

#[tokio::test]
async fn after_the_retention_a_deleted_document_frees_its_id() {
    let store = Store::with(DocumentsConfig {
        retention: Duration::from_millis(200),
        ..DocumentsConfig::default()
    });
    store.create("a", json!({"n": 1})).await;
    store.change("a", Change::Delete).await.unwrap();
    tokio::time::sleep(Duration::from_millis(250)).await;
    let error = store.change("a", Change::Restore).await.unwrap_err();
    assert!(matches!(error, DocumentError::NotFound), "{error}");
    // Its revisions are none of the former one.
    assert_eq!(store.create("a", json!({"n": 2})).await.revision, 4);
}

#[tokio::test]
async fn a_document_is_gone_from_the_millisecond_on_at_which_it_expires() {
    let store = Store::start();
    let now = store.now();
    let past = Change::Create(object(json!({})), at(now));
    let error = store.change("a", past).await.unwrap_err();
    assert!(matches!(error, DocumentError::AlreadyExpired), "{error}");

    let end = now + 400;
    let data = Change::Create(object(json!({})), at(end));
    let created = store.change("a", data).await.unwrap();
    assert_eq!(parse(&created)["expiresAt"], end);
    loop {
        let before = store.now();
        let found = store.documents.get("s", "a").await.is_ok();
        let after = store.now();
        // A look that began and ended on one side of the time must agree with it.
        assert!(found || after >= end, "gone {} ms early", end - after);
        assert!(!found || before < end, "there {} ms late", before - end);
        if before >= end {
            break;
        }
    }
    let keys: usize = redis::cmd("EXISTS")
        .arg("sd1:{s:a}:document")
        .arg("sd1:{s:a}:changes")
        .query(&mut store.server.connection())
        .unwrap();
    assert_eq!(keys, 0);
}

#[tokio::test]
async fn an_expiry_is_kept_moved_and_taken_away_by_later_writes() {
    let store = Store::start();
    let end = store.now() + 60_000;
    let data = || object(json!({}));
    store
        .change("a", Change::Create(data(), at(end)))
        .await
        .unwrap();
    let kept = store
        .change("a", Change::Replace(data(), Expiry::Keep))
        .await
        .unwrap();
    assert_eq!(parse(&kept)["expiresAt"], end);
    let moved = Change::Replace(data(), at(end + 60_000));
    let moved = store.change("a", moved).await.unwrap();
    assert_eq!(parse(&moved)["expiresAt"], end + 60_000);
    assert!(store.ttl("document") > 60_000);
    let freed = store
        .change("a", Change::Replace(data(), Expiry::Never))
        .await
        .unwrap();
    assert_eq!(parse(&freed)["expiresAt"], Value::Null);
    assert_eq!(store.ttl("document"), -1);
}

#[tokio::test]
async fn a_write_sent_again_under_its_key_is_made_once() {
    let store = Store::start();
    store.create("a", json!({"n": 1})).await;
    let increment = Mutation::Increment {
        path: "/n".into(),
        value: 1.into(),
    };
    let keyed = |fingerprint: &str| Write {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: fingerprint.into(),
        }),
        ..write(Change::Mutate(vec![increment.clone()], Expiry::Keep))
    };
    let first = store.documents.write("s", "a", &keyed("f")).await.unwrap();
    store.change("a", replace(json!({"n": 10}))).await.unwrap();
    let again = store.documents.write("s", "a", &keyed("f")).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(store.data("a").await, json!({"n": 10}));
    let other = store
        .documents
        .write("s", "a", &keyed("g"))
        .await
        .unwrap_err();
    assert!(
        matches!(other, DocumentError::IdempotencyKeyReused),
        "{other}"
    );
}

//! Documents of one id, one after the other, are not taken for one another.

use std::time::Duration;

use redis::Commands;
use serde_json::{Value, json};
use sluice_store::documents::{
    Change, Changes, Conditions, Document, DocumentError, DocumentsConfig, Expiry, ExpiryTime,
    Idempotency, Tags, Version, Write,
};

use super::support::{Store, at, object, parse, replace, write};

/// Creates the document `a`, which ends soon, and waits for its end.
async fn ended(store: &Store) -> Document {
    let create = Change::Create(object(json!({"life": 1})), at(store.now() + 700));
    let first = store.change("a", create).await.unwrap();
    until_gone(store).await;
    first
}

async fn until_gone(store: &Store) {
    while store.documents.changes("s", "a", None).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn who_goes_on_from_a_former_document_learns_that_it_is_another() {
    let store = Store::start();
    let first = ended(&store).await;
    let second = store.create("a", json!({"life": 2})).await;
    let changes = async |after: Version| store.documents.changes("s", "a", Some(after)).await;
    for after in [first.version(), first.revision.into()] {
        assert_eq!(
            changes(after).await.unwrap(),
            Changes::Reset(second.clone())
        );
    }
    for after in [second.version(), second.revision.into()] {
        assert_eq!(changes(after).await.unwrap(), Changes::Since(Vec::new()));
    }
    // Even if what was remembered of the former one is lost.
    let same = Version {
        revision: second.revision,
        ..first.version()
    };
    assert_eq!(changes(same).await.unwrap(), Changes::Reset(second));
}

#[tokio::test]
async fn the_revisions_of_a_document_go_on_behind_those_of_a_former_one_for_a_day() {
    let store = Store::with(DocumentsConfig {
        retention: Duration::from_millis(50),
        ..DocumentsConfig::default()
    });
    let first = ended(&store).await;
    let second = store.create("a", json!({"life": 2})).await;
    assert_eq!((first.revision, second.revision), (1, 3));
    let deleted = store.change("a", Change::Delete).await.unwrap();
    until_gone(&store).await;
    let third = store.create("a", json!({"life": 3})).await;
    assert_eq!((deleted.revision, third.revision), (4, 6));
    let left = store.ttl("past");
    assert!((86_000_000..=86_400_000).contains(&left), "{left}");

    let stale = Write {
        expected_revision: Some(4.into()),
        ..write(replace(json!({})))
    };
    let error = store.documents.write("s", "a", &stale).await.unwrap_err();
    assert!(
        matches!(error, DocumentError::RevisionConflict { .. }),
        "{error}"
    );
    assert_eq!(store.data("a").await, json!({"life": 3}));
}

#[tokio::test]
async fn a_version_of_a_former_document_meets_no_condition() {
    let store = Store::start();
    let first = ended(&store).await;
    // As if it was created again days later, when nothing is remembered.
    let _: () = store.server.connection().del("sd1:{s:a}:past").unwrap();
    let second = store.create("a", json!({"life": 2})).await;
    assert_eq!(first.revision, second.revision);
    let stale = Write {
        expected_revision: Some(first.version()),
        ..write(replace(json!({})))
    };
    let error = store.documents.write("s", "a", &stale).await.unwrap_err();
    let DocumentError::RevisionConflict { expected, current } = error else {
        panic!("{error}");
    };
    assert_eq!((expected, current), (first.version(), second.version()));
    let if_match = |version: Version| Write {
        conditions: Conditions {
            if_match: Some(Tags::Of(vec![version])),
            ..Conditions::default()
        },
        ..write(replace(json!({})))
    };
    let stale = if_match(first.version());
    let error = store.documents.write("s", "a", &stale).await.unwrap_err();
    assert!(
        matches!(error, DocumentError::ConditionFailed { .. }),
        "{error}"
    );
    let good = if_match(second.version());
    store.documents.write("s", "a", &good).await.unwrap();
}

fn keyed(change: Change) -> Write {
    Write {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: "f".into(),
        }),
        ..write(change)
    }
}

fn without_data(document: &Document) -> Value {
    let mut envelope = parse(document);
    envelope.as_object_mut().unwrap().remove("data");
    envelope["dataOmitted"] = true.into();
    envelope
}

#[tokio::test]
async fn a_create_sent_again_after_its_document_ended_gets_its_own_answer() {
    let store = Store::start();
    let create = keyed(Change::Create(
        object(json!({"of": "one"})),
        at(store.now() + 700),
    ));
    let first = store.documents.write("s", "a", &create).await.unwrap();
    until_gone(&store).await;
    let again = store.documents.write("s", "a", &create).await.unwrap();
    assert_eq!(parse(&again), without_data(&first));
    store.create("a", json!({"of": "others"})).await;
    let again = store.documents.write("s", "a", &create).await.unwrap();
    assert_eq!(parse(&again), without_data(&first));
    assert_eq!(again.version(), first.version());
}

#[tokio::test]
async fn a_write_sent_again_after_its_change_is_gone_gets_its_own_revision_and_times() {
    let store = Store::start();
    store.create("a", json!({})).await;
    let large = || replace(json!({"x": "x".repeat(1_000_000)}));
    let first = store
        .documents
        .write("s", "a", &keyed(large()))
        .await
        .unwrap();
    for _ in 0..8 {
        store.change("a", large()).await.unwrap();
    }
    let again = store
        .documents
        .write("s", "a", &keyed(large()))
        .await
        .unwrap();
    assert_eq!(parse(&again), without_data(&first));
    store.change("a", Change::Delete).await.unwrap();
}

#[tokio::test]
async fn an_expiry_may_be_as_late_as_valkey_takes_it_and_no_later() {
    let store = Store::start();
    for ms in [i64::MAX as u64, 8_640_000_000_000_000] {
        store.create("a", json!({})).await;
        let change = Change::Replace(object(json!({})), at(ms));
        assert_eq!(
            parse(&store.change("a", change).await.unwrap())["expiresAt"],
            ms
        );
        store.change("a", Change::Delete).await.unwrap();
        let _: () = store.server.connection().flushall().unwrap();
    }
    for ms in [1 << 63, (1 << 63) + 1, u64::MAX] {
        assert!(ExpiryTime::try_from(ms).is_err());
        assert!(serde_json::from_value::<Expiry>(json!({"at": ms})).is_err());
    }
}

#[tokio::test]
async fn revisions_beyond_all_numbers_are_none_of_the_document() {
    let store = Store::start();
    let created = store.create("a", json!({})).await;
    for text in [
        "9007199254740993",
        "9223372036854775807",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        let after = text.parse().unwrap();
        let changes = store
            .documents
            .changes("s", "a", Some(after))
            .await
            .unwrap();
        assert_eq!(changes, Changes::Reset(created.clone()), "{text}");
    }
    for text in ["", "-", "1-", "-1", "+1", "01", "1-02", "1.0", "x", "1-2-3"] {
        assert!(text.parse::<Version>().is_err(), "{text}");
    }
}

#[tokio::test]
async fn a_write_that_cannot_be_made_in_full_is_not_begun() {
    let store = Store::start();
    store.create("a", json!({"n": 1})).await;
    let mut connection = store.server.connection();
    let before = store.documents.get("s", "a").await.unwrap();
    for key in ["changes", "accepted"] {
        let key = format!("sd1:{{s:a}}:{key}");
        let _: () = connection.del(&key).unwrap();
        let _: () = connection.set(&key, "another type").unwrap();
        store.change("a", replace(json!({}))).await.unwrap_err();
        assert_eq!(store.documents.get("s", "a").await.unwrap(), before);
        let _: () = connection.del(&key).unwrap();
    }
    // Changes that are ahead of the document belong to a past that the server has lost.
    let _: () = connection
        .xadd("sd1:{s:a}:changes", "7-0", &[("document", "{}")])
        .unwrap();
    store.change("a", replace(json!({"n": 2}))).await.unwrap();
    let ids: Vec<(String, Vec<String>)> = redis::cmd("XRANGE")
        .arg("sd1:{s:a}:changes")
        .arg(("-", "+"))
        .query(&mut connection)
        .unwrap();
    assert_eq!(ids.len(), 1);
    assert_eq!(ids[0].0, "2-0");
}

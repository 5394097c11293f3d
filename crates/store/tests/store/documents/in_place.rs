//! Writes that Valkey makes where the document is, beside the same ones computed from it.

use std::collections::BTreeMap;

use redis::Commands;
use serde_json::{Value, from_value, json};
use sluice_store::documents::{
    Change, Changes, Conditions, Document, DocumentError, Documents, DocumentsConfig, Expiry,
    Idempotency, Mutation, Tags, Version, Write,
};
use sluice_test_support::LossyWay;
use sluice_valkey::Valkey;

use super::support::{Store, at, object, parse, write};

fn mutate(mutations: &Value) -> Write {
    let mutations: Vec<Mutation> = from_value(mutations.clone()).unwrap();
    write(Change::Mutate(mutations, Expiry::Keep))
}

fn increment() -> Write {
    mutate(&json!([{"op": "increment", "path": "/n", "value": 1}]))
}

/// The same write, which is computed from the document: it has a condition that always holds.
fn computed(write: Write) -> Write {
    let other = Version {
        revision: 1 << 40,
        created_at: Some(1),
    };
    Write {
        conditions: Conditions {
            if_none_match: Some(Tags::Of(vec![other])),
            ..Conditions::default()
        },
        ..write
    }
}

/// The calls that a write takes, and what came of it.
async fn calls(
    store: &Store,
    id: &str,
    write: &Write,
) -> (BTreeMap<String, u64>, Result<Document, DocumentError>) {
    store.server.forget_calls();
    let written = store.documents.write("s", id, write).await;
    (store.server.calls(), written)
}

/// The JSON of the data alone, as it is kept.
fn data_text(document: &Document) -> String {
    let (_, data) = document.json.split_once(r#","data":"#).unwrap();
    let (data, _) = data.rsplit_once(r#","createdAt":"#).unwrap();
    data.to_owned()
}

const DATA: &str = r#"{
    "n": 1, "big": 9007199254740993, "float": 1.5, "on": true, "off": false, "nothing": null,
    "text": "t\"é\\", "list": [1, [2, {"x": 3}], "three"], "object": {"a": {"b": 1}, "5": {"n": 1},
    "a b.c-d:e/f": 1, "": 1, "q\"": 1, "b\\s": 1, "*": 1, "é": 1}, "odd": 0.464361972248976350,
    "exponent": 1e21
}"#;

/// Which of these are made in place.
fn cases() -> Vec<(bool, Value)> {
    let increment =
        |path: &str, value: Value| json!({"op": "increment", "path": path, "value": value});
    let set = |path: &str, value: Value| json!({"op": "set", "path": path, "value": value});
    let toggle = |path: &str| json!({"op": "toggle", "path": path});
    let made_in_place = [
        json!([increment("/n", json!(41))]),
        json!([increment("/n", json!(-1))]),
        json!([increment("/n", json!(999_999_999_999_999_i64))]),
        json!([increment("/list/1/1/x", json!(2))]),
        json!([increment("/object/a b.c-d:e~1f", json!(2))]),
        json!([set("/text", json!("\u{1}\"\\/é\u{2028}\u{1f600}"))]),
        json!([set("/object", json!({"z": 1, "a": [], "b": {}}))]),
        json!([set("/list/2", json!([null, true, 1.25]))]),
        json!([set("/nothing", json!(u64::MAX))]),
        json!([toggle("/on"), toggle("/off")]),
        json!([toggle("/on"), set("/n", json!(i64::MIN))]),
        json!([]),
    ];
    let computed = [
        json!([increment("/big", json!(1))]),
        json!([increment("/n", json!(i64::MAX))]),
        json!([increment("/float", json!(1))]),
        json!([increment("/n", json!(0.5))]),
        json!([increment("/text", json!(1))]),
        json!([toggle("/n")]),
        json!([set("/new", json!(1))]),
        json!([set("/list/3", json!(1))]),
        json!([set("/n", json!(1e300))]),
        json!([set("/n", json!(-0.0))]),
        json!([set("/n", json!([0.464_361_972_248_976_35]))]),
        json!([set("", json!({}))]),
        json!([set("/n/x", json!(1))]),
        json!([set("n", json!(1))]),
        json!([increment("/object/5/n", json!(1))]),
        json!([set("/object/", json!(2))]),
        json!([set("/object/q\"", json!(2))]),
        json!([set("/object/b\\s", json!(2))]),
        json!([set("/object/*", json!(2))]),
        json!([set("/object/é", json!(2))]),
        json!([set("/object", json!({"a": 1})), set("/object/a", json!(2))]),
        json!([set("/object/a/b", json!(2)), toggle("/object")]),
        json!([increment("/n", json!(1)), increment("/n", json!(1))]),
        json!([increment("/n", json!(1)), toggle("/text")]),
        json!([{"op": "unset", "path": "/n"}]),
        json!([{"op": "append", "path": "/list", "value": 1}]),
        json!([{"op": "test", "path": "/n", "value": 2}]),
    ];
    let made_in_place = made_in_place.into_iter().map(|it| (true, it));
    let computed = computed.into_iter().map(|it| (false, it));
    made_in_place.chain(computed).collect()
}

#[tokio::test]
async fn a_write_made_in_place_leaves_what_it_would_leave_if_it_were_computed() {
    let store = Store::start();
    let data: Value = serde_json::from_str(DATA).unwrap();
    // Functions are loaded before calls are counted.
    store.create("first", json!({"n": 1})).await;
    store
        .documents
        .write("s", "first", &increment())
        .await
        .unwrap();
    for (number, (is_in_place, mutations)) in cases().into_iter().enumerate() {
        let (one, other) = (format!("one{number}"), format!("other{number}"));
        store.create(&one, data.clone()).await;
        store.create(&other, data.clone()).await;
        let write = mutate(&mutations);
        let (calls, made) = calls(&store, &one, &write).await;
        let computed = store.documents.write("s", &other, &computed(write)).await;
        // One by itself makes the write; or it does nothing, and two others follow.
        let commands = calls["fcall"];
        match (made, computed) {
            (Ok(made), Ok(computed)) => {
                assert_eq!(data_text(&made), data_text(&computed), "{mutations}");
                assert_eq!(made.revision, 2);
                let kept = store.documents.get("s", &one).await.unwrap();
                assert_eq!(made, kept, "{mutations}");
                assert_eq!(commands == 1, is_in_place, "{mutations}: {calls:?}");
            }
            (Err(made), Err(computed)) => {
                assert_eq!(made.to_string(), computed.to_string(), "{mutations}");
                assert!(!is_in_place, "{mutations}: {made}");
                let kept = store.documents.get("s", &one).await.unwrap();
                assert_eq!(kept.revision, 1, "{mutations}");
            }
            (made, computed) => panic!("{mutations}: {made:?} {computed:?}"),
        }
    }
}

#[tokio::test]
async fn a_large_document_is_neither_read_nor_replaced_for_a_few_values() {
    let store = Store::start();
    let items: Vec<Value> = (0..1_000).map(|n| json!({"n": n})).collect();
    store.create("a", json!({"n": 0, "items": items})).await;
    store.documents.write("s", "a", &increment()).await.unwrap();
    let write = mutate(&json!([
        {"op": "increment", "path": "/n", "value": 1},
        {"op": "set", "path": "/items/500/n", "value": "x"},
    ]));
    let (calls, made) = calls(&store, "a", &write).await;
    assert_eq!(parse(&made.unwrap())["data"]["items"][500]["n"], "x");
    assert_eq!(calls["fcall"], 1, "{calls:?}");
    // The two values, the revision and the time of the write.
    assert_eq!(calls["json.set"], 4, "{calls:?}");
}

#[tokio::test]
async fn a_document_that_grows_in_place_fits_to_the_last_byte() {
    let data = json!({"n": 8, "x": "é\n"});
    let limit = data.to_string().len();
    let store = Store::with(DocumentsConfig {
        max_bytes: limit + 1,
        ..DocumentsConfig::default()
    });
    store.create("a", data).await;
    for expected in [9, 10] {
        let written = store.documents.write("s", "a", &increment()).await.unwrap();
        assert_eq!(parse(&written)["data"]["n"], expected);
    }
    let more = mutate(&json!([{"op": "increment", "path": "/n", "value": 90}]));
    let refused = store.documents.write("s", "a", &more).await.unwrap_err();
    assert!(
        matches!(refused, DocumentError::TooLarge { .. }),
        "{refused}"
    );
    let back = mutate(&json!([{"op": "increment", "path": "/n", "value": -5}]));
    store.documents.write("s", "a", &back).await.unwrap();
    assert_eq!(store.data("a").await["n"], 5);
}

#[tokio::test]
async fn no_value_is_put_in_place_that_nests_deeper_than_the_limit() {
    let store = Store::with(DocumentsConfig {
        max_depth: 3,
        ..DocumentsConfig::default()
    });
    store.create("a", json!({"o": {"x": 1}})).await;
    let set = |value: Value| mutate(&json!([{"op": "set", "path": "/o/x", "value": value}]));
    store
        .documents
        .write("s", "a", &set(json!([1])))
        .await
        .unwrap();
    let deeper = store.documents.write("s", "a", &set(json!([[1]]))).await;
    assert!(matches!(deeper, Err(DocumentError::TooDeep { .. })));
}

#[tokio::test]
async fn conditions_hold_for_writes_in_place() {
    let store = Store::start();
    let created = store.create("a", json!({"n": 0})).await;
    let expecting = |version: Version| Write {
        expected_revision: Some(version),
        ..increment()
    };
    let matching = |version: Version| Write {
        conditions: Conditions {
            if_match: Some(Tags::Of(vec![version])),
            ..Conditions::default()
        },
        ..increment()
    };
    store
        .documents
        .write("s", "a", &expecting(1.into()))
        .await
        .unwrap();
    let current = Version {
        revision: 2,
        ..created.version()
    };
    store
        .documents
        .write("s", "a", &matching(current))
        .await
        .unwrap();
    let error = store.documents.write("s", "a", &expecting(2.into())).await;
    assert!(matches!(error, Err(DocumentError::RevisionConflict { .. })));
    let former = Version {
        revision: 3,
        created_at: Some(created.created_at - 1),
    };
    for write in [expecting(former), matching(former), matching(current)] {
        let error = store.documents.write("s", "a", &write).await.unwrap_err();
        let is_refused = matches!(
            error,
            DocumentError::RevisionConflict { .. } | DocumentError::ConditionFailed { .. }
        );
        assert!(is_refused, "{error}");
    }
    assert_eq!(store.data("a").await["n"], 2);
}

#[tokio::test]
async fn watchers_see_what_is_written_in_place() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let first = store.documents.write("s", "a", &increment()).await.unwrap();
    let second = store.documents.write("s", "a", &increment()).await.unwrap();
    let changes = store.documents.changes("s", "a", Some(1.into())).await;
    assert_eq!(changes.unwrap(), Changes::Since(vec![first, second]));
}

#[tokio::test]
async fn a_document_that_ends_keeps_its_end_and_its_revisions_behind_it() {
    let store = Store::start();
    let end = store.now() + 600_000;
    let create = Change::Create(object(json!({"n": 0})), at(end));
    store.change("a", create).await.unwrap();
    let (calls, written) = calls(&store, "a", &increment()).await;
    assert_eq!(parse(&written.unwrap())["expiresAt"], end);
    assert_eq!(calls["fcall"], 1, "{calls:?}");
    for key in ["document", "changes"] {
        assert!((1..=600_000).contains(&store.ttl(key)), "{key}");
    }
    assert!(store.ttl("past") > 600_000);
    let past: u64 = store.server.connection().get("sd1:{s:a}:past").unwrap();
    assert_eq!(past, 2);
}

#[tokio::test]
async fn a_write_in_place_is_made_once_under_its_key_and_when_its_answer_is_lost() {
    let store = Store::start();
    let way = LossyWay::to(store.server.port()).await;
    let valkey = Valkey::at(&way.url()).unwrap();
    let documents = Documents::new(&valkey, DocumentsConfig::default());
    store.create("a", json!({"n": 0})).await;
    documents.write("s", "a", &increment()).await.unwrap();
    let keyed = Write {
        idempotency: Some(Idempotency {
            key: "k".into(),
            fingerprint: "f".into(),
        }),
        ..increment()
    };
    way.lose(1);
    let first = documents.write("s", "a", &keyed).await.unwrap();
    way.assert_lost();
    let again = documents.write("s", "a", &keyed).await.unwrap();
    assert_eq!((first.revision, &first), (3, &again));
    assert_eq!(store.data("a").await["n"], 2);
}

#[tokio::test]
async fn nothing_is_written_in_place_without_the_right_to_all_of_it() {
    let store = Store::start();
    let limited = store.limited();
    let end = store.now() + 600_000;
    let create = Change::Create(object(json!({"n": 0})), at(end));
    let created = store.change("a", create).await.unwrap();
    for command in [
        "json.get",
        "json.set",
        "xrevrange",
        "xadd",
        "set",
        "hset",
        "pexpire",
        "spublish",
    ] {
        store.set_rights(&[&format!("-{command}")]);
        limited.write("s", "a", &increment()).await.unwrap_err();
        let kept = store.documents.get("s", "a").await.unwrap();
        assert_eq!(kept, created, "{command}");
        let changes = store.documents.changes("s", "a", Some(1.into())).await;
        assert_eq!(changes.unwrap(), Changes::Since(vec![]), "{command}");
    }
    store.set_rights(&[]);
    limited.write("s", "a", &increment()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writes_in_place_and_computed_ones_of_one_document_lose_nothing() {
    let store = Store::start();
    store.create("a", json!({"n": 0, "m": 0.5})).await;
    let computed = mutate(&json!([{"op": "increment", "path": "/m", "value": 1.0}]));
    let mut writers = tokio::task::JoinSet::new();
    for number in 0..64 {
        let documents = store.documents.clone();
        let write = match number % 4 {
            0 => computed.clone(),
            _ => increment(),
        };
        writers.spawn(async move { documents.write("s", "a", &write).await.unwrap() });
    }
    let mut revisions: Vec<u64> = Vec::new();
    while let Some(written) = writers.join_next().await {
        revisions.push(written.unwrap().revision);
    }
    revisions.sort_unstable();
    assert!(revisions.into_iter().eq(2..=65));
    assert_eq!(store.data("a").await, json!({"n": 48, "m": 16.5}));
}

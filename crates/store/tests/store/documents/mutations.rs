//! Mutations: each op, and that a list is made as a whole or not at all.

use serde_json::{Value, from_value, json};
use sluice_store::documents::{Change, DocumentError, DocumentsConfig, Expiry, Mutation};

use super::support::{Store, parse, write};

fn mutate(mutations: Value) -> Change {
    let mutations: Vec<Mutation> = from_value(mutations).unwrap();
    Change::Mutate(mutations, Expiry::Keep)
}

/// What a list of mutations makes of a document, or the index and reason of the first that does not
/// fit.
async fn outcome(store: &Store, data: Value, mutations: Value) -> Result<Value, (usize, String)> {
    let id = format!("{:x}", rand::random::<u64>());
    store.create(&id, data.clone()).await;
    match store.change(&id, mutate(mutations)).await {
        Ok(document) => {
            assert_eq!(document.revision, 2);
            assert_eq!(parse(&document)["data"], store.data(&id).await);
            Ok(store.data(&id).await)
        }
        Err(DocumentError::Mutation { index, reason }) => {
            let kept = store.documents.get("s", &id).await.unwrap();
            assert_eq!((kept.revision, &parse(&kept)["data"]), (1, &data));
            Err((index, reason))
        }
        Err(error) => panic!("{error}"),
    }
}

#[tokio::test]
async fn every_op_does_what_it_says() {
    let store = Store::start();
    for (data, mutation, expected) in [
        (
            json!({}),
            json!({"op": "set", "path": "/a", "value": []}),
            json!({"a": []}),
        ),
        (
            json!({"a": [1]}),
            json!({"op": "set", "path": "/a/0", "value": {}}),
            json!({"a": [{}]}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "set", "path": "", "value": {"b": 2}}),
            json!({"b": 2}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "increment", "path": "/a", "value": -3}),
            json!({"a": -2}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "increment", "path": "/a", "value": 0.5}),
            json!({"a": 1.5}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "unset", "path": "/a"}),
            json!({}),
        ),
        (
            json!({"a": [1, 2]}),
            json!({"op": "unset", "path": "/a/0"}),
            json!({"a": [2]}),
        ),
        (
            json!({"a": []}),
            json!({"op": "append", "path": "/a", "value": [1]}),
            json!({"a": [[1]]}),
        ),
        (
            json!({"a": [2]}),
            json!({"op": "insert", "path": "/a/0", "value": 1}),
            json!({"a": [1, 2]}),
        ),
        (
            json!({"a": [1]}),
            json!({"op": "insert", "path": "/a/-", "value": 2}),
            json!({"a": [1, 2]}),
        ),
        (
            json!({"a": true}),
            json!({"op": "toggle", "path": "/a"}),
            json!({"a": false}),
        ),
        (
            json!({"a": {"b": 1, "c": {"d": 2}}}),
            json!({"op": "merge", "path": "/a", "value": {"b": null, "c": {"e": 3}}}),
            json!({"a": {"c": {"d": 2, "e": 3}}}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "test", "path": "/a", "value": 1.0}),
            json!({"a": 1}),
        ),
        (
            json!({"a": 1}),
            json!({"op": "move", "from": "/a", "path": "/b"}),
            json!({"b": 1}),
        ),
        (
            json!({"a": [1, 2, 3]}),
            json!({"op": "move", "from": "/a/0", "path": "/a/2"}),
            json!({"a": [2, 3, 1]}),
        ),
        (
            json!({"a": [1], "b": 2}),
            json!({"op": "copy", "from": "/b", "path": "/a/0"}),
            json!({"a": [2, 1], "b": 2}),
        ),
    ] {
        let made = outcome(&store, data, json!([mutation.clone()])).await;
        assert_eq!(made, Ok(expected), "{mutation}");
    }
}

#[tokio::test]
async fn a_mutation_that_does_not_fit_leaves_no_trace_of_those_before_it() {
    let store = Store::start();
    let data = json!({"n": 1, "o": {"i": i64::MAX, "s": "x"}, "a": [0], "f": f64::MAX});
    for misfit in [
        json!({"op": "set", "path": "/x/y", "value": 1}),
        json!({"op": "set", "path": "/a/1", "value": 1}),
        json!({"op": "set", "path": "", "value": [1]}),
        json!({"op": "set", "path": "n", "value": 1}),
        json!({"op": "increment", "path": "/x", "value": 1}),
        json!({"op": "increment", "path": "/o/s", "value": 1}),
        json!({"op": "increment", "path": "/o/i", "value": 1}),
        json!({"op": "increment", "path": "/n", "value": u64::MAX}),
        json!({"op": "increment", "path": "/f", "value": f64::MAX}),
        json!({"op": "unset", "path": "/x"}),
        json!({"op": "unset", "path": "/a/-"}),
        json!({"op": "unset", "path": ""}),
        json!({"op": "append", "path": "/o", "value": 1}),
        json!({"op": "insert", "path": "/a/2", "value": 1}),
        json!({"op": "insert", "path": "/o/k", "value": 1}),
        json!({"op": "toggle", "path": "/n"}),
        json!({"op": "merge", "path": "/a", "value": {}}),
        json!({"op": "test", "path": "/n", "value": "1"}),
        json!({"op": "move", "from": "/o", "path": "/o/p"}),
        json!({"op": "copy", "from": "/x", "path": "/y"}),
    ] {
        let first = json!({"op": "set", "path": "/trace", "value": true});
        let made = outcome(&store, data.clone(), json!([first, misfit.clone()])).await;
        let (index, reason) = made.expect_err(&misfit.to_string());
        assert_eq!(index, 1);
        assert!(!reason.is_empty());
    }
}

#[tokio::test]
async fn integers_stay_exact_over_the_whole_range() {
    let store = Store::start();
    let data = json!({"max": i64::MAX - 1, "min": i64::MIN + 1, "odd": 9_007_199_254_740_993_i64});
    let made = outcome(
        &store,
        data,
        json!([
            {"op": "increment", "path": "/max", "value": 1},
            {"op": "increment", "path": "/min", "value": -1},
            {"op": "increment", "path": "/odd", "value": 2},
        ]),
    );
    let expected = json!({"max": i64::MAX, "min": i64::MIN, "odd": 9_007_199_254_740_995_i64});
    assert_eq!(made.await, Ok(expected));
}

#[tokio::test]
async fn any_key_can_be_named() {
    let store = Store::start();
    for key in [
        "a/b", "m~n", "~1", "q\"q", "b\\b", "d.d", "é😀", "", " ", "$", "\n",
    ] {
        let path = format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let made = outcome(
            &store,
            json!({key: 1}),
            json!([{"op": "increment", "path": path, "value": 1}]),
        );
        assert_eq!(made.await, Ok(json!({key: 2})), "{key:?}");
    }
}

#[tokio::test]
async fn limits_have_errors_of_their_own() {
    let store = Store::with(DocumentsConfig {
        max_bytes: 100,
        max_depth: 3,
        max_mutations: 2,
        ..DocumentsConfig::default()
    });
    store.create("a", json!({"a": [[]], "b": [{}]})).await;
    let set = |value: Value| json!({"op": "set", "path": "/x", "value": value});
    for (mutations, message) in [
        (
            json!([set("x".repeat(100).into())]),
            "mutations[0]: data: the document would be larger than 100 bytes",
        ),
        (
            json!([set(json!([[[]]]))]),
            "mutations[0]: data: the document would be nested deeper than 3 levels",
        ),
        (
            json!([set(1.into()), set(2.into()), set(3.into())]),
            "mutations: there may be at most 2 in one call",
        ),
    ] {
        let error = store.change("a", mutate(mutations)).await.unwrap_err();
        assert_eq!(error.to_string(), message);
    }
    assert_eq!(store.documents.get("s", "a").await.unwrap().revision, 1);
}

#[tokio::test]
async fn what_is_beyond_limits_that_were_lowered_can_be_deleted_and_restored() {
    let store = Store::start();
    store.create("a", json!({"x": "x".repeat(100)})).await;
    let config = DocumentsConfig {
        max_bytes: 10,
        ..DocumentsConfig::default()
    };
    let valkey = sluice_valkey::Valkey::at(&store.server.url()).unwrap();
    let documents = sluice_store::documents::Documents::new(&valkey, config);
    for change in [Change::Delete, Change::Restore] {
        documents.write("s", "a", &write(change)).await.unwrap();
    }
}

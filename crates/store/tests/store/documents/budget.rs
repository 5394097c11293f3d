//! Limits hold while a document is being built.

use std::time::{Duration, Instant};

use serde_json::{Value, from_value, json};
use sluice_store::documents::{Change, DocumentError, DocumentsConfig, Expiry};

use super::support::{Store, object, parse};

fn mutate(mutations: Vec<Value>) -> Change {
    Change::Mutate(from_value(json!(mutations)).unwrap(), Expiry::Keep)
}

fn copy(from: &str, path: &str) -> Value {
    json!({"op": "copy", "from": from, "path": path})
}

#[tokio::test]
async fn copies_of_a_document_into_itself_end_at_the_one_that_passes_the_limit() {
    let store = Store::start();
    store.create("a", json!({"a": [0]})).await;
    let begun = Instant::now();
    // Each doubles what is there: all of them would make 200 MB of JSON and far more in memory.
    let change = mutate(vec![copy("/a", "/a/-"); 27]);
    let error = store.change("a", change).await.unwrap_err();
    let DocumentError::TooLarge { limit, mutation } = error else {
        panic!("{error}");
    };
    assert_eq!(limit, 1 << 20);
    // 2^18 times 3 bytes fit, 2^19 times do not.
    assert!(
        mutation.is_some_and(|at| (17..=19).contains(&at)),
        "{mutation:?}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert_eq!(store.data("a").await, json!({"a": [0]}));
}

#[tokio::test]
async fn a_large_field_is_copied_as_often_as_it_fits() {
    let store = Store::start();
    store.create("a", json!({"x": "x".repeat(400_000)})).await;
    let many = (0..900).map(|n| copy("/x", &format!("/x{n}"))).collect();
    let error = store.change("a", mutate(many)).await.unwrap_err();
    assert!(
        matches!(
            error,
            DocumentError::TooLarge {
                mutation: Some(1),
                ..
            }
        ),
        "{error}"
    );
    // In one place it fits every time, but a call copies only so much.
    let many = vec![copy("/x", "/y"); 900];
    let error = store.change("a", mutate(many)).await.unwrap_err();
    assert!(
        matches!(error, DocumentError::Mutation { index: 41, .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_document_fits_to_the_last_byte_whatever_it_was_between() {
    let max_bytes = 60;
    let store = Store::with(DocumentsConfig {
        max_bytes,
        ..DocumentsConfig::default()
    });
    let data = json!({"a": ["é\n", 1.5, null], "b": {"c": "0123456789"}});
    for (mutations, fits) in [
        (
            vec![json!({"op": "set", "path": "/d", "value": "x".repeat(7)})],
            true,
        ),
        (
            vec![json!({"op": "set", "path": "/d", "value": "x".repeat(8)})],
            false,
        ),
        (
            vec![json!({"op": "append", "path": "/a", "value": "x".repeat(11)})],
            true,
        ),
        (
            vec![json!({"op": "append", "path": "/a", "value": "x".repeat(12)})],
            false,
        ),
        (
            vec![
                json!({"op": "unset", "path": "/b"}),
                json!({"op": "set", "path": "/a/0", "value": "x".repeat(41)}),
            ],
            true,
        ),
        (
            vec![
                json!({"op": "unset", "path": "/b"}),
                json!({"op": "set", "path": "/a/0", "value": "x".repeat(42)}),
            ],
            false,
        ),
        (
            vec![
                json!({"op": "set", "path": "/d", "value": "x".repeat(7)}),
                json!({"op": "move", "from": "/d", "path": "/e"}),
            ],
            true,
        ),
        (
            vec![json!({"op": "merge", "path": "", "value": {"b": {"c": "x".repeat(24)}}})],
            true,
        ),
        (
            vec![json!({"op": "merge", "path": "", "value": {"b": {"c": "x".repeat(25)}}})],
            false,
        ),
    ] {
        let id = format!("{:x}", rand::random::<u64>());
        store.create(&id, data.clone()).await;
        let text = json!(mutations).to_string();
        match store.change(&id, mutate(mutations)).await {
            Ok(made) => {
                let length = parse(&made)["data"].to_string().len();
                assert!(fits && length == max_bytes, "{text}: {length}");
            }
            Err(DocumentError::TooLarge { mutation, .. }) => {
                assert!(!fits && mutation.is_some(), "{text}");
            }
            Err(error) => panic!("{text}: {error}"),
        }
    }
}

#[tokio::test]
async fn no_mutation_nests_deeper_than_the_limit() {
    let store = Store::with(DocumentsConfig {
        max_mutations: 100_000,
        ..DocumentsConfig::default()
    });
    store.create("a", json!({"a": {}, "b": {}})).await;
    // Each puts the one into the other, one level deeper.
    let mut moves = Vec::new();
    for _ in 0..17_500 {
        moves.push(json!({"op": "move", "from": "/a", "path": "/b/a"}));
        moves.push(json!({"op": "move", "from": "/b", "path": "/a"}));
        moves.push(json!({"op": "set", "path": "/b", "value": {}}));
    }
    let error = store.change("a", mutate(moves)).await.unwrap_err();
    assert!(
        matches!(
            error,
            DocumentError::TooDeep {
                limit: 64,
                mutation: Some(_)
            }
        ),
        "{error}"
    );
    let mut patch = json!(1);
    for _ in 0..64 {
        patch = json!({"a": patch});
    }
    for (patch, fits) in [(patch.clone(), true), (json!({"a": patch}), false)] {
        let merged = store
            .change("a", Change::Merge(object(patch), Expiry::Keep))
            .await;
        match merged {
            Ok(_) => assert!(fits),
            Err(DocumentError::TooDeep { .. }) => assert!(!fits),
            Err(error) => panic!("{error}"),
        }
    }
}

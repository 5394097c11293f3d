//! Facts of the standards: JSON Patch (RFC 6902) as mutations, and JSON Merge Patch (RFC 7396,
//! appendix A).

use serde_json::{Value, from_value, json};
use sluice_store::documents::{Change, DocumentError, Expiry};

use super::support::{Store, object, parse};

/// The document below `/d`, for a document of ours is an object and theirs may be anything.
async fn made(store: &Store, data: &Value, change: Change) -> Result<Value, DocumentError> {
    let id = format!("{:x}", rand::random::<u64>());
    store.create(&id, data.clone()).await;
    store
        .change(&id, change)
        .await
        .map(|it| parse(&it)["data"].clone())
}

#[tokio::test]
async fn merge_patches_do_what_the_appendix_says() {
    let store = Store::start();
    for (target, patch, expected) in [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (
            json!({"a": "b"}),
            json!({"b": "c"}),
            json!({"a": "b", "b": "c"}),
        ),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (
            json!({"a": "b", "b": "c"}),
            json!({"a": null}),
            json!({"b": "c"}),
        ),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (
            json!({"a": {"b": "c"}}),
            json!({"a": {"b": "d", "c": null}}),
            json!({"a": {"b": "d"}}),
        ),
        (
            json!({"a": [{"b": "c"}]}),
            json!({"a": [1]}),
            json!({"a": [1]}),
        ),
        (json!(["a", "b"]), json!(["c", "d"]), json!(["c", "d"])),
        (json!({"a": "b"}), json!(["c"]), json!(["c"])),
        (json!({"a": "foo"}), json!("bar"), json!("bar")),
        (
            json!({"e": null}),
            json!({"a": 1}),
            json!({"e": null, "a": 1}),
        ),
        (
            json!([1, 2]),
            json!({"a": "b", "c": null}),
            json!({"a": "b"}),
        ),
        (
            json!({}),
            json!({"a": {"bb": {"ccc": null}}}),
            json!({"a": {"bb": {}}}),
        ),
    ] {
        let patch = Change::Merge(object(json!({"d": patch})), Expiry::Keep);
        let merged = made(&store, &json!({"d": target}), patch).await.unwrap();
        assert_eq!(merged, json!({"d": expected}));
    }
}

#[tokio::test]
async fn patches_do_what_their_standard_says() {
    let store = Store::start();
    let add = |path: &str, value: Value| json!({"op": "insert", "path": path, "value": value});
    let set = |path: &str, value: Value| json!({"op": "set", "path": path, "value": value});
    let unset = |path: &str| json!({"op": "unset", "path": path});
    let test = |path: &str, value: Value| json!({"op": "test", "path": path, "value": value});
    let from = |op: &str, from: &str, path: &str| json!({"op": op, "from": from, "path": path});
    let none = Value::Null;
    for (data, mutation, expected) in [
        // Add: a field is set whether it is there or not, an item goes before the one of its index.
        (
            json!({"foo": 1}),
            set("/bar", json!(null)),
            json!({"foo": 1, "bar": null}),
        ),
        (
            json!({"foo": 1}),
            set("/foo", json!([2])),
            json!({"foo": [2]}),
        ),
        (
            json!({"foo": 1}),
            set("/", json!(1)),
            json!({"foo": 1, "": 1}),
        ),
        (
            json!({"a": {"": 1}}),
            set("/a/", json!(2)),
            json!({"a": {"": 2}}),
        ),
        (json!({"0": 1}), set("/0", json!("x")), json!({"0": "x"})),
        (json!({"a": {"b": 1}}), set("/x/y", json!(1)), none.clone()),
        (
            json!({"a": [1, 2]}),
            add("/a/0", json!(0)),
            json!({"a": [0, 1, 2]}),
        ),
        (
            json!({"a": [1, 2]}),
            add("/a/1", json!([9])),
            json!({"a": [1, [9], 2]}),
        ),
        (
            json!({"a": [1, 2]}),
            add("/a/2", json!(3)),
            json!({"a": [1, 2, 3]}),
        ),
        (
            json!({"a": [1, 2]}),
            add("/a/-", json!(3)),
            json!({"a": [1, 2, 3]}),
        ),
        (json!({"a": [1, 2]}), add("/a/3", json!(3)), none.clone()),
        (json!({"a": [1, 2]}), add("/a/-1", json!(3)), none.clone()),
        (json!({"a": [1, 2]}), add("/a/00", json!(3)), none.clone()),
        (json!({"a": [1, 2]}), add("/a/1e0", json!(3)), none.clone()),
        (json!({"a": [1, 2]}), add("/a/x", json!(3)), none.clone()),
        (
            json!({"a": [[1]]}),
            add("/a/0/0", json!(0)),
            json!({"a": [[0, 1]]}),
        ),
        // Replace.
        (
            json!({"a": [1, 2]}),
            set("/a/1", json!({})),
            json!({"a": [1, {}]}),
        ),
        (json!({"a": [1, 2]}), set("/a/01", json!(0)), none.clone()),
        (json!({"a": [1, 2]}), set("/a/-", json!(0)), none.clone()),
        (json!({"a": 1}), set("/a/b", json!(0)), none.clone()),
        (json!({"a": 1}), set("", json!({"b": 2})), json!({"b": 2})),
        // Remove.
        (
            json!({"a": 1, "b": [1, 2]}),
            unset("/a"),
            json!({"b": [1, 2]}),
        ),
        (json!({"a": [1, 2, 3]}), unset("/a/1"), json!({"a": [1, 3]})),
        (json!({"a": [1]}), unset("/a/0"), json!({"a": []})),
        (json!({"a": null}), unset("/a"), json!({})),
        (json!({"a": [1]}), unset("/a/1"), none.clone()),
        (json!({"a": [1]}), unset("/a/1e0"), none.clone()),
        (json!({"a": 1}), unset("/b"), none.clone()),
        // Test: objects whatever the order of their fields, numbers by value, strings and paths by
        // character.
        (
            json!({"a": {"x": 1, "y": [2]}}),
            test("/a", json!({"y": [2], "x": 1})),
            json!({"a": {"x": 1, "y": [2]}}),
        ),
        (json!({"a": 1.0}), test("/a", json!(1)), json!({"a": 1.0})),
        (
            json!({"a": null}),
            test("/a", json!(null)),
            json!({"a": null}),
        ),
        (json!({"a": 1}), test("/a", json!("1")), none.clone()),
        (
            json!({"a": [1, 2]}),
            test("/a", json!([2, 1])),
            none.clone(),
        ),
        (json!({"a": false}), test("/a", json!(0)), none.clone()),
        (json!({"a": {}}), test("/a/b", json!(null)), none.clone()),
        (
            json!({"~1": 10}),
            test("/~01", json!(10)),
            json!({"~1": 10}),
        ),
        (
            json!({"/": 9, "~1": 10}),
            test("/~1", json!(9)),
            json!({"/": 9, "~1": 10}),
        ),
        // Move.
        (
            json!({"a": {"b": 1}, "c": {}}),
            from("move", "/a/b", "/c/d"),
            json!({"a": {}, "c": {"d": 1}}),
        ),
        (
            json!({"a": [1, 2, 3]}),
            from("move", "/a/0", "/a/2"),
            json!({"a": [2, 3, 1]}),
        ),
        (
            json!({"a": [1], "b": 2}),
            from("move", "/b", "/a/-"),
            json!({"a": [1, 2]}),
        ),
        (
            json!({"a": 1, "b": 2}),
            from("move", "/a", "/b"),
            json!({"b": 1}),
        ),
        (json!({"a": 1}), from("move", "/a", "/a"), json!({"a": 1})),
        (json!({"a": {}}), from("move", "/a", "/a/b"), none.clone()),
        (json!({"a": 1}), from("move", "/b", "/c"), none.clone()),
        (
            json!({"a": [1]}),
            from("move", "/a/0", "/a/1"),
            none.clone(),
        ),
        // Copy.
        (
            json!({"a": {"b": 1}}),
            from("copy", "/a", "/c"),
            json!({"a": {"b": 1}, "c": {"b": 1}}),
        ),
        (
            json!({"a": [1, 2]}),
            from("copy", "/a/1", "/a/0"),
            json!({"a": [2, 1, 2]}),
        ),
        (
            json!({"a": {"b": 1}}),
            from("copy", "/a", "/a/c"),
            json!({"a": {"b": 1, "c": {"b": 1}}}),
        ),
        (
            json!({"a": null}),
            from("copy", "/a", "/b"),
            json!({"a": null, "b": null}),
        ),
        (json!({"a": 1}), from("copy", "/b", "/c"), none.clone()),
    ] {
        let mutations = from_value(json!([mutation.clone()])).unwrap();
        let change = Change::Mutate(mutations, Expiry::Keep);
        match made(&store, &data, change).await {
            Ok(made) => assert_eq!(made, expected, "{data} {mutation}"),
            Err(DocumentError::Mutation { index: 0, .. }) => {
                assert_eq!(expected, Value::Null, "{data} {mutation}");
            }
            Err(error) => panic!("{data} {mutation}: {error}"),
        }
    }
}

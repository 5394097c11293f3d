//! Lost answers, restarts, and users that lack a right.

use std::collections::BTreeMap;

use serde_json::{from_value, json};
use sluice_store::documents::{Change, DocumentError, Documents, DocumentsConfig, Expiry, Write};
use sluice_test_support::LossyWay;
use sluice_valkey::Valkey;

use super::support::{Store, at, object, write};

fn increment() -> Change {
    let mutations = json!([{"op": "increment", "path": "/n", "value": 1}]);
    Change::Mutate(from_value(mutations).unwrap(), Expiry::Keep)
}

#[tokio::test]
async fn a_write_whose_answers_are_lost_is_made_once() {
    let store = Store::start();
    let way = LossyWay::to(store.server.port()).await;
    let valkey = Valkey::at(&way.url()).unwrap();
    let documents = Documents::new(&valkey, DocumentsConfig::default());
    store.create("a", json!({"n": 0})).await;
    // Some of these are the answers of what is read, some of what is written.
    for lost in 0..6 {
        way.lose(lost);
        let written = documents
            .write("s", "a", &write(increment()))
            .await
            .unwrap();
        way.assert_lost();
        assert_eq!(written.revision, lost as u64 + 2);
        assert_eq!(store.data("a").await["n"], lost as u64 + 1);
    }
    way.lose(3);
    let create = Change::Create(object(json!({"n": 0})), Expiry::Keep);
    let created = documents.write("s", "b", &write(create)).await.unwrap();
    way.assert_lost();
    assert_eq!(created.revision, 1);
}

#[tokio::test]
async fn documents_and_their_changes_outlive_a_restart_of_the_server() {
    let mut store = Store::start();
    store.create("a", json!({"n": 0})).await;
    store.change("a", increment()).await.unwrap();
    store.server.restart();
    let written = store.change("a", increment()).await.unwrap();
    assert_eq!(written.revision, 3);
    assert_eq!(store.data("a").await, json!({"n": 2}));
    let listed = store.documents.list("s", None, 10).await.unwrap();
    assert_eq!(listed.documents.len(), 1);
}

/// All keys of the documents `a` and `b`, as they are.
fn dump(store: &Store) -> BTreeMap<String, (Vec<u8>, i64)> {
    let mut connection = store.server.connection();
    let of_documents = |key: &String| !key.ends_with(":index") && key != "sd1:services";
    let keys = store.server.keys("*").into_iter().filter(of_documents);
    keys.map(|key| {
        let dumped = redis::pipe()
            .cmd("DUMP")
            .arg(&key)
            .cmd("PEXPIRETIME")
            .arg(&key)
            .query(&mut connection)
            .unwrap();
        (key, dumped)
    })
    .collect()
}

#[tokio::test]
async fn a_user_without_the_right_to_one_command_writes_nothing_of_a_document() {
    let store = Store::start();
    let limited = store.limited();

    let end = store.now() + 600_000;
    // The JSON module reads this float wrongly.
    let data = object(json!({"float": 0.464_361_972_248_976_35}));
    let create = write(Change::Create(data.clone(), at(end)));
    let replace = write(Change::Replace(data, Expiry::Never));
    store.create("b", json!({})).await;
    let accepted = limited.accept("s", "a", &create).await.unwrap().token;
    let before = dump(&store);
    let writes = [("a", &create, Some(&*accepted)), ("b", &replace, None)];
    let commands: [&[&str]; 2] = [
        &[
            "spublish",
            "json.set",
            "json.get",
            "json.numincrby",
            "unlink",
            "xadd",
            "pexpireat",
            "set",
            "hset",
            "pexpire",
            "zrem",
        ],
        &[
            "spublish",
            "json.set",
            "json.get",
            "json.numincrby",
            "xrange",
            "xadd",
            "persist",
            "hset",
            "pexpire",
        ],
    ];
    let make = async |(id, write, token): (&str, &Write, Option<&str>)| match token {
        Some(token) => limited.write_accepted("s", id, write, token).await,
        None => limited.write("s", id, write).await,
    };
    for (write, commands) in writes.into_iter().zip(commands) {
        for command in commands {
            store.set_rights(&[&format!("-{command}")]);
            let DocumentError::Store(refused) = make(write).await.unwrap_err() else {
                panic!("{command}");
            };
            let fault = refused.fault().map(|fault| fault.name());
            assert_eq!(fault, Some("access_denied"), "{command}: {refused}");
            assert_eq!(dump(&store), before, "{command}");
        }
    }
    for command in ["zadd", "pexpire"] {
        store.set_rights(&[&format!("-{command}")]);
        limited.accept("s", "c", &create).await.unwrap_err();
        assert_eq!(dump(&store), before, "{command}");
    }
    for command in ["zadd", "zremrangebyrank", "zcount"] {
        store.set_rights(&[&format!("-{command}")]);
        limited.release("s", "a", &accepted).await.unwrap_err();
        assert_eq!(dump(&store), before, "{command}");
    }
    store.set_rights(&[]);
    for write in writes {
        make(write).await.unwrap();
    }
}

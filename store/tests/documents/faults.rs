//! Lost answers and restarts.

use serde_json::{from_value, json};
use sluice_store::Valkey;
use sluice_store::documents::{Change, Documents, DocumentsConfig, Expiry};
use sluice_test_support::LossyWay;

use crate::support::{Store, object, write};

fn increment() -> Change {
    let mutations = json!([{"op": "increment", "path": "/n", "value": 1}]);
    Change::Mutate(from_value(mutations).unwrap(), Expiry::Keep)
}

#[tokio::test]
async fn a_write_whose_answers_are_lost_is_made_once() {
    let store = Store::start();
    let way = LossyWay::to(store.server.port()).await;
    let valkey = Valkey::open(&way.url(), 1).unwrap();
    let documents = Documents::new(valkey, DocumentsConfig::default());
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

//! Many writers at once.

use serde_json::{from_value, json};
use sluice_store::documents::{
    Change, Changes, DocumentError, Documents, DocumentsConfig, Expiry, Write,
};
use sluice_valkey::Valkey;
use tokio::task::JoinSet;

use super::support::{Store, replace, write};

const WRITERS: u64 = 64;

fn increment() -> Change {
    let mutations = json!([
        {"op": "increment", "path": "/n", "value": 1},
        {"op": "append", "path": "/all", "value": 0},
    ]);
    Change::Mutate(from_value(mutations).unwrap(), Expiry::Keep)
}

/// Processes beside each other: they share nothing but the server.
fn processes(store: &Store, count: usize) -> Vec<Documents> {
    let open = || Valkey::at(&store.server.url()).unwrap();
    (0..count)
        .map(|_| Documents::new(&open(), DocumentsConfig::default()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_update_is_lost_and_revisions_are_dense() {
    let store = Store::start();
    store.create("a", json!({"n": 0, "all": []})).await;
    let mut writers = JoinSet::new();
    let processes = processes(&store, 4);
    for writer in 0..WRITERS {
        let documents = processes[writer as usize % processes.len()].clone();
        writers.spawn(async move {
            let mut revisions = Vec::new();
            for _ in 0..5 {
                let written = documents
                    .write("s", "a", &write(increment()))
                    .await
                    .unwrap();
                // Whoever has its answer reads nothing older.
                let read = documents.get("s", "a").await.unwrap();
                assert!(read.revision >= written.revision);
                revisions.push(written.revision);
            }
            revisions
        });
    }
    let mut revisions: Vec<u64> = writers.join_all().await.into_iter().flatten().collect();
    revisions.sort_unstable();
    let expected: Vec<u64> = (2..=WRITERS * 5 + 1).collect();
    assert_eq!(revisions, expected);
    let data = store.data("a").await;
    assert_eq!(data["n"], WRITERS * 5);
    assert_eq!(data["all"].as_array().unwrap().len() as u64, WRITERS * 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_expect_one_revision_exactly_one_wins() {
    let store = Store::start();
    store.create("a", json!({"n": 0})).await;
    let processes = processes(&store, 4);
    for round in 1..=5_u64 {
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let documents = processes[writer as usize % processes.len()].clone();
            let write = Write {
                expected_revision: Some(round.into()),
                ..write(replace(json!({"n": writer})))
            };
            writers.spawn(async move { (writer, documents.write("s", "a", &write).await) });
        }
        let mut winners = Vec::new();
        for (writer, written) in writers.join_all().await {
            match written {
                Ok(document) => {
                    assert_eq!(document.revision, round + 1);
                    winners.push(writer);
                }
                Err(DocumentError::RevisionConflict { expected, current }) => {
                    assert_eq!((expected, current), (round.into(), (round + 1).into()));
                }
                Err(error) => panic!("{error}"),
            }
        }
        assert_eq!(winners.len(), 1);
        assert_eq!(store.data("a").await["n"], winners[0]);
    }
    let changes = store
        .documents
        .changes("s", "a", Some(1.into()))
        .await
        .unwrap();
    assert!(matches!(changes, Changes::Since(documents) if documents.len() == 5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_create_one_document_exactly_one_does() {
    let store = Store::start();
    let mut writers = JoinSet::new();
    for (writer, documents) in processes(&store, 16).into_iter().enumerate() {
        let data = json!({"n": writer});
        let create = Change::Create(super::support::object(data), Expiry::Keep);
        writers.spawn(async move { documents.write("s", "a", &write(create)).await });
    }
    let results = writers.join_all().await;
    assert_eq!(results.iter().filter(|it| it.is_ok()).count(), 1);
    for error in results.into_iter().filter_map(Result::err) {
        assert!(matches!(error, DocumentError::AlreadyExists), "{error}");
    }
    assert_eq!(
        store
            .documents
            .list("s", None, 10)
            .await
            .unwrap()
            .documents
            .len(),
        1
    );
}

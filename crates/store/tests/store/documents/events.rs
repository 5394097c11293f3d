//! Watching.

use std::time::Duration;

use serde_json::json;
use sluice_store::documents::{Change, Changes, DocumentError};

use super::support::{Store, replace};

/// Longer than any nudge takes.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test]
async fn every_revision_after_the_given_one_is_told_in_order() {
    let store = Store::start();
    let created = store.create("a", json!({"n": 1})).await;
    let second = store.change("a", replace(json!({"n": 2}))).await.unwrap();
    let third = store.change("a", Change::Delete).await.unwrap();
    let fourth = store.change("a", Change::Restore).await.unwrap();
    let all = [created, second, third, fourth.clone()];
    for after in 0..=4 {
        let changes = store
            .documents
            .changes("s", "a", Some(after.into()))
            .await
            .unwrap();
        assert_eq!(changes, Changes::Since(all[after as usize..].to_vec()));
    }
    let present = store.documents.changes("s", "a", None).await.unwrap();
    assert_eq!(present, Changes::Present(fourth.clone()));
    let ahead = store
        .documents
        .changes("s", "a", Some(5.into()))
        .await
        .unwrap();
    assert_eq!(ahead, Changes::Reset(fourth));
    let error = store.documents.changes("s", "b", None).await.unwrap_err();
    assert!(matches!(error, DocumentError::NotFound));
}

#[tokio::test]
async fn changes_of_large_documents_are_kept_for_less_long_and_that_is_told() {
    let store = Store::start();
    store.create("a", json!({})).await;
    let large = json!({"x": "x".repeat(1_000_000)});
    for _ in 0..8 {
        store.change("a", replace(large.clone())).await.unwrap();
    }
    let reset = store
        .documents
        .changes("s", "a", Some(0.into()))
        .await
        .unwrap();
    assert!(matches!(reset, Changes::Reset(document) if document.revision == 9));
    let kept = store
        .documents
        .changes("s", "a", Some(1.into()))
        .await
        .unwrap();
    assert!(matches!(kept, Changes::Since(documents) if documents.len() == 8));
}

#[tokio::test]
async fn a_watcher_is_nudged_by_every_write_to_its_document_only() {
    let store = Store::start();
    store.create("a", json!({})).await;
    store.create("b", json!({})).await;
    let mut watcher = store.documents.watch("s", "a");
    // The first nudge comes with the subscription.
    watcher.nudged(LONG).await;
    store.change("b", replace(json!({}))).await.unwrap();
    let other = tokio::time::timeout(Duration::from_millis(200), watcher.nudged(LONG)).await;
    assert!(other.is_err());
    store.change("a", replace(json!({}))).await.unwrap();
    tokio::time::timeout(LONG / 2, watcher.nudged(LONG))
        .await
        .unwrap();
}

#[tokio::test]
async fn nudges_come_again_after_the_server_was_away() {
    let mut store = Store::start();
    store.create("a", json!({})).await;
    let mut watcher = store.documents.watch("s", "a");
    watcher.nudged(LONG).await;
    store.server.restart();
    tokio::time::timeout(LONG / 2, watcher.nudged(LONG))
        .await
        .unwrap();
    store.change("a", replace(json!({}))).await.unwrap();
    tokio::time::timeout(LONG / 2, watcher.nudged(LONG))
        .await
        .unwrap();
}

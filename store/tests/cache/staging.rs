//! Stage, push, commit.

use sluice_store::cache::{Overflow, Source};

use crate::support::{Store, entry};

#[tokio::test]
async fn what_was_staged_is_read_and_listed_after_the_commit() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    let entries: Vec<_> = (0..2_500)
        .map(|at| entry(&format!("f{at}"), &format!("{{\"id\":\"f{at}\"}}")))
        .collect();
    let pushed = staging.push(&entries).await.unwrap();
    assert_eq!(pushed.entries, 2_500);
    assert!(store.look("u", "f1").await.is_none());
    let committed = staging.commit("allOne").await.unwrap();
    assert_eq!(
        committed.bytes,
        entries.iter().map(|entry| entry.size()).sum()
    );
    assert_eq!(
        store.look("u", "f7").await.unwrap(),
        (Source::Bulk, entries[7].json.clone())
    );
    let listed = store.list_all("u", 999).await;
    assert!(listed.iter().eq(entries.iter().map(|entry| &entry.json)));
}

#[tokio::test]
async fn every_call_can_be_spawned() {
    let store = Store::start();
    let cache = store.cache.clone();
    tokio::spawn(async move {
        let mut staging = cache.stage("u", Overflow::Skip).await.unwrap();
        staging.push(&[entry("a", "{}")]).await.unwrap();
        staging.amend(&[], true).await.unwrap();
        staging.commit("allOne").await.unwrap();
        cache
            .stage("u", Overflow::Skip)
            .await
            .unwrap()
            .abandon()
            .await
            .unwrap();
        cache.read("u", "a", true).await.unwrap();
        cache.amend("u", &[]).await.unwrap();
        cache.prefetch("u", 0, &[]).await.unwrap();
        cache.most_active("u", 1).await.unwrap();
        cache.list("u", None, 1).await.unwrap();
        cache.invalidate("u", true).await.unwrap();
    })
    .await
    .unwrap();
}

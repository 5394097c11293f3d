//! Later revisions and removals, while staging and of what is live.

use bytes::Bytes;
use sluice_store::StoreError;
use sluice_store::cache::{Overflow, Pushed, Source};

use crate::support::{Store, entry, entry_of_doc, entry_of_size, put, remove};

#[tokio::test]
async fn a_staged_entry_is_replaced_and_removed_by_its_doc_id() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging
        .push(&[
            entry_of_doc("a", "doc-a", "1"),
            entry_of_doc("b", "doc-b", "1"),
            entry("c", "1"),
            entry("d", "1"),
        ])
        .await
        .unwrap();
    let changes = [
        put(entry_of_doc("a", "doc-a", "22")),
        remove("doc-b"),
        put(entry("c", "22")),
        remove("d"),
        remove("never-staged"),
    ];
    staging.amend(&changes, false).await.unwrap();
    // A page read before the removal must not bring the entry back.
    staging
        .push(&[entry_of_doc("b", "doc-b", "1"), entry("d", "1")])
        .await
        .unwrap();
    let expected = Pushed {
        entries: 2,
        skipped: 0,
        bytes: 6,
    };
    assert_eq!(staging.totals(), expected);
    let committed = staging.commit("allOne").await.unwrap();
    assert_eq!((committed.entries, committed.bytes), (2, 6));
    assert_eq!(store.list_all("u", 10).await, ["22", "22"]);
    assert!(store.look("u", "b").await.is_none());
}

#[tokio::test]
async fn a_file_that_is_not_staged_is_added_only_when_asked() {
    let store = Store::start();
    for (add_new, entries) in [(false, 0), (true, 1)] {
        let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
        staging
            .amend(&[put(entry_of_doc("a", "doc-a", "1"))], add_new)
            .await
            .unwrap();
        assert_eq!(staging.totals().entries, entries);
        staging.abandon().await.unwrap();
    }
}

#[tokio::test]
async fn a_staged_entry_whose_id_changes_moves_to_the_new_id() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry("doc", "1")]).await.unwrap();
    staging
        .amend(&[put(entry_of_doc("a", "doc", "2"))], false)
        .await
        .unwrap();
    staging
        .amend(&[put(entry_of_doc("b", "doc", "3"))], false)
        .await
        .unwrap();
    staging.commit("allOne").await.unwrap();
    assert_eq!(store.list_all("u", 10).await, ["3"]);
    assert!(store.look("u", "b").await.is_some());
    store.cache.amend("u", &[remove("doc")]).await.unwrap();
    assert!(store.look("u", "b").await.is_none());
}

#[tokio::test]
async fn a_staged_entry_that_grows_past_the_limit_is_refused_or_skipped() {
    let store = Store::with_limit(1_000);
    let grown = [put(entry_of_size("b", 501))];
    let staged = [entry_of_size("a", 500), entry_of_size("b", 500)];

    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&staged).await.unwrap();
    let refused = staging.amend(&grown, false).await;
    assert!(matches!(
        refused,
        Err(StoreError::LimitExceeded { limit: 1_000 })
    ));

    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&staged).await.unwrap();
    staging.amend(&grown, false).await.unwrap();
    staging.amend(&grown, false).await.unwrap();
    let expected = Pushed {
        entries: 1,
        skipped: 1,
        bytes: 500,
    };
    assert_eq!(staging.totals(), expected);
    // What was skipped and is removed then is no longer a file that was left out.
    staging.amend(&[remove("b")], false).await.unwrap();
    assert_eq!(staging.totals().skipped, 0);
}

#[tokio::test]
async fn a_skipped_file_that_changes_stays_counted_unless_it_may_and_does_fit() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging
        .push(&[entry_of_size("a", 900), entry_of_size("b", 101)])
        .await
        .unwrap();
    let smaller = [put(entry_of_size("b", 100))];
    staging.amend(&smaller, false).await.unwrap();
    assert_eq!((staging.totals().entries, staging.totals().skipped), (1, 1));
    staging.amend(&smaller, true).await.unwrap();
    assert_eq!((staging.totals().entries, staging.totals().skipped), (2, 0));
}

#[tokio::test]
async fn live_and_single_entries_are_refreshed_and_removed_where_they_are() {
    let store = Store::start();
    let bulk = [
        entry_of_doc("a", "doc-a", "1"),
        entry_of_doc("b", "doc-b", "1"),
    ];
    store.sync("u", "mostOne", &bulk).await;
    for single in [
        entry_of_doc("s", "doc-s", "1"),
        entry_of_doc("t", "doc-t", "1"),
    ] {
        assert!(store.cache.fill("u", 0, &single).await.unwrap());
    }
    let changes = [
        put(entry_of_doc("a", "doc-a", "2")),
        remove("doc-b"),
        put(entry_of_doc("s", "doc-s", "2")),
        remove("doc-t"),
        put(entry("uncached", "2")),
    ];
    store.cache.amend("u", &changes).await.unwrap();
    let two = Bytes::from("2");
    assert_eq!(
        store.look("u", "a").await,
        Some((Source::Bulk, two.clone()))
    );
    assert_eq!(store.look("u", "s").await, Some((Source::Single, two)));
    for gone in ["b", "t", "uncached"] {
        assert!(store.look("u", gone).await.is_none(), "{gone}");
    }
    assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 2);
    assert_eq!(store.cache.invalidate("u", false).await.unwrap(), 2);
}

#[tokio::test]
async fn a_complete_set_gains_new_files_and_another_does_not() {
    let store = Store::start();
    for (kind, gains) in [("allOne", true), ("allTwo", true), ("mostOne", false)] {
        store.sync("u", kind, &[entry("a", "1")]).await;
        let new = [put(entry_of_doc("n", "doc-n", "2"))];
        store.cache.amend("u", &new).await.unwrap();
        store.cache.amend("u", &new).await.unwrap();
        let listed = store.list_all("u", 10).await.len();
        assert_eq!(listed, if gains { 2 } else { 1 }, "{kind}");
    }
}

#[tokio::test]
async fn a_file_that_was_removed_and_comes_back_is_listed_once() {
    let store = Store::start();
    store
        .sync("u", "allOne", &[entry("a", "1"), entry("b", "1")])
        .await;
    store.cache.amend("u", &[remove("a")]).await.unwrap();
    store
        .cache
        .amend("u", &[put(entry("a", "2"))])
        .await
        .unwrap();
    assert_eq!(store.list_all("u", 10).await, ["2", "1"]);
}

#[tokio::test]
async fn a_set_with_skipped_files_gains_none() {
    let store = Store::with_limit(100);
    store
        .sync("u", "allTwo", &[entry("a", "1"), entry_of_size("big", 200)])
        .await;
    store
        .cache
        .amend("u", &[put(entry("n", "2"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_none());
}

#[tokio::test]
async fn the_live_set_never_grows_past_the_limit() {
    let store = Store::with_limit(1_000);
    store
        .sync(
            "u",
            "allOne",
            &[entry_of_size("a", 500), entry_of_size("b", 500)],
        )
        .await;
    store
        .cache
        .amend("u", &[put(entry_of_size("a", 501))])
        .await
        .unwrap();
    assert!(store.look("u", "a").await.is_none());
    assert_eq!(store.list_all("u", 10).await.len(), 1);
    // A file is missing from the set now: it is no longer complete, and what is new stays out.
    store
        .cache
        .amend("u", &[put(entry("n", "1"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_none());
}

#[tokio::test]
async fn a_new_file_in_an_empty_complete_set_expires_with_it() {
    let store = Store::start();
    store.sync("u", "allOne", &[]).await;
    store
        .cache
        .amend("u", &[put(entry("n", "1"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_some());
    store.assert_every_key_expires();
}

#[tokio::test]
async fn a_revision_seen_during_a_fetch_keeps_the_fetched_one_out() {
    let store = Store::start();
    let lookup = store.cache.read("u", "a", false).await.unwrap();
    assert!(lookup.fetch_lease);
    store
        .cache
        .amend("u", &[put(entry("a", "2"))])
        .await
        .unwrap();
    let filled = store.cache.fill("u", lookup.epoch, &entry("a", "1")).await;
    assert!(!filled.unwrap());
    // The next fetch is free to begin, and to be cached.
    let lookup = store.cache.read("u", "a", false).await.unwrap();
    assert!(lookup.fetch_lease);
    let filled = store.cache.fill("u", lookup.epoch, &entry("a", "2")).await;
    assert!(filled.unwrap());
}

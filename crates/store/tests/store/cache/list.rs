//! Paged listing.

use sluice_store::StoreError;

use super::support::{AS_OF, Store, entry, entry_of_size, put, remove};

#[tokio::test]
async fn pages_give_the_bulk_set_in_rank_order_and_then_the_single_entries() {
    let store = Store::start();
    let bulk: Vec<_> = (0..25)
        .map(|at| entry(&format!("b{at}"), &format!("bulk {at}")))
        .collect();
    store.sync("u", "mostOne", &bulk).await;
    let single: Vec<_> = (0..12)
        .map(|at| entry(&format!("s{at}"), &format!("single {at}")))
        .collect();
    store
        .cache
        .prefetch("u", 0, AS_OF + 1, &single)
        .await
        .unwrap();

    let expected: Vec<_> = bulk
        .iter()
        .chain(&single)
        .map(|entry| entry.json.clone())
        .collect();
    for page in [1, 5, 7, 25, 37, 1_000] {
        assert_eq!(store.list_all("u", page).await, expected, "pages of {page}");
    }
    let first = store.cache.list("u", None, 10).await.unwrap();
    assert_eq!((first.entries.len(), first.total), (10, 37));
}

#[tokio::test]
async fn a_full_last_page_has_no_cursor() {
    let store = Store::start();
    store
        .sync("u", "mostOne", &[entry("a", "1"), entry("b", "1")])
        .await;
    let page = store.cache.list("u", None, 2).await.unwrap();
    assert_eq!((page.entries.len(), page.cursor), (2, None));
    store.fill("u", &entry("s", "1")).await;
    let page = store.cache.list("u", None, 3).await.unwrap();
    assert_eq!((page.entries.len(), page.cursor), (3, None));
}

#[tokio::test]
async fn a_user_without_entries_has_one_empty_page() {
    let store = Store::start();
    let page = store.cache.list("u", None, 10).await.unwrap();
    assert_eq!((page.entries.len(), page.total, page.generation), (0, 0, 0));
    assert_eq!(page.cursor, None);
}

#[tokio::test]
async fn a_cursor_expires_when_the_set_is_replaced_or_invalidated() {
    let store = Store::start();
    let set = [entry("a", "1"), entry("b", "1")];
    store.sync("u", "allOne", &set).await;
    let cursor = store.cache.list("u", None, 1).await.unwrap().cursor;
    store.sync("u", "allOne", &set).await;
    let expired = store.cache.list("u", cursor, 1).await;
    assert!(matches!(expired, Err(StoreError::CursorExpired)));

    // Also where there never was a bulk set whose generation could change.
    store.cache.prefetch("v", 0, AS_OF + 1, &set).await.unwrap();
    let cursor = store.cache.list("v", None, 1).await.unwrap().cursor;
    store.cache.invalidate("v", false).await.unwrap();
    let epoch = store.cache.epoch("v").await.unwrap();
    store
        .cache
        .prefetch("v", epoch, AS_OF + 1, &set)
        .await
        .unwrap();
    let expired = store.cache.list("v", cursor, 1).await;
    assert!(matches!(expired, Err(StoreError::CursorExpired)));
}

#[tokio::test]
async fn a_cursor_survives_amendments_and_the_page_leaves_out_what_was_removed() {
    let store = Store::start();
    let set: Vec<_> = (0..10)
        .map(|at| entry(&format!("f{at}"), &at.to_string()))
        .collect();
    store.sync("u", "allOne", &set).await;
    let first = store.cache.list("u", None, 3).await.unwrap();
    let changes = [remove("f3"), remove("f4"), put(entry("n", "new"))];
    store.cache.amend("u", &changes).await.unwrap();
    let second = store.cache.list("u", first.cursor, 4).await;
    let second = second.unwrap();
    assert_eq!(second.entries, ["5", "6", "7", "8"]);
    assert_eq!(second.generation, first.generation);
    let last = store.cache.list("u", second.cursor, 4).await;
    assert_eq!(last.unwrap().entries, ["9", "new"]);
}

#[tokio::test]
async fn a_page_ends_early_when_its_entries_are_large() {
    let store = Store::start();
    let large = |id: &str| entry_of_size(id, 400_000);
    let bulk = [large("a"), large("b"), large("c"), large("d"), large("e")];
    store.sync("u", "mostOne", &bulk).await;
    let single = [large("s"), large("t"), large("v"), large("w")];
    store
        .cache
        .prefetch("u", 0, AS_OF + 1, &single)
        .await
        .unwrap();

    let expected: Vec<_> = bulk
        .iter()
        .chain(&single)
        .map(|entry| entry.json.clone())
        .collect();
    assert_eq!(store.list_all("u", 1_000).await, expected);
    let first = store.cache.list("u", None, 1_000).await.unwrap();
    assert_eq!((first.entries.len(), first.total), (3, 9));
}

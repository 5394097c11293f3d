//! Invalidate: everything of a user leaves the cache at once.

use super::support::{AS_OF, Store, entry};

#[tokio::test]
async fn it_counts_distinct_ids_and_hides_them_at_once() {
    let store = Store::start();
    let bulk: Vec<_> = (0..700).map(|at| entry(&format!("b{at}"), "1")).collect();
    store.sync("u", "mostOne", &bulk).await;
    // Half of these are in the bulk set, and stay there.
    let mixed: Vec<_> = (650..750).map(|at| entry(&format!("b{at}"), "2")).collect();
    store
        .cache
        .prefetch("u", 0, AS_OF + 1, &mixed)
        .await
        .unwrap();
    store.sync("other", "allOne", &[entry("a", "1")]).await;

    assert_eq!(store.cache.invalidate("u", false).await.unwrap(), 750);
    assert!(!store.cache.has_any("u").await.unwrap());
    assert!(store.look("u", "b1").await.is_none());
    assert!(store.look("u", "b740").await.is_none());
    assert!(store.list_all("u", 100).await.is_empty());
    assert_eq!(store.cache.invalidate("u", false).await.unwrap(), 0);
    assert!(store.look("other", "a").await.is_some());
}

#[tokio::test]
async fn the_ranking_goes_only_when_asked() {
    let store = Store::start();
    store.access("u", "a").await;
    store.cache.invalidate("u", false).await.unwrap();
    assert_eq!(store.cache.most_active("u", 0, 9).await.unwrap(), ["a"]);
    store.cache.invalidate("u", true).await.unwrap();
    assert!(store.cache.most_active("u", 0, 9).await.unwrap().is_empty());
}

#[tokio::test]
async fn each_moves_the_epoch_forward() {
    let store = Store::start();
    let mut last = store.cache.epoch("u").await.unwrap();
    assert_eq!(last, 0);
    for _ in 0..5 {
        store.cache.invalidate("u", false).await.unwrap();
        let epoch = store.cache.epoch("u").await.unwrap();
        assert!(epoch > last);
        last = epoch;
    }
}

//! The ranking of what is accessed most.

use std::time::Duration;

use sluice_store::cache::CacheConfig;

use crate::support::Store;

async fn access(store: &Store, id: &str, times: usize) {
    for _ in 0..times {
        store.cache.read("u", id, true).await.unwrap();
    }
}

#[tokio::test]
async fn more_accesses_rank_higher_and_looking_without_recording_does_not_count() {
    let store = Store::start();
    access(&store, "once", 1).await;
    access(&store, "often", 9).await;
    access(&store, "thrice", 3).await;
    store.look("u", "never").await;
    let ranked = store.cache.most_active("u", 10).await.unwrap();
    assert_eq!(ranked, ["often", "thrice", "once"]);
    assert_eq!(store.cache.most_active("u", 1).await.unwrap(), ["often"]);
    assert!(store.cache.most_active("u", 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn old_accesses_weigh_less_than_new_ones() {
    let store = Store::with(CacheConfig {
        activity_half_life: Duration::from_millis(100),
        ..CacheConfig::default()
    });
    access(&store, "formerly", 4).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    access(&store, "lately", 1).await;
    let ranked = store.cache.most_active("u", 10).await.unwrap();
    assert_eq!(ranked, ["lately", "formerly"]);
}

#[tokio::test]
async fn a_ranking_without_accesses_is_forgotten_after_32_half_lives() {
    let store = Store::with(CacheConfig {
        activity_half_life: Duration::from_millis(10),
        ..CacheConfig::default()
    });
    access(&store, "a", 1).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert!(store.cache.most_active("u", 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_ranking_keeps_ten_times_the_most_active_group() {
    let store = Store::with(CacheConfig {
        most_active_limit: 1,
        ..CacheConfig::default()
    });
    access(&store, "favourite", 5).await;
    for at in 0..30 {
        access(&store, &format!("f{at}"), 1).await;
    }
    let ranked = store.cache.most_active("u", 100).await.unwrap();
    assert_eq!(ranked.len(), 10);
    assert_eq!(ranked[0], "favourite");
}

#[tokio::test]
async fn forgotten_ids_leave_the_ranking() {
    let store = Store::start();
    access(&store, "a", 1).await;
    access(&store, "b", 2).await;
    store
        .cache
        .forget_activity("u", &["b".into(), "unknown".into()])
        .await
        .unwrap();
    assert_eq!(store.cache.most_active("u", 10).await.unwrap(), ["a"]);
    store.cache.forget_activity("u", &[]).await.unwrap();
}

#[tokio::test]
async fn users_who_read_lately_are_listed_until_their_entries_would_have_expired() {
    let store = Store::with_entry_ttl(Duration::from_secs(2));
    store.cache.read("ann", "a", true).await.unwrap();
    store.cache.read("ann", "b", true).await.unwrap();
    store
        .cache
        .read("seen-by-nobody", "a", false)
        .await
        .unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.cache.read("ben", "a", true).await.unwrap();
    assert_eq!(store.cache.recent_users(10).await.unwrap(), ["ben", "ann"]);
    assert_eq!(store.cache.recent_users(1).await.unwrap(), ["ben"]);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(store.cache.recent_users(10).await.unwrap().is_empty());
}

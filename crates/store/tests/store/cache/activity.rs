//! The ranking of what is accessed most.

use std::time::Duration;

use sluice_store::cache::CacheConfig;

use super::support::Store;

async fn access(store: &Store, id: &str, times: usize) {
    for _ in 0..times {
        store.access("u", id).await;
    }
}

#[tokio::test]
async fn more_accesses_rank_higher_and_looking_without_recording_does_not_count() {
    let store = Store::start();
    access(&store, "once", 1).await;
    access(&store, "often", 9).await;
    access(&store, "thrice", 3).await;
    store.look("u", "never").await;
    let ranked = store.cache.most_active("u", 0, 10).await.unwrap();
    assert_eq!(ranked, ["often", "thrice", "once"]);
    assert_eq!(store.cache.most_active("u", 0, 1).await.unwrap(), ["often"]);
    assert!(store.cache.most_active("u", 0, 0).await.unwrap().is_empty());
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
    let ranked = store.cache.most_active("u", 0, 10).await.unwrap();
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
    assert!(
        store
            .cache
            .most_active("u", 0, 10)
            .await
            .unwrap()
            .is_empty()
    );
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
    let ranked = store.cache.most_active("u", 0, 100).await.unwrap();
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
    assert_eq!(store.cache.most_active("u", 0, 10).await.unwrap(), ["a"]);
    store.cache.forget_activity("u", &[]).await.unwrap();
}

#[tokio::test]
async fn users_who_read_lately_are_listed_until_their_entries_would_have_expired() {
    let store = Store::with_entry_ttl(Duration::from_secs(2));
    store.access("ann", "a").await;
    store.access("ann", "b").await;
    store.cache.read("seen-by-nobody", "a").await.unwrap();
    tokio::time::sleep(Duration::from_millis(1100)).await;
    store.access("ben", "a").await;
    assert_eq!(store.recent_users(10).await, ["ben", "ann"]);
    assert_eq!(store.recent_users(1).await, ["ben"]);
    let [(second, _)] = &store.cache.recent_users(1, 9).await.unwrap()[..] else {
        panic!("one is left from the second place on");
    };
    assert_eq!(second, "ann");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(store.recent_users(10).await.is_empty());
}

#[tokio::test]
async fn accesses_are_recorded_by_themselves() {
    let store = Store::start();
    store.cache.note_access("u", "a", 0);
    while store.cache.most_active("u", 0, 9).await.unwrap() != ["a"] {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn accesses_of_before_an_invalidate_leave_nothing_of_the_user_after_it() {
    let store = Store::start();
    let lookup = store.cache.read("u", "a").await.unwrap();
    store.cache.note_access("u", "a", lookup.epoch);
    store.cache.invalidate("u", true).await.unwrap();
    store.cache.record_accesses().await;
    assert!(store.cache.most_active("u", 0, 9).await.unwrap().is_empty());
    assert!(store.recent_users(9).await.is_empty());
}

#[tokio::test]
async fn a_recent_reader_has_the_second_of_an_access_which_an_invalidate_comes_after() {
    let store = Store::start();
    store.access("u", "a").await;
    let [(user, read_at)] = &store.cache.recent_users(0, 9).await.unwrap()[..] else {
        panic!("one user read");
    };
    assert_eq!(user, "u");
    let before = store.cache.epoch("u").await.unwrap();
    store.cache.invalidate("u", true).await.unwrap();
    let epoch = store.cache.epoch("u").await.unwrap();
    assert!(before < read_at * 1_000_000 && read_at * 1_000_000 <= epoch);
}

#[tokio::test]
async fn an_invalidated_user_is_no_recent_reader() {
    let store = Store::start();
    store.access("u", "a").await;
    assert_eq!(store.recent_users(9).await, ["u"]);
    store.cache.invalidate("u", true).await.unwrap();
    assert!(store.recent_users(9).await.is_empty());
}

#[tokio::test]
async fn the_ranking_is_read_in_pages() {
    let store = Store::start();
    for (at, id) in ["c", "b", "a"].iter().enumerate() {
        for _ in 0..=at {
            store.access("u", id).await;
        }
    }
    assert_eq!(
        store.cache.most_active("u", 0, 2).await.unwrap(),
        ["a", "b"]
    );
    assert_eq!(store.cache.most_active("u", 2, 2).await.unwrap(), ["c"]);
    assert!(store.cache.most_active("u", 3, 2).await.unwrap().is_empty());
}

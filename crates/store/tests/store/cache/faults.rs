//! Lost answers, forgotten scripts and restarts.

use sluice_store::StoreError;
use sluice_store::cache::{Cache, CacheConfig, Overflow};
use sluice_test_support::LossyWay;

use super::support::{AS_OF, Store, cache_at, entry, entry_of_size};

/// A cache whose answers can be made to get lost.
struct LossyCache {
    cache: Cache,
    way: LossyWay,
}

impl LossyCache {
    async fn of(store: &Store) -> LossyCache {
        let way = LossyWay::to(store.server.port()).await;
        let cache = cache_at(&way.url(), store.cache.config().clone());
        LossyCache { cache, way }
    }

    fn lose(&self, count: usize) {
        self.way.lose(count);
    }

    fn assert_lost(&self) {
        self.way.assert_lost();
    }
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_applied_once() {
    let store = Store::with_limit(1_000);
    let way = LossyCache::of(&store).await;
    let mut staging = way.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry_of_size("a", 100)]).await.unwrap();
    way.lose(2);
    let chunk = [
        entry_of_size("b", 100),
        entry_of_size("big", 2_000),
        entry_of_size("c", 100),
    ];
    let pushed = staging.push(&chunk).await.unwrap();
    way.assert_lost();
    assert_eq!((pushed.entries, pushed.skipped, pushed.bytes), (3, 1, 300));
    staging.commit("allTwo", AS_OF).await.unwrap();
    assert_eq!(store.list_all("u", 10).await.len(), 3);
}

#[tokio::test]
async fn a_refusal_whose_answer_is_lost_is_still_that_refusal() {
    let store = Store::with_limit(1_000);
    let way = LossyCache::of(&store).await;
    // The script is known, so that the refusal itself is the answer that gets lost.
    store.sync("warm", "allOne", &[entry("a", "1")]).await;
    let mut staging = way.cache.stage("u", Overflow::Refuse).await.unwrap();
    way.lose(1);
    let refused = staging.push(&[entry_of_size("a", 1_001)]).await;
    way.assert_lost();
    assert!(matches!(refused, Err(StoreError::LimitExceeded { .. })));
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_succeeds() {
    let store = Store::start();
    let way = LossyCache::of(&store).await;
    store.sync("warm", "allOne", &[entry("a", "1")]).await;
    let mut staging = way.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry("a", "1")]).await.unwrap();
    way.lose(1);
    let committed = staging.commit("allOne", AS_OF).await.unwrap();
    way.assert_lost();
    assert_eq!(committed.entries, 1);
    let page = store.cache.list("u", None, 1).await.unwrap();
    assert_eq!(page.generation, committed.generation);
}

#[tokio::test]
async fn an_invalidate_whose_answer_is_lost_still_counts() {
    let store = Store::start();
    let way = LossyCache::of(&store).await;
    store.cache.invalidate("warm", false).await.unwrap();
    store
        .sync("u", "allOne", &[entry("a", "1"), entry("b", "1")])
        .await;
    way.lose(1);
    assert_eq!(way.cache.invalidate("u", false).await.unwrap(), 2);
    way.assert_lost();
}

#[tokio::test]
async fn a_reader_whose_answer_is_lost_still_gets_its_lease() {
    let store = Store::start();
    let way = LossyCache::of(&store).await;
    store.look("warm", "a").await;
    way.lose(1);
    assert!(
        way.cache
            .read("u", "a")
            .await
            .unwrap()
            .fetch_lease
            .is_some()
    );
    way.assert_lost();
}

#[tokio::test]
async fn a_sync_survives_function_flush_and_a_restart_of_the_server() {
    let mut store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry("a", "1")]).await.unwrap();
    redis::cmd("FUNCTION")
        .arg("FLUSH")
        .exec(&mut store.server.connection())
        .unwrap();
    staging.push(&[entry("b", "1")]).await.unwrap();
    store.server.restart();
    staging.push(&[entry("c", "1")]).await.unwrap();
    store.server.restart();
    assert_eq!(staging.commit("allOne", AS_OF).await.unwrap().entries, 3);
    store.server.restart();
    assert_eq!(store.list_all("u", 10).await.len(), 3);
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_is_on_its_way_back() {
    let mut store = Store::start();
    store.sync("u", "allOne", &[entry("a", "1")]).await;
    store.server.kill();
    let cache = store.cache.clone();
    let read = tokio::spawn(async move { cache.read("u", "a").await });
    tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    store.server.restart();
    assert!(read.await.unwrap().unwrap().hit.is_some());
}

#[tokio::test]
async fn a_server_that_stays_away_is_an_error_that_may_be_retried() {
    let port = sluice_test_support::free_port();
    let cache = cache_at(&format!("redis://127.0.0.1:{port}"), CacheConfig::default());
    let error = cache.epoch("u").await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
}

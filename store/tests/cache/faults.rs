//! Lost answers, forgotten scripts and restarts.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use sluice_store::StoreError;
use sluice_store::cache::{Cache, CacheConfig, Overflow};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Store, cache_at, entry, entry_of_size};

/// A way to Valkey that, when told to, passes a script call on and breaks the connection instead of passing its answer back.
struct LossyWay {
    cache: Cache,
    to_lose: Arc<AtomicUsize>,
}

impl LossyWay {
    async fn to(store: &Store) -> LossyWay {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let to_lose = Arc::new(AtomicUsize::new(0));
        let (server, lose) = (store.server.port(), to_lose.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, server, lose.clone()));
            }
        });
        let cache = cache_at(
            &format!("redis://127.0.0.1:{port}"),
            store.cache.config().clone(),
        );
        LossyWay { cache, to_lose }
    }

    /// The answers to the next `count` script calls get lost.
    fn lose(&self, count: usize) {
        self.to_lose.store(count, Ordering::SeqCst);
    }

    fn assert_lost(&self) {
        assert_eq!(self.to_lose.load(Ordering::SeqCst), 0, "nothing was lost");
    }
}

async fn carry(mut client: TcpStream, server: u16, to_lose: Arc<AtomicUsize>) {
    let Ok(mut server) = TcpStream::connect(("127.0.0.1", server)).await else {
        return;
    };
    let (mut sent, mut answered) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    let mut in_script = false;
    loop {
        tokio::select! {
            read = client.read(&mut sent) => {
                let Ok(count @ 1..) = read else { return };
                in_script |= sent[..count].windows(7).any(|word| word == b"EVALSHA");
                if server.write_all(&sent[..count]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(count @ 1..) = read else { return };
                let lose = |left: usize| left.checked_sub(1);
                if in_script && to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, lose).is_ok() {
                    return;
                }
                in_script = false;
                if client.write_all(&answered[..count]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn a_push_whose_answer_is_lost_is_applied_once() {
    let store = Store::with_limit(1_000);
    let way = LossyWay::to(&store).await;
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
    staging.commit("allTwo").await.unwrap();
    assert_eq!(store.list_all("u", 10).await.len(), 3);
}

#[tokio::test]
async fn a_refusal_whose_answer_is_lost_is_still_that_refusal() {
    let store = Store::with_limit(1_000);
    let way = LossyWay::to(&store).await;
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
    let way = LossyWay::to(&store).await;
    store.sync("warm", "allOne", &[entry("a", "1")]).await;
    let mut staging = way.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry("a", "1")]).await.unwrap();
    way.lose(1);
    let committed = staging.commit("allOne").await.unwrap();
    way.assert_lost();
    assert_eq!(committed.entries, 1);
    let page = store.cache.list("u", None, 1).await.unwrap();
    assert_eq!(page.generation, committed.generation);
}

#[tokio::test]
async fn an_invalidate_whose_answer_is_lost_still_counts() {
    let store = Store::start();
    let way = LossyWay::to(&store).await;
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
    let way = LossyWay::to(&store).await;
    store.look("warm", "a").await;
    way.lose(1);
    assert!(way.cache.read("u", "a", false).await.unwrap().fetch_lease);
    way.assert_lost();
}

#[tokio::test]
async fn a_sync_survives_script_flush_and_a_restart_of_the_server() {
    let mut store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry("a", "1")]).await.unwrap();
    redis::cmd("SCRIPT")
        .arg("FLUSH")
        .exec(&mut store.server.connection())
        .unwrap();
    staging.push(&[entry("b", "1")]).await.unwrap();
    store.server.restart();
    staging.push(&[entry("c", "1")]).await.unwrap();
    store.server.restart();
    assert_eq!(staging.commit("allOne").await.unwrap().entries, 3);
    store.server.restart();
    assert_eq!(store.list_all("u", 10).await.len(), 3);
}

#[tokio::test]
async fn a_call_waits_for_a_server_that_is_on_its_way_back() {
    let mut store = Store::start();
    store.sync("u", "allOne", &[entry("a", "1")]).await;
    store.server.kill();
    let cache = store.cache.clone();
    let read = tokio::spawn(async move { cache.read("u", "a", false).await });
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

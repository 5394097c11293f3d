//! Reading through: one fetch for all that miss an entry, in one process and between processes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use sluice_store::cache::{Entry, Origin, Read, ReadError, ReadThrough, Source};
use tokio::sync::Semaphore;

use super::support::{Store, cache_at, entry};

/// An origin that has `a` alone, and answers when it is let.
#[derive(Clone)]
struct Files {
    fetches: Arc<AtomicUsize>,
    answers: Arc<Semaphore>,
    is_away: Arc<AtomicBool>,
}

impl Files {
    fn new() -> Files {
        Files {
            fetches: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
            is_away: Arc::default(),
        }
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }

    async fn until_asked(&self, times: usize) {
        while self.fetches() < times {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

impl Origin for Files {
    type Error = &'static str;

    async fn fetch(&self, _: &str, id: &str) -> Result<Option<Entry>, &'static str> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        match self.is_away.load(Ordering::SeqCst) {
            true => Err("away"),
            false => Ok((id == "a").then(|| entry(id, "1"))),
        }
    }
}

fn read(json: &str, cached: Option<Source>) -> Option<Read> {
    let json = Bytes::copy_from_slice(json.as_bytes());
    Some(Read { json, cached })
}

#[tokio::test]
async fn all_that_miss_an_entry_in_two_processes_get_the_one_that_is_fetched_once() {
    let store = Store::start();
    let files = Files::new();
    let other = cache_at(&store.server.url(), store.cache.config().clone());
    let nodes = [store.cache.clone(), other].map(|it| ReadThrough::new(it, files.clone()));
    let readers = nodes
        .iter()
        .cycle()
        .take(20)
        .map(|node| node.read("u", "a"));
    let answer = async {
        files.until_asked(1).await;
        files.answers.add_permits(1);
    };
    let (found, ()) = tokio::join!(join_all(readers), answer);
    for found in found {
        assert_eq!(found.unwrap().unwrap().json, "1");
    }
    assert_eq!(files.fetches(), 1);
    let cached = nodes[0].read("u", "a").await.unwrap();
    assert_eq!(cached, read("1", Some(Source::Single)));
}

#[tokio::test]
async fn readers_share_what_leaves_no_trace_and_the_next_one_asks_again() {
    let store = Store::start();
    let files = Files::new();
    let entries = ReadThrough::new(store.cache.clone(), files.clone());
    for is_away in [true, false] {
        files.is_away.store(is_away, Ordering::SeqCst);
        let before = files.fetches();
        let readers = (0..20).map(|_| entries.read("u", "other"));
        let answer = async {
            files.until_asked(before + 1).await;
            files.answers.add_permits(20);
        };
        let (found, ()) = tokio::join!(join_all(readers), answer);
        for found in found {
            match found {
                Ok(found) => assert!(!is_away && found.is_none()),
                Err(error) => assert!(is_away && matches!(*error, ReadError::Origin("away"))),
            }
        }
        // One, but for reads that happen to begin after its end.
        assert!((1..10).contains(&(files.fetches() - before)));
        files.answers.forget_permits(20);
    }
}

#[tokio::test]
async fn a_fetch_whose_caller_has_gone_fills_the_cache() {
    let store = Store::start();
    let files = Files::new();
    let entries = ReadThrough::new(store.cache.clone(), files.clone());
    let caller = tokio::spawn({
        let entries = entries.clone();
        async move { entries.read("u", "a").await.unwrap() }
    });
    files.until_asked(1).await;
    caller.abort();
    assert!(caller.await.unwrap_err().is_cancelled());
    files.answers.add_permits(1);
    let found = entries.read("u", "a").await.unwrap();
    assert_eq!(found.unwrap().json, "1");
    assert_eq!(files.fetches(), 1);
}

#[tokio::test]
async fn reads_that_find_something_are_accesses() {
    let store = Store::start();
    let files = Files::new();
    files.answers.add_permits(2);
    let entries = ReadThrough::new(store.cache.clone(), files);
    assert_eq!(entries.read("u", "a").await.unwrap(), read("1", None));
    assert_eq!(entries.read("v", "other").await.unwrap(), None);
    store.cache.record_accesses().await;
    assert_eq!(store.recent_users(10).await, ["u"]);
}

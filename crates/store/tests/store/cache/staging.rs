//! Stage, push, commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::Commands;
use sluice_store::StoreError;
use sluice_store::cache::{CacheConfig, MAX_LIMIT_BYTES, Overflow, Pushed, Source};

use super::support::{AS_OF, Store, cache_at, entry, entry_of_doc, entry_of_size, put};

#[tokio::test]
async fn what_was_staged_is_read_and_listed_after_the_commit_only() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    let entries: Vec<_> = (0..2_500)
        .map(|at| entry(&format!("f{at}"), &format!("{{\"id\":\"f{at}\"}}")))
        .collect();
    let pushed = staging.push(&entries).await.unwrap();
    assert_eq!(pushed.entries, 2_500);
    assert!(store.look("u", "f7").await.is_none());
    assert!(!store.cache.has_any("u").await.unwrap());

    let committed = staging.commit("allOne", AS_OF).await.unwrap();
    assert_eq!(
        committed.bytes,
        entries.iter().map(|entry| entry.size()).sum::<u64>()
    );
    assert_eq!(
        store.look("u", "f7").await.unwrap(),
        (Source::Bulk, entries[7].json.clone())
    );
    assert!(store.cache.has_any("u").await.unwrap());
    let listed = store.list_all("u", 999).await;
    assert!(listed.iter().eq(entries.iter().map(|entry| &entry.json)));
}

#[tokio::test]
async fn a_set_that_lacks_an_acknowledged_step_is_not_committed() {
    // As a replica that takes over before it has all that its primary had acknowledged.
    let lose_a_step = |store: &Store| {
        let mut server = store.server.connection();
        let _: i64 = server.hincr("sm1:{u}:stage:info", "seq", -1).unwrap();
    };
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry("a", "{}")]).await.unwrap();
    lose_a_step(&store);
    let pushed = staging.push(&[entry("b", "{}")]).await;
    assert!(matches!(pushed, Err(StoreError::StagingLost)), "{pushed:?}");

    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry("a", "{}")]).await.unwrap();
    staging.amend(&[put(entry("b", "{}"))], true).await.unwrap();
    lose_a_step(&store);
    let amended = staging.amend(&[put(entry("c", "{}"))], true).await;
    assert!(
        matches!(amended, Err(StoreError::StagingLost)),
        "{amended:?}"
    );
    let committed = staging.commit("allOne", AS_OF).await;
    assert!(
        matches!(committed, Err(StoreError::StagingLost)),
        "{committed:?}"
    );
    assert!(!store.cache.has_any("u").await.unwrap());
}

#[tokio::test]
async fn a_set_may_be_exactly_as_large_as_the_limit() {
    for policy in [Overflow::Refuse, Overflow::Skip] {
        let store = Store::with_limit(1_000);
        let mut staging = store.cache.stage("u", policy).await.unwrap();
        staging
            .push(&[entry_of_size("a", 600), entry_of_size("b", 400)])
            .await
            .unwrap();
        let committed = staging.commit("allTwo", AS_OF).await.unwrap();
        assert_eq!(
            (committed.entries, committed.skipped, committed.bytes),
            (2, 0, 1_000)
        );
    }
}

#[tokio::test]
async fn one_byte_too_many_is_refused_and_leaves_the_old_set() {
    let store = Store::with_limit(1_000);
    store.sync("u", "allOne", &[entry("old", "{}")]).await;
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry_of_size("a", 600)]).await.unwrap();
    let refused = staging.push(&[entry_of_size("b", 401)]).await;
    assert!(matches!(
        refused,
        Err(StoreError::LimitExceeded { limit: 1_000 })
    ));
    let committed = staging.commit("allOne", AS_OF).await;
    assert!(matches!(committed, Err(StoreError::LimitExceeded { .. })));
    assert!(store.look("u", "a").await.is_none());
    assert!(store.look("u", "old").await.is_some());
}

#[tokio::test]
async fn one_byte_too_many_is_refused_within_one_push_too() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    let refused = staging
        .push(&[entry_of_size("a", 600), entry_of_size("b", 401)])
        .await;
    assert!(matches!(refused, Err(StoreError::LimitExceeded { .. })));
}

#[tokio::test]
async fn what_does_not_fit_is_skipped_and_smaller_ones_after_it_go_in() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    let pushed = staging
        .push(&[
            entry_of_size("a", 700),
            entry_of_size("b", 301),
            entry_of_size("c", 300),
            entry_of_size("d", 10),
        ])
        .await
        .unwrap();
    let expected = Pushed {
        entries: 2,
        skipped: 2,
        bytes: 1_000,
    };
    assert_eq!(pushed, expected);
    // Larger than the whole limit, in a push of its own, which does not even send it.
    staging.push(&[entry_of_size("e", 5_000)]).await.unwrap();
    assert_eq!(staging.totals().skipped, 3);
    staging.commit("allTwo", AS_OF).await.unwrap();
    assert!(store.look("u", "c").await.is_some());
    assert!(store.look("u", "b").await.is_none());
}

#[tokio::test]
async fn an_id_that_comes_again_is_ignored_whether_it_was_admitted_or_skipped() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    let active = [entry_of_size("a", 700), entry_of_size("big", 900)];
    staging.push(&active).await.unwrap();
    let newest = [
        entry_of_size("n", 100),
        entry_of_size("big", 900),
        entry("a", "other"),
        entry("n", "other"),
    ];
    let pushed = staging.push(&newest).await.unwrap();
    let expected = Pushed {
        entries: 2,
        skipped: 1,
        bytes: 800,
    };
    assert_eq!(pushed, expected);
    staging.commit("allTwo", AS_OF).await.unwrap();
    assert_eq!(store.look("u", "a").await.unwrap().1, active[0].json);
    assert_eq!(store.list_all("u", 10).await.len(), 2);
}

#[tokio::test]
async fn a_reader_sees_the_whole_old_set_or_the_whole_new_one() {
    let store = Arc::new(Store::start());
    let version = |version: usize| -> Vec<_> {
        (0..300)
            .map(|at| entry(&format!("f{at}"), &format!("v{version}")))
            .collect()
    };
    store.sync("u", "allOne", &version(0)).await;

    let done = Arc::new(AtomicBool::new(false));
    let reader = tokio::spawn({
        let (store, done) = (store.clone(), done.clone());
        async move {
            let mut seen = std::collections::BTreeSet::new();
            while !done.load(Ordering::Relaxed) {
                let page = store.cache.list("u", None, 1_000).await.unwrap();
                assert_eq!((page.entries.len(), page.total), (300, 300));
                assert!(page.entries.iter().all(|json| *json == page.entries[0]));
                seen.insert(page.entries[0].clone());
            }
            seen.len()
        }
    });
    for at in 1..=50 {
        store.sync("u", "allOne", &version(at)).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(reader.await.unwrap() > 1, "the reader saw only one version");
}

#[tokio::test]
async fn a_commit_replaces_scattered_entries_and_what_the_old_set_held() {
    let store = Store::start();
    store.sync("u", "allOne", &[entry("gone", "{}")]).await;
    store.fill("u", &entry("scattered", "{}")).await;
    store.sync("u", "mostOne", &[entry("new", "{}")]).await;
    assert!(store.look("u", "gone").await.is_none());
    assert!(store.look("u", "scattered").await.is_none());
    assert_eq!(store.list_all("u", 10).await.len(), 1);
}

#[tokio::test]
async fn an_empty_set_replaces_the_old_one_too() {
    let store = Store::start();
    store.sync("u", "allOne", &[entry("a", "{}")]).await;
    store.sync("u", "allOne", &[]).await;
    assert!(store.look("u", "a").await.is_none());
    assert!(!store.cache.has_any("u").await.unwrap());
    let page = store.cache.list("u", None, 10).await.unwrap();
    assert_eq!((page.total, page.cursor), (0, None));
    assert!(page.generation > 0);
}

#[tokio::test]
async fn a_later_attempt_takes_the_place_of_what_an_earlier_one_staged() {
    let store = Store::start();
    let mut first = store.cache.stage("u", Overflow::Skip).await.unwrap();
    first.push(&[entry("a", "1")]).await.unwrap();
    let mut second = store.cache.stage("u", Overflow::Skip).await.unwrap();
    second.push(&[entry("b", "2")]).await.unwrap();

    let pushed = first.push(&[entry("c", "1")]).await;
    assert!(matches!(pushed, Err(StoreError::StagingLost)));
    let amended = first.amend(&[put(entry("c", "1"))], true).await;
    assert!(matches!(amended, Err(StoreError::StagingLost)));
    let committed = first.commit("allOne", AS_OF).await;
    assert!(matches!(committed, Err(StoreError::StagingLost)));

    second.commit("allOne", AS_OF).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, ["2"]);
    let staged: Vec<String> = store.server.connection().keys("*stage*").unwrap();
    assert_eq!(staged, Vec::<String>::new());
}

#[tokio::test]
async fn an_earlier_attempt_does_not_abandon_what_a_later_one_staged() {
    let store = Store::start();
    let first = store.cache.stage("u", Overflow::Skip).await.unwrap();
    let mut second = store.cache.stage("u", Overflow::Skip).await.unwrap();
    second.push(&[entry("b", "2")]).await.unwrap();
    first.abandon().await.unwrap();
    assert_eq!(second.commit("allOne", AS_OF).await.unwrap().entries, 1);
}

#[tokio::test]
async fn an_invalidate_leaves_nothing_staged_and_a_straggler_writes_nothing_after_it() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging
        .push(&[entry_of_doc("a", "doc-a", "1"), entry_of_size("big", 2_000)])
        .await
        .unwrap();
    store.cache.invalidate("u", true).await.unwrap();
    let left = || -> Vec<String> { store.server.connection().keys("*").unwrap() };
    assert_eq!(left(), ["sm1:{u}:epoch"]);

    let pushed = staging.push(&[entry("b", "1")]).await;
    assert!(matches!(pushed, Err(StoreError::Superseded)));
    let amended = staging.amend(&[put(entry("b", "1"))], true).await;
    assert!(matches!(amended, Err(StoreError::Superseded)));
    let committed = staging.commit("allOne", AS_OF).await;
    assert!(matches!(committed, Err(StoreError::Superseded)));
    assert_eq!(left(), ["sm1:{u}:epoch"]);
}

#[tokio::test]
async fn a_set_that_nothing_fits_in_leaves_the_single_entries() {
    let store = Store::with_limit(100);
    store.fill("u", &entry("s", "1")).await;
    store
        .sync("u", "allTwo", &[entry_of_size("big", 101)])
        .await;
    assert!(store.look("u", "s").await.is_some());
    store.sync("u", "allTwo", &[entry("a", "1")]).await;
    assert!(store.look("u", "s").await.is_none());
}

#[tokio::test]
async fn a_staging_set_with_a_part_missing_is_lost() {
    let store = Store::with_limit(1_000);
    let mut connection = store.server.connection();
    for lost in ["info", "entries", "order", "docs", "skipped"] {
        let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
        let staged = [
            entry_of_doc("a", "doc-a", "{}"),
            entry_of_size("big", 2_000),
        ];
        staging.push(&staged).await.unwrap();
        let keys: Vec<String> = connection.keys(format!("*stage:{lost}")).unwrap();
        let _: () = connection.del(keys).unwrap();
        let committed = staging.commit("allOne", AS_OF).await;
        assert!(matches!(committed, Err(StoreError::StagingLost)), "{lost}");
    }
    assert!(store.look("u", "a").await.is_none());

    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    let _: () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
    let pushed = staging.push(&[entry("a", "{}")]).await;
    assert!(matches!(pushed, Err(StoreError::StagingLost)));
}

#[tokio::test]
async fn an_abandoned_or_refused_set_leaves_nothing_behind() {
    let store = Store::with_limit(100);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging
        .push(&[entry("a", "{}"), entry_of_size("b", 200)])
        .await
        .unwrap();
    staging.abandon().await.unwrap();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&[entry("a", "{}")]).await.unwrap();
    assert!(staging.push(&[entry_of_size("b", 200)]).await.is_err());
    assert!(staging.commit("allOne", AS_OF).await.is_err());
    let keys: Vec<String> = store.server.connection().keys("*").unwrap();
    assert_eq!(keys, Vec::<String>::new());
}

#[tokio::test]
async fn a_limit_above_450_mb_is_refused_at_the_start() {
    let store = Store::start();
    let valkey = sluice_valkey::Valkey::at(&store.server.url()).unwrap();
    let config = CacheConfig {
        limit_bytes: MAX_LIMIT_BYTES + 1,
        ..CacheConfig::default()
    };
    let refused = sluice_store::cache::Cache::new(&valkey, config);
    assert!(matches!(refused, Err(StoreError::Config(_))));
}

#[tokio::test]
async fn every_call_can_be_spawned() {
    let store = Store::start();
    let cache = cache_at(&store.server.url(), CacheConfig::default());
    tokio::spawn(async move {
        let mut staging = cache.stage("u", Overflow::Skip).await.unwrap();
        staging.push(&[entry("a", "{}")]).await.unwrap();
        staging.amend(&[], true).await.unwrap();
        staging.commit("allOne", AS_OF).await.unwrap();
        let staging = cache.stage("u", Overflow::Skip).await.unwrap();
        staging.abandon().await.unwrap();
        cache.read("u", "a").await.unwrap();
        cache.amend("u", &[]).await.unwrap();
        cache.prefetch("u", 0, AS_OF, &[]).await.unwrap();
        cache.most_active("u", 0, 1).await.unwrap();
        cache.list("u", None, 1).await.unwrap();
        cache.invalidate("u", true).await.unwrap();
    })
    .await
    .unwrap();
}

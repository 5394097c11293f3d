//! Single entries: read-through and prefetch.

use std::time::Duration;

use bytes::Bytes;
use redis::Commands;
use sluice_store::StoreError;
use sluice_store::cache::{CacheConfig, Overflow, Source};

use super::support::{AS_OF, Store, entry, entry_of_doc, entry_of_size, put, put_at, remove};

#[tokio::test]
async fn one_of_many_misses_gets_the_lease_and_its_fill_is_read_by_all() {
    let store = Store::start();
    let mut leases = Vec::new();
    for _ in 0..5 {
        leases.extend(store.cache.read("u", "a").await.unwrap().fetch_lease);
    }
    assert_eq!(leases.len(), 1);
    let filled = store.cache.fill("u", leases[0], &entry("a", "1")).await;
    assert!(filled.unwrap());
    let hit = store.look("u", "a").await;
    assert_eq!(hit, Some((Source::Single, Bytes::from("1"))));
}

#[tokio::test]
async fn a_released_lease_goes_to_the_next_reader() {
    let store = Store::start();
    assert!(
        store
            .cache
            .read("u", "a")
            .await
            .unwrap()
            .fetch_lease
            .is_some()
    );
    store.cache.release_fetch("u", "a").await.unwrap();
    assert!(
        store
            .cache
            .read("u", "a")
            .await
            .unwrap()
            .fetch_lease
            .is_some()
    );
}

#[tokio::test]
async fn each_single_entry_expires_by_its_own_ttl() {
    let store = Store::with_entry_ttl(Duration::from_secs(1));
    store.fill("u", &entry("a", "1")).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    store.fill("u", &entry("b", "1")).await;
    tokio::time::sleep(Duration::from_millis(450)).await;
    assert!(store.look("u", "a").await.is_none());
    assert!(store.look("u", "b").await.is_some());
    assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 1);
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert!(!store.cache.has_any("u").await.unwrap());
    assert_eq!(store.cache.invalidate("u", false).await.unwrap(), 0);
}

#[tokio::test]
async fn expired_entries_give_their_memory_back_as_others_are_written() {
    let store = Store::with_entry_ttl(Duration::from_millis(100));
    let old: Vec<_> = (0..10)
        .map(|at| entry_of_doc(&format!("f{at}"), &format!("d{at}"), "1"))
        .collect();
    store.cache.prefetch("u", 0, AS_OF + 1, &old).await.unwrap();
    tokio::time::sleep(Duration::from_millis(150)).await;
    store.fill("u", &entry_of_doc("n", "dn", "1")).await;
    assert_eq!(store.field_count("single:entries"), 1);
    // Both directions of the new one, and the field that makes the hash exist.
    assert_eq!(store.field_count("single:docs"), 3);
}

#[tokio::test]
async fn a_fetch_that_takes_long_keeps_its_lease_by_renewing_it() {
    let store = Store::start();
    let lookup = store.cache.read("u", "a").await.unwrap();
    let lease = lookup.fetch_lease.unwrap();
    let mut connection = store.server.connection();
    let key = "sm1:{u}:lease:a";
    let () = redis::Commands::pexpire(&mut connection, key, 100).unwrap();
    assert!(store.cache.extend_fetch("u", "a", lease).await.unwrap());
    let left: i64 = redis::Commands::pttl(&mut connection, key).unwrap();
    assert!(left > 1000, "{left}");

    // It passes to somebody else once it ran out.
    let () = redis::Commands::del(&mut connection, key).unwrap();
    assert!(!store.cache.extend_fetch("u", "a", lease).await.unwrap());
    let lookup = store.cache.read("u", "a").await.unwrap();
    assert!(!store.cache.extend_fetch("u", "a", lease).await.unwrap());
    let filled = store.cache.fill("u", lease, &entry("a", "1")).await;
    assert!(!filled.unwrap(), "a change may have gone by unseen");
    let theirs = lookup.fetch_lease.unwrap();
    let filled = store.cache.fill("u", theirs, &entry("a", "2")).await;
    assert!(filled.unwrap());
}

#[tokio::test]
async fn a_fill_leaves_what_a_sync_has_cached_meanwhile() {
    let store = Store::start();
    let lookup = store.cache.read("u", "a").await.unwrap();
    store.sync("u", "allOne", &[entry("a", "2")]).await;
    let lease = lookup.fetch_lease.unwrap();
    let filled = store.cache.fill("u", lease, &entry("a", "1")).await;
    assert!(filled.unwrap());
    let hit = store.look("u", "a").await;
    assert_eq!(hit, Some((Source::Bulk, Bytes::from("2"))));
    assert_eq!(store.list_all("u", 10).await.len(), 1);
}

#[tokio::test]
async fn prefetch_refreshes_in_the_bulk_set_and_adds_the_others_as_single() {
    let store = Store::start();
    store.sync("u", "mostOne", &[entry("a", "1")]).await;
    let entries: Vec<_> = (0..1_500)
        .map(|at| entry(&format!("f{at}"), "2"))
        .chain([entry("a", "2")])
        .collect();
    let written = store
        .cache
        .prefetch("u", 0, AS_OF + 1, &entries)
        .await
        .unwrap();
    assert_eq!(written, 1_501);
    assert_eq!(store.look("u", "a").await.unwrap().0, Source::Bulk);
    assert_eq!(store.look("u", "f9").await.unwrap().0, Source::Single);
    let listed = store.list_all("u", 1_000).await;
    assert_eq!(listed.len(), 1_501);
    assert!(listed.iter().all(|json| json == "2"));
}

#[tokio::test]
async fn an_entry_that_prefetch_finds_grown_past_the_limit_becomes_a_single_one() {
    let store = Store::with_limit(1_000);
    let bulk = [entry_of_size("a", 500), entry_of_size("b", 500)];
    store.sync("u", "allOne", &bulk).await;
    let grown = entry_of_size("a", 501);
    let written = store
        .cache
        .prefetch("u", 0, AS_OF + 1, std::slice::from_ref(&grown));
    assert_eq!(written.await.unwrap(), 1);
    assert_eq!(
        store.look("u", "a").await,
        Some((Source::Single, grown.json))
    );
    assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 2);
    assert_eq!(store.list_all("u", 10).await.len(), 2);
}

#[tokio::test]
async fn an_invalidate_refuses_what_was_begun_before_it() {
    let store = Store::start();
    let epoch = store.cache.epoch("u").await.unwrap();
    let lookup = store.cache.read("u", "a").await.unwrap();
    let lease = lookup.fetch_lease.unwrap();
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry("a", "1")]).await.unwrap();
    let mut untouched = store.cache.stage("u", Overflow::Skip).await.unwrap();
    store.cache.invalidate("u", false).await.unwrap();

    let filled = store.cache.fill("u", lease, &entry("a", "1")).await;
    assert!(!filled.unwrap());
    let prefetched = store
        .cache
        .prefetch("u", epoch, AS_OF + 1, &[entry("a", "1")])
        .await;
    assert!(matches!(prefetched, Err(StoreError::Superseded)));
    let committed = staging.commit("allOne", AS_OF).await;
    assert!(matches!(committed, Err(StoreError::Superseded)));
    let pushed = untouched.push(&[entry("a", "1")]).await;
    assert!(matches!(pushed, Err(StoreError::Superseded)));
    assert!(!store.cache.has_any("u").await.unwrap());

    // What begins afterwards goes through.
    assert!(store.fill("u", &entry("a", "1")).await);
    store.sync("u", "allOne", &[entry("b", "1")]).await;
    assert!(store.look("u", "b").await.is_some());
}

#[tokio::test]
async fn a_single_entry_whose_id_changes_is_dropped() {
    let store = Store::start();
    assert!(store.fill("u", &entry("doc", "1")).await);
    let renamed = [put(entry_of_doc("a", "doc", "2"))];
    store.cache.amend("u", &renamed).await.unwrap();
    assert!(!store.cache.has_any("u").await.unwrap());
}

#[tokio::test]
async fn prefetch_leaves_what_the_bulk_set_has_of_a_later_time() {
    let store = Store::start();
    store.sync("u", "allOne", &[entry("a", "1")]).await;
    let later = [put_at(AS_OF + 20, entry("a", "3"))];
    store.cache.amend("u", &later).await.unwrap();
    let older = [entry("a", "2")];
    let prefetch = store.cache.prefetch("u", 0, AS_OF + 10, &older);
    prefetch.await.unwrap();
    assert_eq!(store.look("u", "a").await.unwrap().1, "3");
    // What was fetched after a time holds against the changes before it.
    let newer = [entry("a", "4")];
    let prefetch = store.cache.prefetch("u", 0, AS_OF + 30, &newer);
    prefetch.await.unwrap();
    store.cache.amend("u", &later).await.unwrap();
    assert_eq!(store.look("u", "a").await.unwrap().1, "4");
}

#[tokio::test]
async fn prefetch_moves_an_entry_out_of_a_set_that_ends_before_it_would() {
    let store = Store::with(CacheConfig {
        sync_ttl: Duration::from_secs(2),
        entry_ttl: Duration::from_secs(60),
        ..CacheConfig::default()
    });
    let set = [entry_of_doc("a", "doc-a", "1"), entry("b", "1")];
    store.sync("u", "allTwo", &set).await;
    let newer = entry_of_doc("a", "doc-a", "2");
    assert_eq!(
        store
            .cache
            .prefetch("u", 0, AS_OF + 1, &[newer])
            .await
            .unwrap(),
        1
    );
    assert_eq!(
        store.look("u", "a").await,
        Some((Source::Single, Bytes::from("2")))
    );
    assert_eq!(
        store.look("u", "b").await,
        Some((Source::Bulk, Bytes::from("1")))
    );
    assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 2);

    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(store.look("u", "b").await, None);
    assert_eq!(
        store.look("u", "a").await,
        Some((Source::Single, Bytes::from("2")))
    );
    store.cache.amend("u", &[remove("doc-a")]).await.unwrap();
    assert_eq!(store.look("u", "a").await, None);
}

#[tokio::test]
async fn a_prefetched_entry_lives_its_ttl_also_when_the_set_holds_that_revision() {
    let store = Store::with(CacheConfig {
        entry_ttl: Duration::from_secs(60),
        sync_ttl: Duration::from_secs(30),
        ..CacheConfig::default()
    });
    let fresh = entry("a", "fresh");
    store
        .sync("u", "allOne", &[fresh.clone(), entry("b", "1")])
        .await;
    // Nothing was written to Convex since: what was fetched is as old as the set.
    let written = store
        .cache
        .prefetch("u", 0, AS_OF, std::slice::from_ref(&fresh))
        .await;
    assert_eq!(written.unwrap(), 1);
    assert_eq!(
        store.look("u", "a").await.unwrap(),
        (Source::Single, fresh.json)
    );
    assert_eq!(store.look("u", "b").await.unwrap().0, Source::Bulk);
}

#[tokio::test]
async fn a_prefetch_keeps_the_later_revision_that_a_set_has_when_it_leaves_that_set() {
    let store = Store::with(CacheConfig {
        entry_ttl: Duration::from_secs(60),
        sync_ttl: Duration::from_secs(30),
        ..CacheConfig::default()
    });
    store.sync("u", "allOne", &[entry("a", "1")]).await;
    store
        .cache
        .amend("u", &[put_at(AS_OF + 9, entry("a", "3"))])
        .await
        .unwrap();
    store
        .cache
        .prefetch("u", 0, AS_OF + 5, &[entry("a", "2")])
        .await
        .unwrap();
    assert_eq!(
        store.look("u", "a").await.unwrap(),
        (Source::Single, "3".into())
    );
}

#[tokio::test]
async fn a_set_with_a_part_missing_is_not_read_nor_listed() {
    let store = Store::start();
    let mut connection = store.server.connection();
    for lost in ["info", "entries", "order", "docs", "stamps"] {
        store
            .sync("u", "allOne", &[entry_of_doc("a", "doc-a", "1")])
            .await;
        store
            .cache
            .amend("u", &[put(entry("b", "1"))])
            .await
            .unwrap();
        assert!(store.look("u", "a").await.is_some());
        let _: () = connection.del(format!("sm1:{{u}}:live:{lost}")).unwrap();
        assert!(store.look("u", "a").await.is_none(), "{lost}");
        let page = store.cache.list("u", None, 10).await.unwrap();
        assert_eq!((page.entries.len(), page.total), (0, 0), "{lost}");
    }
    for lost in ["entries", "expiry", "docs"] {
        store.cache.invalidate("u", false).await.unwrap();
        let epoch = store.cache.epoch("u").await.unwrap();
        let single = entry_of_doc("s", "doc-s", "1");
        store
            .cache
            .prefetch("u", epoch, AS_OF, &[single])
            .await
            .unwrap();
        assert!(store.look("u", "s").await.is_some());
        let _: () = connection.del(format!("sm1:{{u}}:single:{lost}")).unwrap();
        assert!(store.look("u", "s").await.is_none(), "{lost}");
        let page = store.cache.list("u", None, 10).await.unwrap();
        assert_eq!((page.entries.len(), page.total), (0, 0), "{lost}");
    }
}

#[tokio::test]
async fn where_valkey_takes_no_writes_cached_entries_are_read_and_misses_get_no_lease() {
    for setting in [["maxmemory", "1"], ["min-replicas-to-write", "1"]] {
        let store = Store::start();
        store.sync("u", "allOne", &[entry("bulk", "1")]).await;
        store.fill("u", &entry("single", "2")).await;
        let _: () = redis::cmd("CONFIG")
            .arg("SET")
            .arg(&setting)
            .query(&mut store.server.connection())
            .unwrap();
        assert!(store.look("u", "bulk").await.is_some(), "{setting:?}");
        assert!(store.look("u", "single").await.is_some(), "{setting:?}");
        let missed = store.cache.read("u", "other").await.unwrap();
        assert_eq!(
            (missed.hit, missed.fetch_lease, missed.fetched_elsewhere),
            (None, None, false)
        );
        assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 2);
        store.cache.note_access("u", "bulk", 0);
        store.cache.record_accesses().await;
    }
}

#[tokio::test]
async fn a_cached_entry_is_found_by_one_command_that_writes_nothing() {
    let store = Store::start();
    store.sync("u", "allOne", &[entry("bulk", "1")]).await;
    store.fill("u", &entry("single", "2")).await;
    // The connections of lookups are open by now, and the function is loaded.
    for _ in 0..8 {
        store.look("u", "bulk").await.unwrap();
    }
    for (id, reads) in [
        ("bulk", &["exists", "hget"][..]),
        ("single", &["exists", "hget", "time", "zscore"]),
    ] {
        store.server.forget_calls();
        for _ in 0..5 {
            store.look("u", id).await.unwrap();
        }
        let calls = store.server.calls();
        assert_eq!(calls["fcall_ro"], 5, "{id}: {calls:?}");
        let within = calls.keys().filter(|name| *name != "fcall_ro");
        assert!(within.eq(reads), "{id}: {calls:?}");
    }
}

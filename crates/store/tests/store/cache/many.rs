//! Looking up many entries together.

use std::time::Duration;

use bytes::Bytes;
use redis::Commands;
use sluice_store::cache::Source;

use super::support::{Store, entry};

fn ids(ids: &[&str]) -> Vec<String> {
    ids.iter().map(|&id| id.to_owned()).collect()
}

async fn look(store: &Store, asked: &[&str]) -> Vec<Option<(Source, Bytes)>> {
    store.cache.look_many("u", &ids(asked)).await.unwrap().hits
}

fn bulk(json: &'static str) -> Option<(Source, Bytes)> {
    Some((Source::Bulk, Bytes::from_static(json.as_bytes())))
}

fn single(json: &'static str) -> Option<(Source, Bytes)> {
    Some((Source::Single, Bytes::from_static(json.as_bytes())))
}

#[tokio::test]
async fn each_of_many_is_found_where_a_lookup_by_itself_finds_it() {
    let store = Store::start();
    assert_eq!(look(&store, &["a"]).await, [None]);
    store
        .sync("u", "mostOne", &[entry("a", "1"), entry("b", "2")])
        .await;
    store.fill("u", &entry("c", "3")).await;
    store.fill("other", &entry("d", "4")).await;
    let asked = ["c", "d", "a", "", "c", "b"];
    let found = look(&store, &asked).await;
    let expected = [single("3"), None, bulk("1"), None, single("3"), bulk("2")];
    assert_eq!(found, expected);
    for (id, found) in asked.iter().zip(found) {
        assert_eq!(store.look("u", id).await, found, "{id}");
    }
}

#[tokio::test]
async fn what_was_removed_has_expired_or_lost_a_part_is_not_found() {
    let store = Store::with_entry_ttl(Duration::from_millis(1));
    store.fill("u", &entry("brief", "1")).await;
    while store.look("u", "brief").await.is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(look(&store, &["brief"]).await, [None]);

    store.sync("u", "allOne", &[entry("a", "1")]).await;
    assert_eq!(look(&store, &["a"]).await, [bulk("1")]);
    let mut connection = store.server.connection();
    let _: () = connection.del("sm1:{u}:live:order").unwrap();
    assert_eq!(look(&store, &["a"]).await, [None]);

    store.sync("u", "allOne", &[entry("a", "1")]).await;
    store.cache.invalidate("u", false).await.unwrap();
    assert_eq!(look(&store, &["a"]).await, [None]);
}

#[tokio::test]
async fn a_thousand_are_found_by_one_command_that_writes_nothing() {
    let store = Store::start();
    let names: Vec<String> = (0..1_000).map(|at| format!("f{at}")).collect();
    let entries: Vec<_> = names.iter().map(|id| entry(id, "1")).collect();
    store.sync("u", "allOne", &entries).await;
    for count in [15, 1_000] {
        store.cache.look_many("u", &names[..count]).await.unwrap();
        store.server.forget_calls();
        let found = store.cache.look_many("u", &names[..count]).await.unwrap();
        assert!(found.hits.iter().all(|hit| *hit == bulk("1")));
        let calls = store.server.calls();
        assert_eq!(calls["fcall_ro"], 1, "{calls:?}");
        let within: Vec<_> = calls.keys().filter(|name| *name != "fcall_ro").collect();
        let reads = ["exists", "hget", "hmget", "ping", "unwatch"];
        assert!(
            within.iter().all(|name| reads.contains(&&***name)),
            "{calls:?}"
        );
    }
}

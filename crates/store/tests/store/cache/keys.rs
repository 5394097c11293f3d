//! Keys: one slot per user, none without an expiry, whatever the user is called.

use redis::Commands;
use sluice_store::cache::{CacheConfig, Overflow};
use sluice_test_support::TestValkey;

use super::support::{AS_OF, Store, cache_at, entry, entry_of_doc, entry_of_size, put};

const ODD_USERS: [&str; 8] = [
    "",
    "a}b",
    "{}",
    "a{b}c",
    "%7D",
    "two words",
    "üñï \u{1F980}",
    "line\nbreak",
];

/// Leaves every kind of key there is behind.
async fn use_everything(store: &Store, user: &str) {
    let staged = [entry_of_doc("a", "doc-a", "1"), entry_of_size("big", 2_000)];
    store.cache.invalidate(user, true).await.unwrap();
    store.sync(user, "allTwo", &staged).await;
    let epoch = store.cache.epoch(user).await.unwrap();
    let single = entry_of_doc("s", "doc-s", "1");
    store
        .cache
        .prefetch(user, epoch, AS_OF + 1, &[single])
        .await
        .unwrap();
    store.access(user, "missing}{").await;
    let mut staging = store.cache.stage(user, Overflow::Skip).await.unwrap();
    staging.push(&staged).await.unwrap();
    store
        .cache
        .amend(user, &[put(entry("a", "2"))])
        .await
        .unwrap();
}

#[tokio::test]
async fn all_keys_of_a_user_share_one_slot_of_a_cluster() {
    // A cluster of one node, which holds all slots: it refuses scripts whose keys lie in several.
    let server = TestValkey::start_with(&["--cluster-enabled", "yes"]);
    let mut connection = server.connection();
    let _: () = redis::cmd("CLUSTER")
        .arg("ADDSLOTSRANGE")
        .arg(0)
        .arg(16_383)
        .query(&mut connection)
        .unwrap();
    while !redis::cmd("CLUSTER")
        .arg("INFO")
        .query::<String>(&mut connection)
        .unwrap()
        .contains("cluster_state:ok")
    {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let config = CacheConfig {
        limit_bytes: 1_000,
        ..CacheConfig::default()
    };
    let cache = cache_at(&server.url(), config);
    let store = Store { server, cache };
    for user in ODD_USERS {
        use_everything(&store, user).await;
        let keys: Vec<String> = connection.keys("sm1:{*").unwrap();
        assert_eq!(keys.len(), 16, "{keys:#?}");
        let slots: std::collections::HashSet<u16> = keys
            .iter()
            .map(|key| {
                let mut slot = redis::cmd("CLUSTER");
                slot.arg("KEYSLOT").arg(key);
                slot.query(&mut connection).unwrap()
            })
            .collect();
        assert_eq!(slots.len(), 1, "{keys:#?}");
        store.assert_every_key_expires();
        let _: () = redis::cmd("FLUSHALL").query(&mut connection).unwrap();
    }
}

#[tokio::test]
async fn odd_user_ids_are_kept_apart() {
    let store = Store::start();
    for user in ODD_USERS {
        store
            .sync(
                user,
                "allOne",
                &[entry("who", &format!("<{user}>")), entry("x", "1")],
            )
            .await;
    }
    for user in ODD_USERS {
        let (_, json) = store.look(user, "who").await.unwrap();
        assert_eq!(json, format!("<{user}>"));
    }
    for user in ODD_USERS {
        assert_eq!(store.cache.invalidate(user, true).await.unwrap(), 2);
    }
}

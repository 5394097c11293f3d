//! What is left when documents are gone.

use std::time::Duration;

use redis::{Commands, Connection};
use serde_json::json;
use sluice_store::documents::{Change, Documents, DocumentsConfig, PurgePlace};

use super::support::{Store, at, object};

/// Goes through all indexes as the job does.
async fn purge_all(documents: &Documents) -> u64 {
    let mut forgotten = 0;
    let mut cursor = Some(0);
    while let Some(at) = cursor {
        let (services, next) = documents.services(at).await.unwrap();
        for service in services {
            let mut place = Some(PurgePlace::default());
            while let Some(at) = place {
                let purged = documents.purge(&service, at).await.unwrap();
                forgotten += purged.forgotten;
                place = purged.next;
            }
        }
        cursor = next;
    }
    forgotten
}

/// Makes the ids of all indexes as old as those that no call can be creating any more.
fn age(connection: &mut Connection) {
    let indexes: Vec<String> = connection.keys("sd1:*:index").unwrap();
    for index in indexes {
        let ids: Vec<String> = connection.zrange(&index, 0, -1).unwrap();
        for (place, id) in ids.iter().enumerate() {
            let _: () = connection.zadd(&index, id, place + 1).unwrap();
        }
    }
}

/// Keys of documents that will not go by themselves.
fn lasting(connection: &mut Connection) -> Vec<String> {
    let mut keys: Vec<String> = connection.keys("sd1:*").unwrap();
    keys.retain(|key| connection.ttl::<_, i64>(key).unwrap() == -1);
    keys.sort();
    keys
}

#[tokio::test]
async fn of_expired_and_purged_documents_nothing_is_left() {
    let store = Store::with(DocumentsConfig {
        retention: Duration::from_millis(300),
        ..DocumentsConfig::default()
    });
    let mut connection = store.server.connection();
    store.create("stays", json!({})).await;
    store.create("deleted", json!({})).await;
    store.change("deleted", Change::Delete).await.unwrap();
    let soon = at(store.now() + 300);
    let expiring = Change::Create(object(json!({})), soon);
    store.change("expiring", expiring).await.unwrap();
    age(&mut connection);
    assert_eq!(purge_all(&store.documents).await, 0);
    tokio::time::sleep(Duration::from_millis(400)).await;

    assert_eq!(purge_all(&store.documents).await, 2);
    assert_eq!(store.indexed(), ["stays"]);
    let left = lasting(&mut connection);
    let documents = ["sd1:{s:stays}:changes", "sd1:{s:stays}:document"];
    assert_eq!(left.len(), 4, "{left:?}");
    assert!(
        documents.iter().all(|key| left.iter().any(|it| it == key)),
        "{left:?}"
    );

    store.change("stays", Change::Delete).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(purge_all(&store.documents).await, 1);
    assert_eq!(lasting(&mut connection), Vec::<String>::new());
}

#[tokio::test]
async fn long_indexes_of_many_services_are_gone_through_in_steps() {
    let store = Store::start();
    let mut connection = store.server.connection();
    store.create("stays", json!({})).await;
    for service in ["a:b", "c", "d"] {
        let ids: Vec<(u64, String)> = (1..=1_200).map(|at| (at, format!("id{at}"))).collect();
        let index = format!("sd1:{{{}:0}}:index", service.replace(':', "%3A"));
        let _: () = connection.zadd_multiple(index, &ids).unwrap();
        let _: () = connection.sadd("sd1:services", service).unwrap();
    }
    let start = PurgePlace::default();
    let step = store.documents.purge("a:b", start).await.unwrap();
    assert_eq!(step.forgotten, 500);
    assert!(step.next.is_some_and(|next| next != start));
    assert_eq!(purge_all(&store.documents).await, 3 * 1_200 - 500);
    let left: Vec<String> = connection.keys("sd1:*index").unwrap();
    assert_eq!(left.len(), 1, "{left:?}");
    let services: Vec<String> = connection.smembers("sd1:services").unwrap();
    assert_eq!(services, ["s"]);
}

#[tokio::test]
async fn an_id_that_may_just_be_created_is_not_forgotten() {
    let store = Store::start();
    let now = store.now() * 1_000;
    let mut connection = store.server.connection();
    let _: () = connection.zadd("sd1:{s:0}:index", "young", now).unwrap();
    let _: () = connection.sadd("sd1:services", "s").unwrap();
    assert_eq!(purge_all(&store.documents).await, 0);
}

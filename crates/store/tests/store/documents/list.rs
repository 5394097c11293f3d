//! Listings.

use redis::Commands;
use serde_json::json;
use sluice_store::documents::Change;

use super::support::{Store, parse, replace};

async fn ids(store: &Store, limit: usize, between: impl AsyncFn(usize)) -> Vec<String> {
    let (mut ids, mut cursor) = (Vec::new(), None);
    for page in 0.. {
        let listed = store.documents.list("s", cursor, limit);
        let listed = listed.await.unwrap();
        assert!(listed.documents.len() <= limit);
        ids.extend(
            listed
                .documents
                .iter()
                .map(|it| parse(it)["id"].as_str().unwrap().to_owned()),
        );
        cursor = listed.cursor;
        if cursor.is_none() {
            return ids;
        }
        between(page).await;
    }
    unreachable!()
}

#[tokio::test]
async fn documents_are_listed_in_the_order_of_their_creation_without_deleted_ones() {
    let store = Store::start();
    for at in (0..25).rev() {
        store.create(&format!("d{at}"), json!({"n": at})).await;
    }
    store.change("d3", replace(json!({}))).await.unwrap();
    store.change("d7", Change::Delete).await.unwrap();
    let expected: Vec<String> = (0..25)
        .rev()
        .filter(|&at| at != 7)
        .map(|at| format!("d{at}"))
        .collect();
    for limit in [1, 10, 24, 25, 100] {
        assert_eq!(ids(&store, limit, async |_| {}).await, expected, "{limit}");
    }
    assert!(
        store
            .documents
            .list("other", None, 10)
            .await
            .unwrap()
            .documents
            .is_empty()
    );
}

#[tokio::test]
async fn changes_between_pages_neither_hide_nor_repeat_what_stays() {
    let store = Store::start();
    for at in 0..20 {
        store.create(&format!("d{at}"), json!({})).await;
    }
    let listed = ids(&store, 5, async |page| {
        store.create(&format!("new{page}"), json!({})).await;
        store
            .change(&format!("d{page}"), Change::Delete)
            .await
            .unwrap();
        store.change("d19", replace(json!({}))).await.unwrap();
    })
    .await;
    for at in 0..20 {
        let id = format!("d{at}");
        assert_eq!(listed.iter().filter(|it| **it == id).count(), 1, "{id}");
    }
    assert!(listed.contains(&"new0".to_owned()));
}

#[tokio::test]
async fn ids_that_lead_nowhere_are_forgotten_once_nobody_can_be_creating_them() {
    let store = Store::start();
    store.create("a", json!({})).await;
    let mut connection = store.server.connection();
    let _: () = connection.zadd("sd1:{s:3}:index", "old", 1).unwrap();
    let now = store.now() * 1_000;
    let _: () = connection.zadd("sd1:{s:4}:index", "young", now).unwrap();
    assert_eq!(ids(&store, 10, async |_| {}).await, ["a"]);
    let mut left = store.indexed();
    left.sort();
    assert_eq!(left, ["a", "young"]);
}

#[tokio::test]
async fn large_documents_make_short_pages() {
    let store = Store::start();
    for at in 0..12 {
        store
            .create(&format!("d{at}"), json!({"x": "x".repeat(1_000_000)}))
            .await;
    }
    let page = store.documents.list("s", None, 12).await.unwrap();
    assert!((4..12).contains(&page.documents.len()));
    assert_eq!(ids(&store, 12, async |_| {}).await.len(), 12);
}

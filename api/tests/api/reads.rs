use std::sync::atomic::Ordering;

use axum::Router;
use serde_json::json;
use sluice_api::auth::Scope;
use sluice_store::cache::{Entry, Overflow};
use tower::ServiceExt as _;

use crate::app::{App, USER, get, token_of};

const READ: &[Scope] = &[Scope::MetaRead];

fn path(id: &str) -> String {
    format!("/api/v1/meta/{id}?userId={USER}")
}

pub async fn sync(app: &App, ids: &[&str]) {
    let entries: Vec<Entry> = ids
        .iter()
        .map(|&id| Entry {
            id: id.into(),
            doc_id: format!("doc-{id}").into(),
            json: json!({"id": id, "user": USER, "dekEnc": "k"})
                .to_string()
                .into(),
        })
        .collect();
    let mut staging = app.cache.stage(USER, Overflow::Refuse).await.unwrap();
    staging.push(&entries).await.unwrap();
    staging.commit("allOne", 0).await.unwrap();
}

#[tokio::test]
async fn an_entry_is_fetched_once_and_then_comes_from_the_cache() {
    let app = App::start().await;
    app.add_file("f1").await;
    let first = app.get(&path("f1"), READ).await;
    assert_eq!(
        (first.status.as_u16(), first.header("x-cache")),
        (200, "miss")
    );
    assert_eq!(first.json()["dekEnc"], "k");

    let second = app.get(&path("f1"), READ).await;
    assert_eq!(
        (second.status.as_u16(), second.header("x-cache")),
        (200, "hit")
    );
    assert_eq!(second.body, first.body);
    assert_eq!(second.header("content-type"), "application/json");
}

#[tokio::test]
async fn an_entry_of_a_synced_set_says_so() {
    let app = App::start().await;
    sync(&app, &["f1"]).await;
    assert_eq!(app.get(&path("f1"), READ).await.header("x-cache"), "bulk");
    assert_eq!(app.convex_requests.load(Ordering::SeqCst), 0);
}

/// Sends 25 reads of one file to each of the nodes at once, and gives the requests to Convex that
/// came of it.
async fn fetches_of_concurrent_reads(app: &App, nodes: &[Router], status: u16) -> usize {
    // Each node looks once for the functions that it reads through.
    for node in nodes {
        let read = get(&path("other"), &token_of("s", READ));
        assert_eq!(node.clone().oneshot(read).await.unwrap().status(), 404);
    }
    let before = app.convex_requests.load(Ordering::SeqCst);
    let (path, token, mut readers) = (path("f1"), token_of("s", READ), Vec::new());
    for node in nodes.iter().cycle().take(25 * nodes.len()) {
        let read = node.clone().oneshot(get(&path, &token));
        readers.push(tokio::spawn(read));
    }
    for reader in readers {
        assert_eq!(reader.await.unwrap().unwrap().status(), status);
    }
    app.convex_requests.load(Ordering::SeqCst) - before
}

#[tokio::test]
async fn concurrent_misses_of_one_entry_cause_one_fetch() {
    let app = App::start().await;
    app.add_file("f1").await;
    let nodes = [app.router.clone()];
    assert_eq!(fetches_of_concurrent_reads(&app, &nodes, 200).await, 1);
}

#[tokio::test]
async fn concurrent_misses_at_several_nodes_cause_one_fetch() {
    let app = App::start().await;
    app.add_file("f1").await;
    let nodes = [app.router.clone(), app.another_node()];
    assert_eq!(fetches_of_concurrent_reads(&app, &nodes, 200).await, 1);
}

#[tokio::test]
async fn concurrent_misses_share_that_there_is_no_such_file() {
    let app = App::start().await;
    let nodes = [app.router.clone()];
    // One, but for reads that happen to begin after its end: nothing is kept of it.
    assert!(fetches_of_concurrent_reads(&app, &nodes, 404).await < 10);
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_found_and_may_come_later() {
    let app = App::start().await;
    assert_eq!(
        app.get(&path("f1"), READ).await.error(),
        (404, "not_found".to_owned())
    );
    app.add_file("f1").await;
    assert_eq!(app.get(&path("f1"), READ).await.status, 200);
}

#[tokio::test]
async fn every_read_is_recorded() {
    let app = App::start().await;
    for id in ["f1", "f2"] {
        app.add_file(id).await;
        app.get(&path(id), READ).await;
    }
    app.get(&path("f2"), READ).await;
    app.cache.record_accesses().await;
    let ranked = app.cache.most_active(USER, 0, 10).await.unwrap();
    assert_eq!(ranked, ["f2", "f1"]);
}

#[tokio::test]
async fn users_read_their_own_entries_without_a_scope() {
    let app = App::start().await;
    app.add_file("f1").await;
    let own = token_of(USER, &[]);
    for path in [
        "/api/v1/meta/f1",
        &path("f1"),
        "/api/v1/meta",
        &format!("/api/v1/meta?userId={USER}"),
    ] {
        assert_eq!(app.send(get(path, &own)).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn entries_of_others_need_meta_read() {
    let app = App::start().await;
    app.add_file("f1").await;
    let other = token_of("usr_2", &[Scope::MetaWrite, Scope::Admin]);
    for path in [path("f1"), format!("/api/v1/meta?userId={USER}")] {
        let answer = app.send(get(&path, &other)).await;
        assert_eq!(answer.error(), (403, "forbidden".to_owned()), "{path}");
        assert!(answer.text().contains("meta:read"));
    }
    let own = app.send(get("/api/v1/meta/f1", &other)).await;
    assert_eq!(
        own.error(),
        (404, "not_found".to_owned()),
        "somebody else's file under one's own name"
    );
}

#[tokio::test]
async fn a_listing_goes_page_by_page_without_keys() {
    let app = App::start().await;
    sync(&app, &["f1", "f2", "f3"]).await;
    let list = format!("/api/v1/meta?userId={USER}&limit=2");
    let first = app.get(&list, READ).await.json();
    assert_eq!(
        first["entries"],
        json!([{"id": "f1", "user": USER}, {"id": "f2", "user": USER}])
    );
    assert_eq!(first["total"], 3);
    let cursor = first["cursor"].as_str().unwrap();
    let second = app
        .get(&format!("{list}&cursor={cursor}"), READ)
        .await
        .json();
    assert_eq!(second["entries"], json!([{"id": "f3", "user": USER}]));
    assert_eq!(second["generation"], first["generation"]);
}

#[tokio::test]
async fn the_cursor_of_a_replaced_set_has_expired() {
    let app = App::start().await;
    sync(&app, &["f1", "f2"]).await;
    let list = format!("/api/v1/meta?userId={USER}&limit=1");
    let first = app.get(&list, READ).await.json();
    sync(&app, &["f3", "f4"]).await;
    let next = format!("{list}&cursor={}", first["cursor"].as_str().unwrap());
    assert_eq!(
        app.get(&next, READ).await.error(),
        (409, "cursor_expired".to_owned())
    );
}

#[tokio::test]
async fn malformed_queries_are_refused_by_field() {
    let app = App::start().await;
    for (path, named) in [
        ("/api/v1/meta?limit=0", "limit"),
        ("/api/v1/meta?limit=1001", "limit"),
        ("/api/v1/meta?limit=x", "limit"),
        ("/api/v1/meta?cursor=nonsense", "cursor"),
        ("/api/v1/meta?userId=", "userId"),
        ("/api/v1/meta?user=u", "user"),
        ("/api/v1/meta/f1?userId=a%00b", "userId"),
        ("/api/v1/meta/f1?x=1", "x"),
    ] {
        let answer = app.get(path, READ).await;
        assert_eq!(
            answer.error(),
            (400, "invalid_request".to_owned()),
            "{path}"
        );
        assert!(
            answer.json()["message"].as_str().unwrap().contains(named),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn a_miss_without_convex_is_unavailable_and_a_hit_is_not() {
    let app = App::start().await;
    sync(&app, &["f1"]).await;
    app.stop_convex();
    assert_eq!(app.get(&path("f1"), READ).await.status, 200);
    assert_eq!(
        app.get(&path("f2"), READ).await.error(),
        (503, "unavailable".to_owned())
    );
}

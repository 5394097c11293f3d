//! A disk that is full.
#![allow(clippy::unwrap_used)]

use std::path::Path;

use axum::body::{Body, to_bytes};
use axum::http::{Request, StatusCode};
use serde_json::{Value as Json, json};
use tokio::sync::oneshot;
use tower::ServiceExt;

use super::catalog::ROOT;
use super::document::Draft;
use super::value::{Object, Value};
use super::*;

const KEY: &str = "dev:test|s3cret";

/// The store in a folder, on a disk that has room for `pages` more pages of the database.
fn open(folder: &Path, pages: i64) -> Embedded {
    let config = EmbeddedConfig::new(folder, KEY);
    let (store, db) = Store::open(&folder.join("convex.sqlite")).unwrap();
    let present: i64 = db
        .pragma_query_value(None, "page_count", |row| row.get(0))
        .unwrap();
    db.pragma_update(None, "max_page_count", present + pages)
        .unwrap();
    let inner = Inner {
        keys: DeployKeys::new(&config),
        writer: Writer::start(store.clone(), db, config.log_retention).unwrap(),
        config,
        store,
        imports: Semaphore::new(CONCURRENT_IMPORTS),
        _lock: lock(folder).unwrap(),
    };
    Embedded {
        inner: Arc::new(inner),
    }
}

async fn call(embedded: &Embedded, path: &str, body: impl Into<Body>) -> (StatusCode, Json) {
    let request = Request::post(path)
        .header("authorization", format!("Convex {KEY}"))
        .header("content-type", "application/json")
        .body(body.into());
    let answer = embedded.router().oneshot(request.unwrap()).await.unwrap();
    let status = answer.status();
    let text = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    (status, serde_json::from_slice(&text).unwrap_or_default())
}

async fn import(embedded: &Embedded, document: Json) -> (StatusCode, Json) {
    let path = "/api/import?tableName=files&format=jsonLines&mode=append";
    call(embedded, path, document.to_string()).await
}

/// Everything that reads; and the files that are there.
async fn check_reads(embedded: &Embedded, expected: &[&str]) {
    let (_, snapshot) = call(embedded, "/api/list_snapshot", "{}").await;
    let rows = snapshot["values"].as_array().unwrap();
    let ids: Vec<&str> = rows.iter().map(|row| row["id"].as_str().unwrap()).collect();
    assert_eq!(ids, expected);
    let cursor = snapshot["snapshot"].clone();
    let args = json!({ "user": "a", "ids": expected });
    for (path, body) in [
        ("document_deltas", json!({ "cursor": cursor })),
        ("v1/data/sync", json!({ "cursor": null })),
        ("data_sync_cursor_from_deltas", json!({ "cursor": cursor })),
        ("query", json!({ "path": "sluice:getMany", "args": args })),
    ] {
        let (status, answer) = call(embedded, &format!("/api/{path}"), body.to_string()).await;
        assert_eq!(status, StatusCode::OK, "{path}: {answer}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn on_a_full_disk_reads_go_on_writes_say_so_and_a_restart_works() {
    let folder = tempfile::tempdir().unwrap();
    let small = |id: &str| json!({ "user": "a", "id": id });
    {
        let embedded = open(folder.path(), 1_000);
        assert_eq!(import(&embedded, small("f")).await.0, StatusCode::OK);
    }
    let large = json!({ "user": "a", "fill": "x".repeat(500_000) });
    for _life in 0..2 {
        let embedded = open(folder.path(), 2);
        let (status, answer) = import(&embedded, large.clone()).await;
        assert_eq!(
            (status, &answer["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &json!("DiskFull"))
        );
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("disk is full"), "{message}");
        check_reads(&embedded, &["f"]).await;
    }
    let embedded = open(folder.path(), 1_000);
    assert_eq!(import(&embedded, small("g")).await.0, StatusCode::OK);
    check_reads(&embedded, &["f", "g"]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_shares_a_commit_with_a_write_that_fails_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let insert = |embedded: &Embedded, bytes: usize| {
        let fields = Object::from([("fill".to_owned(), Value::String("x".repeat(bytes)))]);
        let inner = embedded.inner.clone();
        async move {
            let draft = Draft::new(fields).unwrap();
            let insert = inner.writer.write(move |transaction| {
                let table = transaction.table(ROOT, "t")?;
                transaction.insert(table, &draft);
                Ok(())
            });
            insert.await
        }
    };
    let embedded = open(folder.path(), 3);
    insert(&embedded, 1).await.unwrap();
    // The writer waits until all of them are in its queue.
    let (release, released) = oneshot::channel::<()>();
    let gate = embedded.inner.writer.write(|_| {
        let _ = released.blocking_recv();
        Ok(())
    });
    let (_, large, small, ()) = tokio::join!(
        gate,
        insert(&embedded, 500_000),
        insert(&embedded, 1),
        async { release.send(()).unwrap() }
    );
    assert_eq!(large.unwrap_err().code, "DiskFull");
    assert_eq!(small.unwrap_err().code, "DiskFull");
    let revisions = || {
        let reader = embedded.inner.store.reader().unwrap();
        let count = reader
            .db()
            .unwrap()
            .query_row("SELECT count(*) FROM revisions", [], |row| row.get(0));
        count.unwrap()
    };
    let found: i64 = revisions();
    assert_eq!(found, 1);
    insert(&embedded, 1).await.unwrap();
}

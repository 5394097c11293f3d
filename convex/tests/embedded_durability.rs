//! What the embedded store keeps across restarts and under concurrent writers.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;

use common::{Server, values};
use serde_json::json;

/// Runs one life of the store in `dir`: everything of it is gone when this returns.
fn life<T>(dir: &std::path::Path, run: impl AsyncFnOnce(Server) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { run(Server::open(dir).await).await })
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (documents, cursor, schemas) = life(dir.path(), async |server| {
        server.add_key("t", "k").await;
        server
            .import("t", Some("k"), (0..10).map(|n| json!({ "k": n })))
            .await;
        server
            .import("files", None, [json!({ "user": "a", "id": "f" })])
            .await;
        (
            server.documents("t").await,
            server.now().await,
            server.get("/api/json_schemas").await,
        )
    });
    life(dir.path(), async |server| {
        assert_eq!(server.documents("t").await, documents);
        assert_eq!(server.get("/api/json_schemas").await, schemas);
        // Time only goes on.
        assert!(server.now().await.as_i64() >= cursor.as_i64());
        server
            .import("t", Some("k"), [json!({ "k": 3, "v": 1 })])
            .await;
        let rows = values(&server.deltas("t", &cursor).await);
        assert_eq!(rows.len(), 1);
        assert!(rows[0]["_ts"].as_i64() > cursor.as_i64());
        assert_eq!(server.documents("t").await.len(), 10);
        let file = server
            .query("files:getMany", json!({ "user": "a", "ids": ["f"] }))
            .await;
        assert_eq!(file["value"].as_array().unwrap().len(), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_are_transactions_of_their_own() {
    let server = Server::start().await;
    let start = server.now().await;
    let writes = (0..40).map(|writer| {
        let server = &server;
        async move {
            server
                .import(
                    "t",
                    None,
                    (0..5).map(|n| json!({ "writer": writer, "n": n })),
                )
                .await
        }
    });
    futures_util::future::join_all(writes).await;
    let rows = values(&server.deltas("t", &start).await);
    assert_eq!(rows.len(), 200);
    for transaction in rows.chunk_by(|a, b| a["_ts"] == b["_ts"]) {
        let writers: BTreeSet<String> = transaction
            .iter()
            .map(|d| d["writer"].to_string())
            .collect();
        assert_eq!((transaction.len(), writers.len()), (5, 1));
    }
    let created: BTreeSet<String> = rows
        .iter()
        .map(|d| d["_creationTime"].to_string())
        .collect();
    assert_eq!(created.len(), 200);
}

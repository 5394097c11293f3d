//! What the embedded store keeps across restarts and under concurrent writers.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeSet;
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::{IMPORT, Server, import_body, values};
use reqwest::Method;
use serde_json::json;
use sluice_convex::embedded::{Embedded, EmbeddedConfig, EmbeddedError};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Command;

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
        assert_eq!(file["value"]["page"].as_array().unwrap().len(), 1);
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

#[test]
fn a_folder_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(dir.path(), "key");
    let first = Embedded::open(config.clone()).unwrap();
    let second = Embedded::open(config.clone());
    assert!(matches!(second, Err(EmbeddedError::InUse(_))));
    drop(first);
    Embedded::open(config).unwrap();
}

/// The process that the next test kills: serves the store in the folder that `EMBEDDED_STORE_FOLDER` names, and prints its URL.
#[tokio::test]
#[ignore = "a part of the next test, run by it"]
async fn a_store_to_be_killed() {
    let Some(folder) = std::env::var_os("EMBEDDED_STORE_FOLDER") else {
        return;
    };
    let server = Server::open(folder.as_ref()).await;
    println!("serving {}", server.url);
    // Should the test die first, this ends too.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

#[tokio::test]
async fn what_was_answered_survives_the_process_being_killed() {
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "a_store_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("EMBEDDED_STORE_FOLDER", dir.path())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = loop {
        let line = lines.next_line().await.unwrap().expect("the store starts");
        if let Some((_, url)) = line.split_once("serving ") {
            break url.to_owned();
        }
    };
    let answered = AtomicU64::new(0);
    let server = Server::at(&url);
    let write = async {
        for n in 0.. {
            let body = import_body("t", None, [json!({ "n": n })]);
            match server
                .request(Method::POST, IMPORT)
                .json(&body)
                .send()
                .await
            {
                Ok(response) if response.status() == 200 => {
                    answered.store(n + 1, Ordering::Relaxed)
                }
                _ => return,
            }
        }
    };
    let kill = async {
        while answered.load(Ordering::Relaxed) < 50 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // SIGKILL.
        child.kill().await.unwrap();
    };
    tokio::join!(write, kill);
    let server = Server::open(dir.path()).await;
    let found = server.documents("t").await;
    let numbers: BTreeSet<u64> = found
        .iter()
        .map(|d| d["n"].as_f64().unwrap() as u64)
        .collect();
    let answered = answered.into_inner();
    assert!(answered >= 50);
    // The write that was on its way when the process died may or may not have made it.
    assert!(numbers.len() as u64 - answered <= 1);
    assert!((0..answered).all(|n| numbers.contains(&n)));
}

//! How fast the embedded store takes files in and gives them out, over loopback HTTP:
//! `cargo run --release -p sluice-convex --example embedded_throughput -- [MB]`
#![allow(clippy::unwrap_used, missing_docs)]

use std::time::Instant;

use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};

const FILE_BYTES: usize = 2_000;
const BATCH: usize = 4_000;

#[tokio::main]
async fn main() {
    let megabytes: usize = std::env::args()
        .nth(1)
        .map_or(100, |arg| arg.parse().unwrap());
    let dir = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(EmbeddedConfig::new(dir.path(), "key")).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let router = embedded.router();
    tokio::spawn(async move { axum::serve(listener, router).await });
    let http = reqwest::Client::new();
    let post = |path: &str| {
        http.post(format!("{url}/api/{path}"))
            .header("Authorization", "Convex key")
    };

    let files = megabytes * 1_000_000 / FILE_BYTES;
    let start = Instant::now();
    for batch in (0..files).collect::<Vec<_>>().chunks(BATCH) {
        let messages = batch
            .iter()
            .map(|n| json!({ "tableName": "files", "data": file(*n) }));
        let body = json!({ "tables": { "files": { "jsonSchema": {} } }, "messages": messages.collect::<Vec<_>>() });
        let response = post("streaming_import/import_airbyte_records")
            .json(&body)
            .send()
            .await
            .unwrap();
        assert!(response.status().is_success());
    }
    report(
        "import (two users, with making the records)",
        files * FILE_BYTES,
        start,
    );

    for _ in 0..2 {
        let start = Instant::now();
        let (mut bytes, mut cursor) = (0, Value::Null);
        loop {
            let options = json!({ "numItems": 16_384, "cursor": cursor });
            let args = json!({ "user": "usr_0", "paginationOpts": options });
            let response = post("query")
                .json(&json!({ "path": "sluice:byUser", "args": args }))
                .send()
                .await
                .unwrap();
            let body = response.bytes().await.unwrap();
            bytes += body.len();
            // Only the page's end is read: this measures the server.
            let tail = &body[body.len() - 300..];
            let at = tail
                .windows(10)
                .position(|window| window == b"],\"isDone\"")
                .unwrap();
            let end: Value =
                serde_json::from_slice(&[b"{\"x\":{\"page\":[", &tail[at..]].concat()).unwrap();
            if end["x"]["isDone"] == json!(true) {
                break;
            }
            cursor = end["x"]["continueCursor"].clone();
        }
        report("sluice:byUser, one of two users", bytes, start);
    }

    let start = Instant::now();
    let (mut bytes, mut next) = (0, json!({ "tableName": "files" }));
    loop {
        let body = post("list_snapshot")
            .json(&next)
            .send()
            .await
            .unwrap()
            .bytes()
            .await
            .unwrap();
        bytes += body.len();
        let at = body
            .windows(13)
            .rposition(|window| window == b"],\"snapshot\":")
            .unwrap();
        let end: Value = serde_json::from_slice(&[b"{\"x\":[", &body[at..]].concat()).unwrap();
        if end["hasMore"] == json!(false) {
            break;
        }
        next["cursor"] = end["cursor"].clone();
        next["snapshot"] = end["snapshot"].clone();
    }
    report("list_snapshot, all", bytes, start);
}

fn file(n: usize) -> Value {
    let fill = "0123456789abcdef".repeat(FILE_BYTES / 16);
    json!({
        "id": format!("file_{n:09}"), "user": format!("usr_{}", n % 2), "size": n, "mimeType": "image/png",
        "filenameEnc": fill[..FILE_BYTES - 400].to_owned(), "dekEnc": fill[..100].to_owned(),
        "thumbs": { "mobile": "m", "web": "w", "webPre": "p" }, "uploadedDate": "2026-01-01T00:00:00Z",
    })
}

fn report(what: &str, bytes: usize, start: Instant) {
    let seconds = start.elapsed().as_secs_f64();
    let megabytes = bytes as f64 / 1e6;
    println!(
        "{what:45} {megabytes:7.1} MB in {seconds:6.2} s: {:7.1} MB/s",
        megabytes / seconds
    );
}

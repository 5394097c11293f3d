//! What the embedded store does with millions of documents: whether the cost of a page depends on
//! how many there are, on their history, or on what is written meanwhile.
//!
//! `cargo run --release -p sluice-convex --example embedded_scale -- DIR [DOCUMENTS]`; the folder
//! has to be empty, takes about 1.1 kB a document, and is deleted at the end. It serves itself over
//! loopback HTTP.
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};
use tokio::task::JoinHandle;

const FILE_BYTES: usize = 500;
const BATCH: usize = 8_000;
/// Pages looked at for a figure.
const PAGES: usize = 200;

#[tokio::main]
async fn main() {
    let mut arguments = std::env::args().skip(1);
    let dir = arguments.next().expect("an empty folder");
    let documents: usize = arguments
        .next()
        .map_or(5_000_000, |count| count.parse().unwrap());
    let dir = Path::new(&dir);
    assert!(!dir.exists() || dir.read_dir().unwrap().next().is_none());
    let mut config = EmbeddedConfig::new(dir, "key");
    let server = Server::start(config.clone()).await;

    let before = server.now().await;
    let start = Instant::now();
    for batch in (0..documents).step_by(BATCH) {
        let batch = batch..documents.min(batch + BATCH);
        server.import(None, batch.map(|n| file(n, 0))).await;
    }
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "import of {documents} documents: {seconds:.0} s, {:.0} MB/s, file of {:.1} GB",
        (documents * FILE_BYTES) as f64 / 1e6 / seconds,
        size(dir) as f64 / 1e9
    );

    let loaded = server.now().await;
    server.walk_snapshot("list_snapshot", &loaded).await;
    server.walk_log("document_deltas", &before).await;

    let start = Instant::now();
    let index = json!({ "indexes": { "files": [["id"]] } });
    server
        .put("/api/streaming_import/add_primary_key_indexes", &index)
        .await;
    let answered = start.elapsed();
    let mut slowest = Duration::ZERO;
    while !server.index_is_ready().await {
        let write = Instant::now();
        server.import(None, [file(documents, 0)]).await;
        slowest = slowest.max(write.elapsed());
    }
    println!(
        "primary key index: asked for in {answered:.1?}, built in {:.0?}, slowest write meanwhile {slowest:.1?}",
        start.elapsed()
    );

    let start = Instant::now();
    let updates = (documents / 10).max(1);
    for batch in (0..updates).step_by(BATCH) {
        // Spread over all there are.
        let batch = batch..updates.min(batch + BATCH);
        let records = batch.map(|n| file(n * 10 % documents, 1));
        server.import(Some("id"), records).await;
    }
    println!("update of {updates} documents: {:.0?}", start.elapsed());
    server
        .walk_snapshot("list_snapshot, before the updates", &loaded)
        .await;
    server
        .walk_snapshot("list_snapshot, after the updates", &server.now().await)
        .await;

    let done = std::sync::Arc::new(AtomicBool::new(false));
    let writes = server.write_until(done.clone(), documents);
    server
        .walk_snapshot("list_snapshot, during writes", &server.now().await)
        .await;
    server
        .walk_log("document_deltas, during writes", &loaded)
        .await;
    done.store(true, Ordering::Relaxed);
    println!("writes meanwhile: {}", latencies(writes.await.unwrap()));

    // The same store, with nothing old to keep: all that was superseded goes.
    server.stop().await;
    config.log_retention = Duration::ZERO;
    config.snapshot_retention = Duration::ZERO;
    let start = Instant::now();
    let server = Server::start(config).await;
    println!("opening: {:.1?}", start.elapsed());
    let done = std::sync::Arc::new(AtomicBool::new(false));
    let writes = server.write_until(done.clone(), documents);
    server.until_compacted(dir).await;
    done.store(true, Ordering::Relaxed);
    println!(
        "compaction beside writes: {:.0?}; writes: {}",
        start.elapsed(),
        latencies(writes.await.unwrap())
    );
    let memory = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = memory.lines().find(|line| line.starts_with("VmHWM"));
    println!(
        "peak memory, client and mapped file included: {}",
        peak.unwrap()
    );
    server.stop().await;
    std::fs::remove_dir_all(dir).unwrap();
}

struct Server {
    url: String,
    http: reqwest::Client,
    serving: JoinHandle<()>,
}

impl Server {
    async fn start(config: EmbeddedConfig) -> Server {
        let embedded = Embedded::open(config).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = embedded.router();
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Server {
            url,
            http: reqwest::Client::new(),
            serving,
        }
    }

    /// Ends when the store is closed.
    async fn stop(self) {
        self.serving.abort();
        let _ = self.serving.await;
        drop(self.http);
        // Connections under way hold the store for a moment longer.
        tokio::time::sleep(Duration::from_secs(1)).await;
    }

    async fn send(&self, method: reqwest::Method, path: &str, body: &Value) -> Vec<u8> {
        let request = self.http.request(method, format!("{}{path}", self.url));
        let request = request.header("Authorization", "Convex key").json(body);
        let response = request.send().await.unwrap();
        let status = response.status();
        let body = response.bytes().await.unwrap();
        assert!(status.is_success(), "{}", String::from_utf8_lossy(&body));
        body.to_vec()
    }

    async fn put(&self, path: &str, body: &Value) {
        self.send(reqwest::Method::PUT, path, body).await;
    }

    async fn post(&self, path: &str, body: &Value) -> Vec<u8> {
        self.send(reqwest::Method::POST, path, body).await
    }

    async fn now(&self) -> Value {
        let body = json!({ "tableName": "nothing" });
        let page = self.post("/api/list_snapshot", &body).await;
        serde_json::from_slice::<Value>(&page).unwrap()["snapshot"].clone()
    }

    async fn import(&self, key: Option<&str>, records: impl IntoIterator<Item = Value>) {
        let messages: Vec<Value> = records
            .into_iter()
            .map(|data| json!({ "tableName": "files", "data": data }))
            .collect();
        let tables =
            json!({ "files": { "primaryKey": key.map(|key| [[key]]), "jsonSchema": null } });
        let body = json!({ "tables": tables, "messages": messages });
        self.post("/api/streaming_import/import_airbyte_records", &body)
            .await;
    }

    async fn index_is_ready(&self) -> bool {
        let path = "/api/streaming_import/primary_key_indexes_ready";
        let body = json!({ "tables": ["files"] });
        let answer = self.send(reqwest::Method::GET, path, &body).await;
        serde_json::from_slice::<Value>(&answer).unwrap()["indexesReady"] == json!(true)
    }

    async fn walk_snapshot(&self, what: &str, snapshot: &Value) {
        let mut body = json!({ "tableName": "files", "snapshot": snapshot, "cursor": null });
        let (mut times, mut bytes) = (Vec::new(), 0);
        loop {
            let start = Instant::now();
            let page = self.post("/api/list_snapshot", &body).await;
            times.push(start.elapsed());
            bytes += page.len();
            let end = page_end(&page, "],\"snapshot\":");
            if end["hasMore"] == json!(false) {
                break;
            }
            body["cursor"] = end["cursor"].clone();
        }
        report(what, bytes, &times);
    }

    async fn walk_log(&self, what: &str, cursor: &Value) {
        let mut body = json!({ "tableName": "files", "cursor": cursor });
        let (mut times, mut bytes) = (Vec::new(), 0);
        loop {
            let start = Instant::now();
            let page = self.post("/api/document_deltas", &body).await;
            times.push(start.elapsed());
            bytes += page.len();
            let end = page_end(&page, "],\"cursor\":");
            body["cursor"] = end["cursor"].clone();
            if end["hasMore"] == json!(false) {
                break;
            }
        }
        report(what, bytes, &times);
    }

    /// Writes one document after the other, and tells how long each took.
    fn write_until(
        &self,
        done: std::sync::Arc<AtomicBool>,
        documents: usize,
    ) -> JoinHandle<Vec<Duration>> {
        let server = Server {
            url: self.url.clone(),
            http: reqwest::Client::new(),
            serving: tokio::spawn(async {}),
        };
        tokio::spawn(async move {
            let mut times = Vec::new();
            for n in 0.. {
                if done.load(Ordering::Relaxed) {
                    break;
                }
                let start = Instant::now();
                server
                    .import(Some("id"), [file(n * 7_919 % documents, 2)])
                    .await;
                times.push(start.elapsed());
            }
            times
        })
    }

    /// Waits until the log is gone through: what is superseded since takes no more than a moment.
    async fn until_compacted(&self, dir: &Path) {
        let db = rusqlite::Connection::open(dir.join("convex.sqlite")).unwrap();
        let behind = || {
            let query = "SELECT (SELECT max(seq) FROM revisions) - (SELECT max(seq) FROM pruned)";
            db.query_row(query, [], |row| row.get::<_, Option<i64>>(0))
                .unwrap()
        };
        while behind().is_none_or(|behind| behind > 10_000) {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }
}

/// What comes after the page's values.
fn page_end(page: &[u8], mark: &str) -> Value {
    let at = page
        .windows(mark.len())
        .rposition(|window| window == mark.as_bytes());
    serde_json::from_slice(&[b"{\"values\":[", &page[at.unwrap()..]].concat()).unwrap()
}

fn report(what: &str, bytes: usize, times: &[Duration]) {
    let total: Duration = times.iter().sum();
    let first = times[..times.len().min(PAGES)].to_vec();
    // The last page may be shorter.
    let rest = &times[..times.len() - 1];
    let last = rest[rest.len().saturating_sub(PAGES)..].to_vec();
    println!(
        "{what}: {} pages, {:.0} MB/s; first {PAGES}: {}; last {PAGES}: {}",
        times.len(),
        bytes as f64 / 1e6 / total.as_secs_f64(),
        latencies(first),
        latencies(last)
    );
}

fn latencies(mut times: Vec<Duration>) -> String {
    if times.is_empty() {
        return "none".to_owned();
    }
    times.sort_unstable();
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize];
    format!(
        "median {:.2?}, 99 % {:.2?}, slowest {:.2?}",
        at(0.5),
        at(0.99),
        at(1.0)
    )
}

fn size(dir: &Path) -> u64 {
    let files = dir.read_dir().unwrap();
    files
        .map(|file| file.unwrap().metadata().unwrap().len())
        .sum()
}

fn file(n: usize, version: usize) -> Value {
    let fill = "0123456789abcdef".repeat(FILE_BYTES / 16);
    json!({
        "id": format!("file_{n:09}"), "user": format!("usr_{}", n % 1_000), "size": n, "version": version,
        "mimeType": "image/png", "filenameEnc": fill[..FILE_BYTES - 350], "dekEnc": fill[..100],
        "thumbs": { "mobile": "m", "web": "w", "webPre": "p" }, "uploadedDate": "2026-01-01T00:00:00Z",
    })
}

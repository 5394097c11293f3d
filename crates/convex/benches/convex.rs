//! The Convex-compatible store over loopback HTTP, against what its parts could do at best: the
//! same rows straight through SQLite, in the same schema and as durably, and the same bytes as
//! static files from the same HTTP server, to the same client.
//!
//! Rounds alternate between the contestants, and the medians are compared. `SLUICE_BENCH_ROUNDS`
//! sets how many there are (5), `SLUICE_BENCH_MB` the size of the documents together (200).
#![allow(clippy::unwrap_used, missing_docs)]

use std::path::Path;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::get;
use rusqlite::{Connection, params};
use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};
use tempfile::TempDir;
use tokio_util::io::ReaderStream;

/// Documents of an import's request, which is one transaction.
const BATCH: usize = 4_000;
const DOCUMENT_BYTES: usize = 2_000;
/// As the store sends its pages.
const CHUNK_BYTES: usize = 256 * 1024;
const AUTHORIZATION: &str = "Convex key";

fn main() {
    let setting = |name: &str, default: usize| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let rounds = setting("SLUICE_BENCH_ROUNDS", 5);
    let documents = setting("SLUICE_BENCH_MB", 200) * 1_000_000 / DOCUMENT_BYTES;
    tokio::runtime::Runtime::new()
        .unwrap()
        .block_on(measure(documents, rounds));
}

async fn measure(documents: usize, rounds: usize) {
    let requests: Vec<Vec<u8>> = (0..documents)
        .step_by(BATCH)
        .map(|first| import_body(first..documents.min(first + BATCH)))
        .collect();

    let mut import = Contest::default();
    let mut store = Store::start().await;
    let start = store.now().await;
    store.import(&requests).await;
    let rows = Rows::read(store.dir.path());
    for _ in 0..rounds {
        store = Store::start().await;
        import.add("SQLite", write_rows(&rows));
        import.add("import_airbyte_records", store.import(&requests).await);
    }
    store = Store::start().await;
    store.import(&requests).await;

    let (_, snapshot) = store.list_snapshot().await;
    let files = StaticFiles::of(&snapshot).await;
    let (_, deltas) = store.document_deltas(&start).await;
    let delta_files = StaticFiles::of(&deltas).await;
    let mut export = Contest::default();
    for _ in 0..rounds {
        export.add("SQLite", read_rows(store.dir.path()));
        export.add("static files", files.fetch().await);
        export.add("list_snapshot", store.list_snapshot().await.0);
        export.add("static files, deltas", delta_files.fetch().await);
        export.add("document_deltas", store.document_deltas(&start).await.0);
    }

    println!("{documents} documents of about {DOCUMENT_BYTES} bytes, {rounds} rounds\n");
    println!("| what | documents/s | MB/s | of SQLite | of static files |\n|---|---|---|---|---|");
    let size = |pages: &[Vec<u8>]| pages.iter().map(Vec::len).sum::<usize>();
    let table = Table {
        documents,
        bytes: documents * DOCUMENT_BYTES,
    };
    let raw = import.median("SQLite");
    table.line("SQLite, insert", raw, None, None);
    let time = import.median("import_airbyte_records");
    table.line("import_airbyte_records", time, Some(raw), None);
    let raw = export.median("SQLite");
    table.line("SQLite, select", raw, None, None);
    for (what, of, pages) in [
        ("list_snapshot", "static files", &snapshot),
        ("document_deltas", "static files, deltas", &deltas),
    ] {
        let table = Table {
            documents,
            bytes: size(pages),
        };
        let best = export.median(of);
        table.line(&format!("{of}, {} pages", pages.len()), best, None, None);
        table.line(what, export.median(what), Some(raw), Some(best));
    }
}

/// The times that each contestant took.
#[derive(Default)]
struct Contest(Vec<(&'static str, Duration)>);

impl Contest {
    fn add(&mut self, contestant: &'static str, time: Duration) {
        self.0.push((contestant, time));
    }

    fn median(&self, contestant: &str) -> Duration {
        let times = self.0.iter().filter(|(name, _)| *name == contestant);
        let mut times: Vec<Duration> = times.map(|(_, time)| *time).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}

struct Table {
    documents: usize,
    bytes: usize,
}

impl Table {
    fn line(&self, what: &str, time: Duration, raw: Option<Duration>, best: Option<Duration>) {
        let ratio = |other: Option<Duration>| {
            other.map_or("–".to_owned(), |other| {
                format!("{:.2}", other.as_secs_f64() / time.as_secs_f64())
            })
        };
        let seconds = time.as_secs_f64();
        println!(
            "| {what} | {:.0} | {:.0} | {} | {} |",
            self.documents as f64 / seconds,
            self.bytes as f64 / 1e6 / seconds,
            ratio(raw),
            ratio(best)
        );
    }
}

/// A store of its own, and a client of it.
struct Store {
    dir: TempDir,
    url: String,
    http: reqwest::Client,
}

impl Store {
    async fn start() -> Store {
        let dir = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(EmbeddedConfig::new(dir.path(), "key")).unwrap();
        Store {
            dir,
            url: serve(embedded.router()).await,
            http: reqwest::Client::new(),
        }
    }

    async fn post(&self, path: &str, body: Vec<u8>) -> Vec<u8> {
        let request = self.http.post(format!("{}/api/{path}", self.url));
        let request = request.header("Authorization", AUTHORIZATION);
        let request = request.header("Content-Type", "application/json");
        let response = request.body(body).send().await.unwrap();
        assert!(response.status().is_success());
        response.bytes().await.unwrap().to_vec()
    }

    async fn now(&self) -> Value {
        let body = json!({ "tableName": "nothing" });
        let page = self.post("list_snapshot", body.to_string().into()).await;
        serde_json::from_slice::<Value>(&page).unwrap()["snapshot"].clone()
    }

    async fn import(&self, requests: &[Vec<u8>]) -> Duration {
        let requests = requests.to_vec();
        let start = Instant::now();
        for body in requests {
            self.post("streaming_import/import_airbyte_records", body)
                .await;
        }
        start.elapsed()
    }

    async fn list_snapshot(&self) -> (Duration, Vec<Vec<u8>>) {
        let body = json!({ "tableName": "t", "snapshot": null, "cursor": null });
        self.walk("list_snapshot", "],\"snapshot\":", body).await
    }

    async fn document_deltas(&self, cursor: &Value) -> (Duration, Vec<Vec<u8>>) {
        let body = json!({ "tableName": "t", "cursor": cursor });
        self.walk("document_deltas", "],\"cursor\":", body).await
    }

    /// Fetches all pages. Of each, only the end after `mark` is looked at.
    async fn walk(&self, path: &str, mark: &str, mut body: Value) -> (Duration, Vec<Vec<u8>>) {
        let mut pages = Vec::new();
        let mut time = Duration::ZERO;
        loop {
            let text = body.to_string().into_bytes();
            let start = Instant::now();
            let page = self.post(path, text).await;
            time += start.elapsed();
            let at = page
                .windows(mark.len())
                .rposition(|window| window == mark.as_bytes());
            let end = [b"{\"values\":[", &page[at.unwrap()..]].concat();
            let end: Value = serde_json::from_slice(&end).unwrap();
            pages.push(page);
            for name in ["cursor", "snapshot"] {
                body[name] = end[name].clone();
            }
            if end["hasMore"] == json!(false) {
                return (time, pages);
            }
        }
    }
}

async fn serve(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

/// The pages of an export as files.
struct StaticFiles {
    _dir: TempDir,
    url: String,
    count: usize,
    http: reqwest::Client,
}

impl StaticFiles {
    async fn of(pages: &[Vec<u8>]) -> StaticFiles {
        let dir = tempfile::tempdir().unwrap();
        for (n, page) in pages.iter().enumerate() {
            std::fs::write(dir.path().join(n.to_string()), page).unwrap();
        }
        let file =
            async |State(dir): State<std::path::PathBuf>,
                   axum::extract::Path(name): axum::extract::Path<String>| {
                let file = tokio::fs::File::open(dir.join(name)).await.unwrap();
                Body::from_stream(ReaderStream::with_capacity(file, CHUNK_BYTES))
            };
        let router = Router::new()
            .route("/{file}", get(file))
            .with_state(dir.path().to_owned());
        StaticFiles {
            url: serve(router).await,
            _dir: dir,
            count: pages.len(),
            http: reqwest::Client::new(),
        }
    }

    async fn fetch(&self) -> Duration {
        let start = Instant::now();
        for n in 0..self.count {
            let request = self.http.get(format!("{}/{n}", self.url));
            let response = request.send().await.unwrap();
            let _ = response.bytes().await.unwrap().to_vec();
        }
        start.elapsed()
    }
}

/// What an import left in the database.
struct Rows {
    schema: Vec<String>,
    revisions: Vec<Revision>,
}

struct Revision {
    ts: i64,
    tablet: u32,
    id: Vec<u8>,
    tagged: bool,
    body: Vec<u8>,
}

impl Rows {
    fn read(dir: &Path) -> Rows {
        let db = open(dir);
        let mut schema = db
            .prepare("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL")
            .unwrap();
        let mut revisions = db
            .prepare("SELECT ts, tablet, id, tagged, body FROM revisions ORDER BY seq")
            .unwrap();
        let revision = |row: &rusqlite::Row| {
            Ok(Revision {
                ts: row.get(0)?,
                tablet: row.get(1)?,
                id: row.get(2)?,
                tagged: row.get(3)?,
                body: row.get(4)?,
            })
        };
        Rows {
            schema: collect(schema.query_map([], |row| row.get(0))),
            revisions: collect(revisions.query_map([], revision)),
        }
    }
}

fn collect<T, F: FnMut(&rusqlite::Row) -> rusqlite::Result<T>>(
    rows: rusqlite::Result<rusqlite::MappedRows<F>>,
) -> Vec<T> {
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// With the settings of the store.
fn open(dir: &Path) -> Connection {
    let db = Connection::open(dir.join("convex.sqlite")).unwrap();
    for (name, value) in [
        ("page_size", "16384"),
        ("journal_mode", "WAL"),
        ("synchronous", "FULL"),
        ("mmap_size", "1099511627776"),
    ] {
        db.pragma_update(None, name, value).unwrap();
    }
    db
}

/// Writes the same rows in the same transactions.
fn write_rows(rows: &Rows) -> Duration {
    let dir = tempfile::tempdir().unwrap();
    let mut db = open(dir.path());
    for statement in &rows.schema {
        db.execute_batch(statement).unwrap();
    }
    let start = Instant::now();
    let mut seq: i64 = 0;
    for revisions in rows.revisions.chunk_by(|a, b| a.ts == b.ts) {
        let transaction = db.transaction().unwrap();
        let mut insert = transaction
            .prepare_cached("INSERT INTO revisions VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
            .unwrap();
        let first = seq + 1;
        for row in revisions {
            seq += 1;
            insert
                .execute(params![
                    seq, row.ts, row.tablet, row.id, row.tagged, row.body
                ])
                .unwrap();
        }
        drop(insert);
        transaction
            .execute(
                "INSERT INTO commits VALUES (?1, ?2)",
                [revisions[0].ts, first],
            )
            .unwrap();
        transaction.commit().unwrap();
    }
    start.elapsed()
}

/// Reads the documents in the order of their ids, and copies each.
fn read_rows(dir: &Path) -> Duration {
    let db = open(dir);
    let start = Instant::now();
    let mut query = db
        .prepare("SELECT body FROM revisions ORDER BY tablet, id, ts DESC")
        .unwrap();
    let mut rows = query.query([]).unwrap();
    let mut buffer = Vec::with_capacity(CHUNK_BYTES);
    while let Some(row) = rows.next().unwrap() {
        buffer.extend_from_slice(row.get_ref(0).unwrap().as_blob().unwrap());
        if buffer.len() >= CHUNK_BYTES {
            buffer.clear();
        }
    }
    start.elapsed()
}

fn import_body(documents: std::ops::Range<usize>) -> Vec<u8> {
    let messages = documents.map(|n| json!({ "tableName": "t", "data": document(n) }));
    json!({ "tables": { "t": { "jsonSchema": null } }, "messages": messages.collect::<Vec<_>>() })
        .to_string()
        .into_bytes()
}

fn document(n: usize) -> Value {
    let fill = "0123456789abcdef".repeat(DOCUMENT_BYTES / 16);
    json!({
        "id": format!("file_{n:09}"), "user": format!("usr_{}", n % 1_000), "size": n, "mimeType": "image/png",
        "filenameEnc": fill[..DOCUMENT_BYTES - 450], "dekEnc": fill[..100],
        "thumbs": { "mobile": "m", "web": "w", "webPre": "p" }, "uploadedDate": "2026-01-01T00:00:00Z",
    })
}

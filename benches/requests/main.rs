//! Requests that have to be fast against what they cannot be faster than: a bare axum route that
//! does one call to the same Valkey, in the same run, under the same load.
//!
//! | request | the bare route's call |
//! |---|---|
//! | a cached entry, `GET /api/v1/meta/{id}` | `HGET` |
//! | 15 cached entries, `POST /api/v1/meta/batch` | `HMGET` |
//! | a document of 1 KB and 100 KB | `JSON.GET` |
//! | an increment in one, `POST …/mutate` | the function that makes it |
//!
//! Each connection has an entry or a document of its own and sends its next request when it has the
//! answer to the last. API and bare route take turns, and the first one changes from round to
//! round. `SLUICE_BENCH_ROUNDS` sets how many there are (5), `SLUICE_BENCH_SECONDS` how long each
//! is (1), an argument which requests are measured (`mutate`).
#![allow(clippy::unwrap_used, missing_docs)]

mod bare;
#[path = "../common/bare_process.rs"]
#[allow(dead_code)]
mod bare_process;
#[path = "../../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;
#[path = "../common/idle.rs"]
#[allow(dead_code)]
mod idle;
#[path = "../common/load.rs"]
mod load;
#[path = "../common/turns.rs"]
mod turns;

use std::time::Duration;

use bare_process::Bare;
use harness::Deployment;
use load::{Request, Target};
use mimalloc::MiMalloc;
use serde_json::{Value, json};
use sluice_store::cache::{Cache, CacheConfig, Entry, Overflow};
use sluice_valkey::Valkey;

/// The bare routes have the allocator that the API has.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const DOCUMENTS: &str = "/api/sync/bench/documents";
const CONNECTIONS: [usize; 2] = [1, 64];
const MUTATE: &str = r#"{"mutations":[{"op":"increment","path":"/n","value":1}]}"#;
/// Entries of one batch.
const BATCH: usize = 15;
const ENTRIES: usize = 1_000;
const ENTRY_BYTES: usize = 1_000;

/// What is asked for, of a document of that size in KB.
#[derive(Clone, Copy)]
enum Call {
    Entry,
    Entries,
    Get(usize),
    Mutate(usize),
}

const CALLS: [Call; 6] = [
    Call::Entry,
    Call::Entries,
    Call::Get(1),
    Call::Get(100),
    Call::Mutate(1),
    Call::Mutate(100),
];

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if bare_process::is_asked_for() {
        return runtime.block_on(bare::serve());
    }
    let setting = |name: &str, default: f64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let rounds = setting("SLUICE_BENCH_ROUNDS", 5.0) as usize;
    let length = Duration::from_secs_f64(setting("SLUICE_BENCH_SECONDS", 1.0));
    let wanted = std::env::args().skip(1).find(|it| !it.starts_with('-'));
    runtime.block_on(async {
        let mut parts = Parts::start().await;
        load::head();
        for call in CALLS {
            let is_wanted = |wanted: &String| call.name().contains(wanted.as_str());
            if !wanted.as_ref().is_none_or(is_wanted) {
                continue;
            }
            for connections in CONNECTIONS {
                parts.compare(call, connections, (rounds, length)).await;
            }
        }
        if wanted.is_none_or(|wanted| "idle".contains(&wanted)) {
            parts.idle().await;
        }
    });
}

impl Call {
    fn name(self) -> String {
        match self {
            Self::Entry => "cached entry".to_owned(),
            Self::Entries => format!("{BATCH} cached entries"),
            Self::Get(size) => format!("get, {size} KB"),
            Self::Mutate(size) => format!("mutate, {size} KB"),
        }
    }

    /// What a connection asks the API.
    fn of_api(self, connection: usize, token: &str) -> Request {
        let (method, path, body) = match self {
            Self::Entry => ("GET", format!("/api/v1/meta/f{connection}"), String::new()),
            Self::Entries => ("POST", "/api/v1/meta/batch".to_owned(), ids(connection)),
            Self::Get(size) => (
                "GET",
                format!("{DOCUMENTS}/d{size}-{connection}"),
                String::new(),
            ),
            Self::Mutate(size) => (
                "POST",
                format!("{DOCUMENTS}/d{size}-{connection}/mutate"),
                MUTATE.to_owned(),
            ),
        };
        Request {
            method,
            path,
            token: token.to_owned(),
            body,
        }
    }

    /// What it asks the bare route.
    fn of_bare(self, connection: usize, token: &str) -> Request {
        let path = match self {
            Self::Entry => format!("/entries/f{connection}"),
            Self::Entries => "/entries".to_owned(),
            Self::Get(size) | Self::Mutate(size) => format!("/documents/d{size}-{connection}"),
        };
        Request {
            path,
            ..self.of_api(connection, token)
        }
    }
}

fn ids(connection: usize) -> String {
    let ids: Vec<String> = (0..BATCH)
        .map(|at| format!("f{}", (connection * BATCH + at) % ENTRIES))
        .collect();
    json!({"ids": ids}).to_string()
}

/// Whom the requests go to.
struct Parts {
    deployment: Deployment,
    bare: Bare,
    token: String,
}

impl Parts {
    async fn start() -> Self {
        let streams = [("SLUICE_STREAMS_PER_USER", "5000")];
        let deployment = Deployment::without_workers(&streams).await;
        let token = deployment
            .client
            .token("bench", "docs:read docs:write", 3_600);
        cache_entries(&deployment.valkey.url()).await;
        for size in [1, 100] {
            create_documents(&deployment, &token, size).await;
        }
        Self {
            bare: Bare::start(&deployment.valkey, "sluice_documents_*", &[]).await,
            deployment,
            token,
        }
    }

    async fn idle(&mut self) {
        let address = self.deployment.client.address("").replace("http://", "");
        let token = self.token.clone();
        let head = |path: &str, more: &str| {
            format!(
                "GET {DOCUMENTS}/{path} HTTP/1.1\r\nhost: {address}\r\n\
                 authorization: Bearer {token}\r\n{more}\r\n"
            )
        };
        let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
        println!("\n| idle | memory of the API, each |\n|---|---|");
        for (name, request, status) in [
            ("WebSocket", head("ws", upgrade), "101"),
            ("event stream of a document", head("d1-0/events", ""), "200"),
        ] {
            // What others have freed would be used again.
            self.deployment.restart_api_after_kill().await;
            let pid = self.deployment.api.pid();
            let bytes = idle::memory(&address, pid, &request, status).await;
            println!("| {name} | {:.1} KB |", bytes / 1e3);
        }
    }

    async fn compare(&self, call: Call, connections: usize, rounds: (usize, Duration)) {
        let address = self.deployment.client.address("").replace("http://", "");
        let requests = |of: &dyn Fn(usize) -> Request| (0..connections).map(of).collect();
        let api = Target {
            address,
            pid: self.deployment.api.pid(),
            requests: requests(&|at| call.of_api(at, &self.token)),
        };
        let bare = Target {
            address: self.bare.address.clone(),
            pid: self.bare.pid(),
            requests: requests(&|at| call.of_bare(at, &self.token)),
        };
        let valkey = self.deployment.valkey.pid();
        load::compare(&call.name(), valkey, rounds, &api, &bare).await;
    }
}

/// A synced set of entries.
async fn cache_entries(valkey: &str) {
    let valkey = Valkey::at(valkey).unwrap();
    let cache = Cache::new(&valkey, CacheConfig::default()).unwrap();
    let entries: Vec<Entry> = (0..ENTRIES)
        .map(|at| {
            let id = format!("f{at}");
            let name = "n".repeat(ENTRY_BYTES - 100);
            let json = json!({"id": id, "user": "bench", "filenameEnc": name, "size": at});
            Entry {
                doc_id: (&*id).into(),
                id: id.into(),
                json: json.to_string().into(),
            }
        })
        .collect();
    let mut staging = cache.stage("bench", Overflow::Refuse).await.unwrap();
    staging.push(&entries).await.unwrap();
    staging.commit("allOne", 0).await.unwrap();
}

/// A document of that size, in KB, for each connection.
async fn create_documents(deployment: &Deployment, token: &str, size: usize) {
    let items: Vec<Value> = (0..size * 10)
        .map(|at| {
            let title = "t".repeat(40);
            json!({"id": format!("item-{at:06}"), "title": title, "done": at % 2 == 0, "rank": at})
        })
        .collect();
    for connection in 0..CONNECTIONS[1] {
        let id = format!("d{size}-{connection}");
        let body = json!({"id": id, "data": {"n": 0, "items": items}});
        let create = deployment
            .client
            .request("POST", DOCUMENTS)
            .bearer_auth(token)
            .json(&body);
        assert!(create.send().await.unwrap().status().is_success());
    }
}

//! Documents over HTTP against what they cannot be faster than: the same scripts called by a bare
//! client, and a bare axum route that reads the body and answers as many bytes; in the same run, on
//! the same machine.
//!
//! `get` reads a document, `mutate` increments a number in it. Each connection has a document of
//! its own and sends its next request when it has the answer to the last. The three take turns; of
//! the rounds the median counts. `SLUICE_BENCH_ROUNDS` sets how many there are (5),
//! `SLUICE_BENCH_SECONDS` how long each is (1).
#![allow(clippy::unwrap_used, missing_docs)]

#[path = "../tests/e2e/harness.rs"]
#[allow(dead_code)]
mod harness;

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::routing::{get, post};
use harness::{Deployment, PATIENCE};
use redis::AsyncConnectionConfig;
use redis::aio::MultiplexedConnection;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

const PATH: &str = "/api/sync/bench/documents";
const MUTATE: &str = r#"{"mutations":[{"op":"increment","path":"/n","value":1}]}"#;

#[derive(Clone, Copy, PartialEq)]
enum Call {
    Get,
    Mutate,
}

fn main() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if let Some(port) = std::env::var_os("SLUICE_BENCH_BARE_PORT") {
        return runtime.block_on(serve_bare(port.to_str().unwrap()));
    }
    let setting = |name: &str, default: f64| {
        std::env::var(name).map_or(default, |value| value.parse().unwrap())
    };
    let rounds = setting("SLUICE_BENCH_ROUNDS", 5.0) as usize;
    let length = Duration::from_secs_f64(setting("SLUICE_BENCH_SECONDS", 1.0));
    runtime.block_on(async {
        println!("| call | document | connections | requests/s | of the bare client's | of the bare route's | p50, p99 | bare client | bare route |");
        println!("|---|---|---|---|---|---|---|---|---|");
        let parts = Parts::start().await;
        for (name, bytes) in [("1 KB", 1_000), ("100 KB", 100_000)] {
            parts.create(name, bytes).await;
            for call in [Call::Get, Call::Mutate] {
                for connections in [1, 64] {
                    parts.compare(call, name, bytes, connections, rounds, length).await;
                }
            }
        }
    });
}

/// Whom the requests go to.
struct Parts {
    deployment: Deployment,
    token: String,
    bare: Bare,
}

/// The bare axum route, as a process of its own like the API.
struct Bare {
    process: Child,
    address: String,
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

async fn serve_bare(port: &str) {
    // The last segment says how many bytes to answer.
    let answer = async |Path((_, bytes)): Path<(String, usize)>, _body: Bytes| "x".repeat(bytes);
    let router = Router::new().route("/{id}/{bytes}", get(answer).merge(post(answer)));
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await;
    axum::serve(listener.unwrap(), router).await.unwrap();
}

impl Parts {
    async fn start() -> Self {
        let deployment = Deployment::without_workers(&[]).await;
        let port = sluice_test_support::free_port().to_string();
        let process = Command::new(std::env::current_exe().unwrap())
            .env("SLUICE_BENCH_BARE_PORT", &port)
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let address = format!("127.0.0.1:{port}");
        while TcpStream::connect(&address).await.is_err() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        Self {
            token: deployment
                .client
                .token("bench", "docs:read docs:write", 3_600),
            bare: Bare { process, address },
            deployment,
        }
    }

    /// A document for each connection.
    async fn create(&self, name: &str, bytes: usize) {
        let items: Vec<Value> = (0..bytes / 100)
            .map(|at| json!({"id": format!("item-{at:06}"), "title": "t".repeat(40), "done": at % 2 == 0, "rank": at}))
            .collect();
        for connection in 0..64 {
            let id = format!("{}-{connection}", name.replace(' ', ""));
            let body = json!({"id": id, "data": {"n": 0, "items": items}});
            let client = &self.deployment.client;
            let create = client
                .request("POST", PATH)
                .bearer_auth(&self.token)
                .json(&body);
            assert!(create.send().await.unwrap().status().is_success());
        }
    }

    async fn compare(
        &self,
        call: Call,
        name: &str,
        bytes: usize,
        connections: usize,
        rounds: usize,
        length: Duration,
    ) {
        let mut results: [Vec<Round>; 3] = Default::default();
        for round in 0..=rounds {
            let api = self.deployment.client.address("").replace("http://", "");
            let measured = [
                run(connections, length, async |at| {
                    let (method, path, body) = match call {
                        Call::Get => ("GET", "", ""),
                        Call::Mutate => ("POST", "/mutate", MUTATE),
                    };
                    let path = format!("{PATH}/{}-{at}{path}", name.replace(' ', ""));
                    Http::open(&api, method, &path, &self.token, body).await
                })
                .await,
                run(connections, length, async |at| {
                    Functions::open(
                        self.deployment.valkey.port(),
                        call,
                        &format!("{}-{at}", name.replace(' ', "")),
                    )
                    .await
                })
                .await,
                run(connections, length, async |at| {
                    let (method, body) = match call {
                        Call::Get => ("GET", ""),
                        Call::Mutate => ("POST", MUTATE),
                    };
                    Http::open(
                        &self.bare.address,
                        method,
                        &format!("/{at}/{bytes}"),
                        &self.token,
                        body,
                    )
                    .await
                })
                .await,
            ];
            // The first round opens connections and loads scripts.
            if round > 0 {
                for (results, measured) in results.iter_mut().zip(measured) {
                    results.push(measured);
                }
            }
        }
        let [api, client, route] = results.map(median);
        let call = match call {
            Call::Get => "get",
            Call::Mutate => "mutate",
        };
        let times = |round: &Round| format!("{:.2}, {:.2} ms", round.p50, round.p99);
        println!(
            "| {call} | {name} | {connections} | {:.0} | {:.2} | {:.2} | {} | {} | {} |",
            api.rate,
            api.rate / client.rate,
            api.rate / route.rate,
            times(&api),
            times(&client),
            times(&route),
        );
    }
}

/// What came of one round: requests a second, and times in ms.
#[derive(Clone, Copy)]
struct Round {
    rate: f64,
    p50: f64,
    p99: f64,
}

fn median(mut rounds: Vec<Round>) -> Round {
    rounds.sort_by(|one, other| one.rate.total_cmp(&other.rate));
    rounds[rounds.len() / 2]
}

/// One connection.
trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = ()> + Send;
}

async fn run<C: Caller>(
    connections: usize,
    length: Duration,
    open: impl AsyncFn(usize) -> C,
) -> Round {
    let mut callers = Vec::new();
    for at in 0..connections {
        callers.push(open(at).await);
    }
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < length {
                let sent = Instant::now();
                caller.call().await;
                times.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            times
        });
    }
    let mut times = running.join_all().await.concat();
    let taken = begun.elapsed().as_secs_f64();
    times.sort_by(f64::total_cmp);
    Round {
        rate: times.len() as f64 / taken,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
    }
}

/// A client that does no more than HTTP/1.1 asks for.
struct Http {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
    body: Vec<u8>,
}

impl Http {
    async fn open(address: &str, method: &str, path: &str, token: &str, body: &str) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            stream: BufReader::with_capacity(64 * 1024, stream),
            request: request.into_bytes(),
            body: Vec::new(),
        }
    }
}

impl Caller for Http {
    async fn call(&mut self) {
        self.stream
            .get_mut()
            .write_all(&self.request)
            .await
            .unwrap();
        let (mut line, mut length) = (String::new(), 0);
        self.stream.read_line(&mut line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(&mut line).await.unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await.unwrap();
    }
}

/// A client that calls the functions, and knows beforehand what to write.
struct Functions {
    valkey: MultiplexedConnection,
    call: Call,
    keys: [String; 5],
    events: String,
    /// The document up to its data, which begins with `n`, and after it.
    head: String,
    data: String,
    times: (String, u64),
    revision: u64,
    /// The name of the library that the API has loaded.
    library: String,
}

impl Functions {
    async fn open(port: u16, call: Call, id: &str) -> Self {
        let client = redis::Client::open(format!("redis://127.0.0.1:{port}")).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
        let mut valkey = client
            .get_multiplexed_async_connection_with_config(&config)
            .await
            .unwrap();
        let key = |name: &str| format!("sd1:{{bench:{id}}}:{name}");
        let mut get = redis::cmd("JSON.GET");
        let json: String = get
            .arg(key("document"))
            .query_async(&mut valkey)
            .await
            .unwrap();
        let envelope: Value = serde_json::from_str(&json).unwrap();
        let mut list = redis::cmd("FUNCTION");
        list.arg("LIST")
            .arg("LIBRARYNAME")
            .arg("sluice_documents_*");
        let libraries: Vec<Vec<redis::Value>> = list.query_async(&mut valkey).await.unwrap();
        Self {
            library: redis::from_redis_value(libraries[0][1].clone()).unwrap(),
            valkey,
            call,
            keys: [
                key("document"),
                key("changes"),
                key("write:bench"),
                key("accepted"),
                key("past"),
            ],
            events: key("events"),
            head: format!(r#"{{"service":"bench","id":"{id}","revision":"#),
            data: envelope["data"].to_string(),
            times: (
                envelope["createdAt"].to_string(),
                envelope["updatedAt"].as_u64().unwrap(),
            ),
            revision: envelope["revision"].as_u64().unwrap(),
        }
    }

    async fn mutate(&mut self) {
        // Each write is another one.
        self.keys[2] = format!(
            "{}write:{:032x}",
            self.keys[0].trim_end_matches("document"),
            rand::random::<u128>()
        );
        let call = |name: &str, keys: &[String; 5]| {
            let mut call = redis::cmd("FCALL");
            call.arg(format!("{}_{name}", self.library));
            call.arg(keys.len()).arg(keys);
            call
        };
        let _: Vec<redis::Value> = call("read", &self.keys)
            .arg("")
            .arg(60_000)
            .query_async(&mut self.valkey)
            .await
            .unwrap();
        let next = format!("{}{},\"data\":{}", self.head, self.revision + 1, self.data);
        let (status, ..): (String, u64, u64, String) = call("write", &self.keys)
            .arg(self.revision)
            .arg(next)
            .arg(&self.times.0)
            .arg(self.times.1)
            .arg("}")
            .arg("")
            .arg(&self.events)
            .arg("")
            .arg(60_000)
            .arg("")
            .arg("")
            .arg(0)
            .query_async(&mut self.valkey)
            .await
            .unwrap();
        assert_eq!(status, "written");
        self.revision += 1;
    }
}

impl Caller for Functions {
    async fn call(&mut self) {
        match self.call {
            Call::Get => {
                let mut get = redis::cmd("JSON.GET");
                let _: String = get
                    .arg(&self.keys[0])
                    .query_async(&mut self.valkey)
                    .await
                    .unwrap();
            }
            Call::Mutate => self.mutate().await,
        }
    }
}

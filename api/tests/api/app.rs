//! One API with all that is behind it, for one test.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use apalis::prelude::{WorkerBuilder, WorkerContext};
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::middleware::{Next, from_fn};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use sluice_api::auth::{Auth, AuthConfig, Scope, mint};
use sluice_api::{ApiConfig, AppState, router};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};
use sluice_convex::{Client, ClientConfig, FilesVia, files};
use sluice_jobs::{JobsConfig, run_workers};
use sluice_queue::{
    BACKLOG_LIMIT, Backoff, HandlerResult, QueueConfig, Queues, Running, State, WorkerConfig,
};
use sluice_store::cache::{Cache, CacheConfig, MAX_LIMIT_BYTES};
use sluice_store::documents::DocumentsConfig;
use sluice_test_support::{Contract, TestValkey, assert_jobs_ended};
use sluice_valkey::Valkey;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

pub const SECRET: &str = "a development secret of 32 bytes";
pub const USER: &str = "usr_1";
const CONVEX_KEY: &str = "test|key";

/// Longer than anything takes, shorter than anybody waits for a hanging test.
pub const LONG: Duration = Duration::from_secs(30);

/// How long jobs may take to end after the test: they do where it has more than one thread.
const JOBS_END: Duration = Duration::from_secs(1);

/// What every answer is held against.
static CONTRACT: LazyLock<Contract> =
    LazyLock::new(|| Contract::new(serde_json::to_value(sluice_api::openapi()).unwrap()));

pub struct App {
    pub router: Router,
    pub queues: Queues,
    pub cache: Cache,
    pub convex: Client,
    pub shutdown: CancellationToken,
    /// Requests that came to Convex.
    pub convex_requests: Arc<AtomicUsize>,
    pub valkey: TestValkey,
    left: Mutex<Vec<State>>,
    convex_server: JoinHandle<()>,
    _convex_folder: TempDir,
}

impl App {
    pub async fn start() -> Self {
        Self::start_with(ApiConfig {
            request_wait: LONG,
            ..ApiConfig::default()
        })
        .await
    }

    /// With the JSON module, which documents need.
    pub async fn start_with_json() -> Self {
        Self::start_at(TestValkey::start_with_json(), ApiConfig::default()).await
    }

    /// As [`App::start_with_json`], with queues that take so many jobs.
    pub async fn start_with_backlog(limit: usize) -> Self {
        let config = ApiConfig::default();
        Self::start_at_with_backlog(TestValkey::start_with_json(), config, limit).await
    }

    pub async fn start_with_json_and(config: ApiConfig) -> Self {
        Self::start_at(TestValkey::start_with_json(), config).await
    }

    pub async fn start_with(config: ApiConfig) -> Self {
        Self::start_at(TestValkey::start(), config).await
    }

    async fn start_at(valkey: TestValkey, config: ApiConfig) -> Self {
        Self::start_at_with_backlog(valkey, config, BACKLOG_LIMIT).await
    }

    async fn start_at_with_backlog(
        valkey: TestValkey,
        config: ApiConfig,
        backlog_limit: usize,
    ) -> Self {
        let store = Valkey::at(&valkey.url()).unwrap();
        let queue_config = QueueConfig {
            payload_limit: 3 * config.documents.max_bytes + 64 * 1024,
            backlog_limit,
            ..QueueConfig::default()
        };
        let queues = Queues::connect(&valkey.url(), queue_config).await.unwrap();
        let cache = Cache::new(&store, cache_config()).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let convex_requests = Arc::new(AtomicUsize::new(0));
        let embedded = Embedded::open(EmbeddedConfig::new(folder.path(), CONVEX_KEY)).unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let counted = count(embedded.router(), convex_requests.clone());
        let convex_server =
            tokio::spawn(async move { axum::serve(listener, counted).await.unwrap() });
        let convex = Client::new(ClientConfig {
            retries: 0,
            ..ClientConfig::new(url.parse().unwrap(), CONVEX_KEY.into())
        })
        .unwrap();

        convex
            .add_primary_key_index("files", &["id"])
            .await
            .unwrap();
        convex_requests.store(0, Ordering::SeqCst);

        let shutdown = CancellationToken::new();
        Self {
            router: node(config, &queues, &cache, &convex, &shutdown),
            queues,
            cache,
            convex,
            shutdown,
            convex_requests,
            valkey,
            left: Mutex::default(),
            convex_server,
            _convex_folder: folder,
        }
    }

    /// A second API process beside the first one.
    pub fn another_node(&self) -> Router {
        let config = ApiConfig::default();
        node(
            config,
            &self.queues,
            &self.cache,
            &self.convex,
            &self.shutdown,
        )
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let (method, path) = (request.method().clone(), request.uri().path().to_owned());
        let response = tokio::time::timeout(LONG * 2, self.router.clone().oneshot(request))
            .await
            .expect("no answer")
            .unwrap();
        let (head, body) = response.into_parts();
        let answer = Answer {
            status: head.status,
            headers: head.headers,
            body: to_bytes(body, usize::MAX).await.unwrap(),
        };
        CONTRACT.check(
            Some(method.as_str()),
            &path,
            answer.status.as_u16(),
            answer.header("content-type"),
            &answer.body,
        );
        answer
    }

    pub async fn get(&self, path: &str, scopes: &[Scope]) -> Answer {
        self.send(get(path, &token(scopes))).await
    }

    pub async fn post(&self, endpoint: &str, body: &Value) -> Answer {
        self.send(post(endpoint, body).build()).await
    }

    /// Puts a file of [`USER`] into Convex.
    pub async fn add_file(&self, id: &str) {
        let file = json!({"id": id, "user": USER, "filenameEnc": "n", "dekEnc": "k", "size": 1});
        self.convex
            .import_records("files", &["id"], &[file])
            .await
            .unwrap();
    }

    /// The test leaves jobs in this state behind. All others have to end before it does.
    pub fn leaves_jobs(&self, state: State) {
        self.left.lock().unwrap().push(state);
    }

    pub fn stop_convex(&self) {
        self.convex_server.abort();
    }

    /// Runs real workers until the test is over.
    pub fn work_as_deployed(&self) {
        let config = JobsConfig {
            concurrency: 8,
            losses: 3,
            worker_name: "test".to_owned(),
            host: "test".to_owned(),
            schedules: Vec::new(),
            device_idle: Duration::MAX,
            contents: Default::default(),
            documents: DocumentsConfig::default(),
            drain: Duration::ZERO,
            tail: None,
        };
        let (queues, cache) = (self.queues.clone(), self.cache.clone());
        let files = files(self.convex.clone(), FilesVia::Functions);
        let shutdown = self.shutdown.clone();
        tokio::spawn(run_workers(queues, cache, files, config, shutdown));
    }

    /// Runs the jobs of one queue until the test is over.
    pub fn work<F, Fut>(&self, queue: &str, handler: F)
    where
        F: FnMut(Running) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        let config = WorkerConfig {
            backoff: Backoff::doubling(Duration::from_millis(10), Duration::from_millis(20)),
            poll: Duration::from_millis(200),
            ..WorkerConfig::new("test", 8)
        };
        let context = WorkerContext::new(&config.name);
        let worker = WorkerBuilder::new(&context)
            .backend(self.queues.backend(queue, config))
            .build(handler);
        tokio::spawn(async move { worker.run().await });
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if self.valkey.is_running() && !std::thread::panicking() {
            let left = self.left.lock().unwrap();
            assert_jobs_ended(&self.valkey.url(), &left, JOBS_END);
        }
    }
}

/// The API of one process.
fn node(
    config: ApiConfig,
    queues: &Queues,
    cache: &Cache,
    convex: &Client,
    shutdown: &CancellationToken,
) -> Router {
    let auth = AuthConfig {
        dev_secret: Some(SECRET.into()),
        ..AuthConfig::default()
    };
    router(AppState::new(
        config,
        queues.clone(),
        cache.clone(),
        files(convex.clone(), FilesVia::Functions),
        Auth::new(auth).unwrap(),
        PrometheusBuilder::new().build_recorder().handle(),
        shutdown.clone(),
    ))
}

fn cache_config() -> CacheConfig {
    CacheConfig {
        limit_bytes: MAX_LIMIT_BYTES,
        sync_ttl: Duration::from_secs(3600),
        entry_ttl: Duration::from_secs(3600),
        most_active_limit: 1000,
        activity_half_life: Duration::from_secs(3600),
    }
}

/// Counts requests, and answers them a little late, so that requests at the same time overlap.
fn count(router: Router, requests: Arc<AtomicUsize>) -> Router {
    router.layer(from_fn(move |request: Request<Body>, next: Next| {
        requests.fetch_add(1, Ordering::SeqCst);
        async move {
            tokio::time::sleep(Duration::from_millis(100)).await;
            next.run(request).await
        }
    }))
}

pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("not JSON: {}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    /// The status and the error's code, which every error has beside a message.
    pub fn error(&self) -> (u16, String) {
        let body = self.json();
        assert!(
            body["message"]
                .as_str()
                .is_some_and(|message| !message.is_empty()),
            "{body}"
        );
        (
            self.status.as_u16(),
            body["error"].as_str().unwrap().to_owned(),
        )
    }
}

pub fn token(scopes: &[Scope]) -> String {
    token_of("service", scopes)
}

pub fn token_of(user: &str, scopes: &[Scope]) -> String {
    mint(SECRET, user, scopes, Duration::from_secs(600)).unwrap()
}

/// A token of the user `u` that reads all, and is taken for `seconds` from now on, with the leeway
/// that clocks are given.
pub fn brief_token(seconds: u64) -> String {
    let exp = jsonwebtoken::get_current_timestamp() + seconds - 30;
    let claims = json!({"sub": "u", "scope": "docs:read meta:read", "exp": exp});
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&jsonwebtoken::Header::default(), &claims, &key).unwrap()
}

pub fn get(path: &str, token: &str) -> Request<Body> {
    Request::get(path)
        .header("authorization", format!("Bearer {token}"))
        .body(Body::empty())
        .unwrap()
}

/// A POST to a metadata endpoint, with a token that may.
pub fn post(endpoint: &str, body: &Value) -> Post {
    let request = Request::builder()
        .method(Method::POST)
        .uri(format!("/api/v1/e/meta/{endpoint}"))
        .header(
            "authorization",
            format!("Bearer {}", token(&[Scope::MetaWrite])),
        )
        .header("content-type", "application/json")
        .body(Body::from(body.to_string()))
        .unwrap();
    Post(request)
}

pub struct Post(Request<Body>);

impl Post {
    /// Sets a header, instead of the one that was there.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.0.headers_mut().insert(name, value.parse().unwrap());
        self
    }

    pub fn build(self) -> Request<Body> {
        self.0
    }
}

pub fn sync_body() -> Value {
    json!({"user": USER, "type": "allTwo"})
}

pub fn raw(value: &Value) -> Box<serde_json::value::RawValue> {
    serde_json::value::to_raw_value(value).unwrap()
}

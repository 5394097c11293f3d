//! What every handler can reach.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::http::HeaderValue;
use metrics_exporter_prometheus::PrometheusHandle;
use sluice_convex::files::Files;
use sluice_jobs::filesync::{ContentsConfig, Transfers};
use sluice_jobs::meta::Origin;
use sluice_queue::Queues;
use sluice_store::board::Sessions;
use sluice_store::cache::{Cache, ReadThrough};
use sluice_store::documents::{Documents, DocumentsConfig};
use sluice_store::filesync::Filesync;
use sluice_store::tail::Tail;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::http::streams::{StreamLimits, Streams};
use crate::meta::read::Reads;

/// Settings of the HTTP front.
#[derive(Clone, Debug)]
pub struct ApiConfig {
    /// How long a request waits for its job before it is answered 202 (`SLUICE_REQUEST_WAIT_SECS`).
    pub request_wait: Duration,
    /// Origins whose pages may call the API (CORS), such as `https://app.example.com`
    /// (`SLUICE_CORS_ORIGINS`). None by default.
    pub cors_origins: Vec<HeaderValue>,
    /// How many WebSockets and event streams may be open.
    pub streams: StreamLimits,
    /// Limits of documents.
    pub documents: DocumentsConfig,
    /// Services whose every write to a document is a job that the caller waits for
    /// (`SLUICE_DOCUMENT_QUEUED_SERVICES`).
    pub queued_services: Vec<String>,
    /// Where contents of files are kept, if they are kept anywhere, and what is taken of them.
    pub contents: Option<ContentsConfig>,
}

impl Default for ApiConfig {
    fn default() -> Self {
        Self {
            request_wait: Duration::from_secs(30),
            cors_origins: Vec::new(),
            streams: StreamLimits::default(),
            documents: DocumentsConfig::default(),
            queued_services: Vec::new(),
            contents: None,
        }
    }
}

/// The parts the handlers work with. Every layer and handler of a request has a clone, so it is one
/// shared pointer.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

impl Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// What an [`AppState`] shares.
pub struct Parts {
    pub(crate) config: ApiConfig,
    pub(crate) queues: Queues,
    pub(crate) cache: Cache,
    pub(crate) documents: Documents,
    pub(crate) filesync: Filesync,
    pub(crate) tail: Tail,
    pub(crate) sessions: Sessions,
    pub(crate) transfers: Option<Transfers>,
    pub(crate) files: Arc<dyn Files>,
    pub(crate) auth: Auth,
    pub(crate) metrics: PrometheusHandle,
    pub(crate) entries: ReadThrough<Origin>,
    pub(crate) reads: Reads,
    pub(crate) streams: Streams,
    pub(crate) shutdown: CancellationToken,
    pub(crate) sockets: TaskTracker,
}

impl AppState {
    /// `shutdown` ends what would otherwise outlive a drain: event streams close, and requests that
    /// wait for a job are answered 202 at once.
    pub fn new(
        config: ApiConfig,
        queues: Queues,
        cache: Cache,
        files: Arc<dyn Files>,
        auth: Auth,
        metrics: PrometheusHandle,
        shutdown: CancellationToken,
    ) -> Self {
        let filesync = Filesync::new(cache.valkey());
        let contents = config.contents.clone();
        Self(Arc::new(Parts {
            // All of it is kept where the cache is.
            documents: Documents::new(cache.valkey(), config.documents.clone()),
            transfers: contents.map(|contents| Transfers::new(filesync.clone(), contents)),
            filesync,
            tail: Tail::new(cache.valkey()),
            sessions: Sessions::new(cache.valkey()),
            streams: Streams::new(config.streams),
            entries: ReadThrough::new(cache.clone(), Origin::new(files.clone())),
            reads: Reads::default(),
            config,
            queues,
            cache,
            files,
            auth,
            metrics,
            shutdown,
            sockets: TaskTracker::new(),
        }))
    }

    /// The WebSockets that are open. They say farewell on a shutdown, which the server that they
    /// came through does not wait for.
    pub fn sockets(&self) -> TaskTracker {
        self.sockets.clone()
    }
}

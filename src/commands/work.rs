//! `sluice work`

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use clap::Args;
use metrics_exporter_prometheus::PrometheusHandle;
use sluice_jobs::run_workers;
use sluice_queue::Queues;
use tracing::info;

use crate::app::{App, jobs_config};
use crate::failure::{Context, Failure};
use crate::http::Server;
use crate::settings::{
    CacheSettings, ConvexSettings, DocumentSettings, FilesSettings, HttpSettings, JobSettings,
    PoolSettings, TailSettings, ValkeySettings, listen,
};
use crate::shutdown::Shutdown;
use crate::telemetry;

/// How long a scrape under way may take once the workers have ended.
const GRACE: Duration = Duration::from_millis(300);

/// Workers and the cron schedule
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    SLUICE_VALKEY_URL=redis://127.0.0.1:6379 SLUICE_CONVEX_KEY=… sluice work --concurrency 16 --work-listen 127.0.0.1:9090\n\n\
    Any number of these may run against one Valkey. SIGTERM lets running jobs finish.")]
pub struct Work {
    /// Serve /metrics, /healthz and /readyz on this address; they need no token
    #[arg(
        long,
        value_name = "ADDRESS",
        env = "SLUICE_WORK_LISTEN",
        value_parser = listen,
        help_heading = "Settings",
        visible_alias = "listen"
    )]
    work_listen: Option<SocketAddr>,

    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    jobs: JobSettings,
    #[command(flatten)]
    tail: TailSettings,
    #[command(flatten)]
    documents: DocumentSettings,
    #[command(flatten)]
    valkey: ValkeySettings,
    #[command(flatten)]
    pool: PoolSettings,
    #[command(flatten)]
    convex: ConvexSettings,
    #[command(flatten)]
    files: FilesSettings,
    #[command(flatten)]
    cache: CacheSettings,
}

impl Work {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        self.cache.warn_of_gaps(&self.jobs);
        let metrics = telemetry::start_metrics()?;
        let connect = App::connect(
            self.valkey.address()?,
            self.pool.valkey_pool,
            self.cache.config(),
            self.documents.payload_limit(),
            self.convex.client()?,
            self.files.via(),
        );
        let Some(app) = shutdown.unless_requested(connect).await else {
            return Ok(());
        };
        let app = app?;
        let server = match self.work_listen {
            Some(address) => {
                let listener = Server::bind(address).await?;
                Some(Server::start(
                    listener,
                    probes(metrics, app.queues.clone()),
                    self.http.limits(),
                )?)
            }
            None => None,
        };
        info!(
            concurrency = self.jobs.concurrency,
            metrics = server.as_ref().map(Server::url),
            "the workers run"
        );
        let outcome = run_workers(
            app.queues,
            app.cache,
            app.files,
            jobs_config(&self.jobs, &self.documents, &self.tail, &app.history),
            shutdown.token(),
        )
        .await
        .context("the workers ended");
        if let Some(server) = server {
            server.stop(GRACE).await;
        }
        outcome
    }
}

/// What a supervisor and Prometheus ask a worker.
fn probes(metrics: PrometheusHandle, queues: Queues) -> Router {
    Router::new()
        .route("/healthz", get(async || "ok"))
        .route("/readyz", get(ready).with_state(queues))
        .route("/metrics", get(async move || metrics.render()))
}

/// Whether jobs can be fetched.
async fn ready(State(queues): State<Queues>) -> (StatusCode, &'static str) {
    match queues.ready().await {
        Ok(()) => (StatusCode::OK, "ok"),
        Err(_) => (StatusCode::SERVICE_UNAVAILABLE, "Valkey does not answer"),
    }
}

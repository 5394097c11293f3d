//! `sluice work`

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use tracing::info;

use crate::app::App;
use crate::failure::{Context, Failure};
use crate::http::Server;
use crate::settings::{
    BackendSettings, DocumentSettings, HttpSettings, JobSettings, TailSettings, listen,
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
    backends: BackendSettings,
}

impl Work {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        self.backends.cache.warn_of_gaps(&self.jobs);
        let metrics = telemetry::start_metrics()?;
        let connect = App::connect(&self.backends, &self.documents);
        let Some(app) = shutdown.unless_requested(connect).await else {
            return Ok(());
        };
        let app = app?;
        let server = match self.work_listen {
            Some(address) => {
                let probes = app.probes(metrics);
                let listener = Server::bind(address).await?;
                Some(Server::start(listener, probes, self.http.limits())?)
            }
            None => None,
        };
        info!(
            concurrency = self.jobs.concurrency,
            metrics = server.as_ref().map(Server::url),
            "the workers run"
        );
        let outcome = app
            .run_workers(&self.jobs, &self.documents, &self.tail, &shutdown)
            .await
            .context("the workers ended");
        if let Some(server) = server {
            server.stop(GRACE).await;
        }
        outcome
    }
}

//! `sluice serve`

use clap::Args;
use tracing::info;

use crate::app::{Api, App};
use crate::failure::Failure;
use crate::http::Server;
use crate::settings::{ApiSettings, AuthSettings, BackendSettings, HttpSettings};
use crate::shutdown::{DRAIN, Shutdown};
use crate::telemetry;

/// The API and the board; jobs are run by `sluice work`
#[derive(Args, Debug)]
#[command(after_help = "Example:\n  \
    SLUICE_VALKEY_URL=redis://127.0.0.1:6379 SLUICE_CONVEX_KEY=… SLUICE_JWKS_URL=https://… sluice serve\n\n\
    Any number of these may run against one Valkey.")]
pub struct Serve {
    #[command(flatten)]
    api: ApiSettings,
    #[command(flatten)]
    http: HttpSettings,
    #[command(flatten)]
    auth: AuthSettings,
    #[command(flatten)]
    backends: BackendSettings,
}

impl Serve {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        let Some(api) = shutdown.unless_requested(self.start(&shutdown)).await else {
            return Ok(());
        };
        let api = api?;
        info!(url = api.url(), "the API listens");
        shutdown.requested().await;
        api.stop(DRAIN).await;
        Ok(())
    }

    async fn start(&self, shutdown: &Shutdown) -> Result<Api, Failure> {
        let auth = self.auth.auth_of_one_source()?;
        let listener = Server::bind(self.api.listen).await?;
        let metrics = telemetry::start_metrics()?;
        let app = App::connect(&self.backends, &self.api.documents).await?;
        app.serve_api(listener, &self.api, &self.http, auth, metrics, shutdown)
    }
}

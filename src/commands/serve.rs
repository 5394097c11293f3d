//! `sluice serve`

use clap::Args;
use sluice_api::AppState;
use sluice_store::cache::Cache;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::app::App;
use crate::failure::Failure;
use crate::http::Server;
use crate::settings::{
    ApiSettings, AuthSettings, CacheSettings, ConvexSettings, FilesSettings, HttpSettings,
    PoolSettings, ValkeySettings,
};
use crate::shutdown::{DRAIN, Shutdown, say_farewell};
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

impl Serve {
    pub async fn run(self) -> Result<(), Failure> {
        let shutdown = Shutdown::on_signals()?;
        match shutdown.unless_requested(self.start(&shutdown)).await {
            Some(server) => {
                let (server, sockets, cache) = server?;
                info!(url = server.url(), "the API listens");
                shutdown.requested().await;
                server.stop(DRAIN).await;
                cache.record_accesses().await;
                say_farewell(&sockets).await;
                Ok(())
            }
            None => Ok(()),
        }
    }

    async fn start(&self, shutdown: &Shutdown) -> Result<(Server, TaskTracker, Cache), Failure> {
        let auth = self.auth.auth_of_one_source()?;
        let listener = Server::bind(self.api.listen).await?;
        let metrics = telemetry::start_metrics()?;
        let app = App::connect(
            self.valkey.address()?,
            self.pool.valkey_pool,
            self.cache.config(),
            self.api.documents.payload_limit(),
            self.convex.client()?,
            self.files.via(),
        )
        .await?;
        let cache = app.cache.clone();
        let state = AppState::new(
            self.api.config(),
            app.queues,
            app.cache,
            app.files,
            auth,
            metrics,
            shutdown.token(),
        );
        let sockets = state.sockets();
        let server = Server::start(listener, sluice_api::router(state), self.http.limits())?;
        Ok((server, sockets, cache))
    }
}

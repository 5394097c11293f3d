//! The API of a process: its start and its end.

use std::time::Duration;

use metrics_exporter_prometheus::PrometheusHandle;
use sluice_api::AppState;
use sluice_api::auth::Auth;
use sluice_store::cache::Cache;
use tokio::net::TcpListener;
use tokio_util::task::TaskTracker;

use super::App;
use crate::failure::Failure;
use crate::http::Server;
use crate::settings::{ApiSettings, HttpSettings};
use crate::shutdown::{Shutdown, say_farewell};

/// The API while it is served.
pub struct Api {
    server: Server,
    sockets: TaskTracker,
    cache: Cache,
}

impl App {
    /// Serves the API and the board.
    pub fn serve_api(
        &self,
        listener: TcpListener,
        api: &ApiSettings,
        http: &HttpSettings,
        auth: Auth,
        metrics: PrometheusHandle,
        shutdown: &Shutdown,
    ) -> Result<Api, Failure> {
        let state = AppState::new(
            api.config(self.objects.clone()),
            self.queues.clone(),
            self.cache.clone(),
            self.files.clone(),
            auth,
            metrics,
            shutdown.token(),
        );
        let sockets = state.sockets();
        Ok(Api {
            server: Server::start(listener, sluice_api::router(state), http.limits())?,
            sockets,
            cache: self.cache.clone(),
        })
    }
}

impl Api {
    /// `http://<address>`.
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// Takes no more connections from here on; requests under way go on.
    pub fn stop_accepting(&self) {
        self.server.stop_accepting();
    }

    /// Ends: requests under way have `limit` to finish, then accesses that were gathered are
    /// recorded, and WebSockets are closed with a farewell.
    pub async fn stop(self, limit: Duration) {
        self.server.stop(limit).await;
        self.cache.record_accesses().await;
        say_farewell(&self.sockets).await;
    }
}

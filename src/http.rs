//! Listening and serving.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::failure::{Context, Failure, chain};
use crate::shutdown;

/// A server that runs in a task of its own.
pub struct Server {
    address: SocketAddr,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    /// Listens on `address`; port 0 takes a free one.
    pub async fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
        TcpListener::bind(address)
            .await
            .context(format!("cannot listen on {address}"))
            .map_err(|failure| failure.hint("port 0 takes a free one"))
    }

    /// Serves `router` until [`Server::stop`].
    pub fn start(listener: TcpListener, router: Router) -> Result<Self, Failure> {
        let address = listener
            .local_addr()
            .context("cannot tell the address listened on")?;
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        // Small answers and events have to leave at once.
        let listener = listener.tap_io(|stream| {
            if let Err(error) = stream.set_nodelay(true) {
                warn!(error = chain(&error), "cannot set TCP_NODELAY");
            }
        });
        let task = tokio::spawn(async move {
            let server =
                axum::serve(listener, router).with_graceful_shutdown(stopped.cancelled_owned());
            if let Err(error) = server.await {
                error!(%address, error = chain(&error), "a server ended");
            }
        });
        Ok(Self {
            address,
            stop,
            task,
        })
    }

    /// `http://<address>`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no more connections from here on; requests under way go on.
    pub fn stop_accepting(&self) {
        self.stop.cancel();
    }

    /// Ends: requests under way have `limit` to finish, then they are cut off (streams of events never end by
    /// themselves).
    pub async fn stop(self, limit: Duration) {
        self.stop.cancel();
        shutdown::finish(self.task, limit).await;
    }
}

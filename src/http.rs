//! Listening and serving: the one way that all servers of a process are served.
//!
//! A server speaks HTTP/1.1. It takes so many connections and no more ([`gate`]), ends those on
//! which nothing moves ([`connection`]), and refuses requests that do not name one host ([`host`]).

mod connection;
mod gate;
mod host;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::serve::{Listener, ListenerExt};
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metrics::{counter, describe_counter, describe_gauge, gauge};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt as _;
use tower_http::timeout::TimeoutBody;
use tracing::{debug, warn};

use crate::failure::{Context, Failure, chain};
use crate::shutdown;
use connection::{Activity, Connection};
use gate::Gate;

/// Describes the metrics of servers and begins them at 0.
pub fn describe_metrics() {
    describe_gauge!("sluice_http_connections", "Connections open");
    gauge!("sluice_http_connections").increment(0.0);
    describe_counter!(
        "sluice_http_connections_refused_total",
        "Connections refused, by the limit that was reached: all or address"
    );
    for limit in ["all", "address"] {
        counter!("sluice_http_connections_refused_total", "limit" => limit).increment(0);
    }
}

/// How many connections there may be, and how long each may do nothing.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections of one server at a time.
    pub connections: usize,
    /// Connections from one address at a time, if that is limited.
    pub connections_per_address: Option<usize>,
    /// How long the head of a request may take, from its first byte on; that of the first one from
    /// the connection on.
    pub head: Duration,
    /// How long nothing may move: between two requests, in a request's body, in an answer that the
    /// client does not read.
    pub idle: Duration,
}

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
    pub fn start(listener: TcpListener, router: Router, limits: Limits) -> Result<Self, Failure> {
        let address = listener
            .local_addr()
            .context("cannot tell the address listened on")?;
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve(listener, router, limits, stop.clone()));
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

    /// Ends: requests under way have `limit` to finish, then they are cut off (streams of events
    /// never end by themselves).
    pub async fn stop(self, limit: Duration) {
        self.stop.cancel();
        shutdown::finish(self.task, limit).await;
    }
}

/// Serves until `stop`, and then until the last request that is under way has been answered.
async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let gate = Arc::new(Gate::new(&limits));
    let connections = TaskTracker::new();
    // Small answers and events have to leave at once.
    let mut listener = listener.tap_io(|stream| {
        if let Err(error) = stream.set_nodelay(true) {
            warn!(error = chain(&error), "cannot set TCP_NODELAY");
        }
    });
    loop {
        // Errors of accepting are waited out in there.
        let (stream, peer) = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => break,
        };
        match gate.admit(peer.ip()) {
            Ok(place) => {
                let connection = Connection::new(stream, place, &limits);
                let (router, stop) = (router.clone(), stop.clone());
                connections.spawn(serve_connection(connection, router, limits, stop));
            }
            Err(refusal) => refusal.tell(&stream),
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

async fn serve_connection(
    connection: Connection,
    router: Router,
    limits: Limits,
    stop: CancellationToken,
) {
    let activity = connection.activity();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, activity) = (router.clone(), activity.clone());
        async move { Ok::<_, Infallible>(answer(request, router, activity, limits).await) }
    });
    let serving = http1::Builder::new()
        .serve_connection(TokioIo::new(connection), service)
        .with_upgrades();
    let mut serving = std::pin::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        debug!(error = chain(&error), "a connection ended");
    }
}

async fn answer(
    request: Request<Incoming>,
    router: Router,
    activity: Arc<Activity>,
    limits: Limits,
) -> Response {
    let busy = activity.begin();
    if let Some(refusal) = host::check(&request) {
        return busy.until_sent(refusal);
    }
    let request = request.map(|body| match body.is_end_stream() {
        true => Body::empty(),
        false => Body::new(TimeoutBody::new(limits.idle, body)),
    });
    match router.oneshot(request).await {
        Ok(response) => busy.until_sent(response),
        Err(never) => match never {},
    }
}

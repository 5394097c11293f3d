//! Probes and metrics: `/healthz`, `/readyz`, `/metrics`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::{FromRef, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use sluice_convex::Files;
use sluice_queue::{QueueError, Queues};
use sluice_store::tail::Tail;
use sluice_valkey::Fault;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::answers::Readiness;
use crate::http::caller::Admin;
use crate::openapi::TokenErrors;

/// How long a part may take to answer a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// What a process stands on, as its probes ask.
#[derive(Clone)]
pub struct Probes {
    /// Valkey, with its notifications.
    pub queues: Queues,
    /// Convex.
    pub files: Arc<dyn Files>,
    /// What follows Convex, in whichever process.
    pub tail: Tail,
    /// Whether the process is not ready without Convex. Workers are: they try again.
    pub needs_convex: bool,
}

impl FromRef<AppState> for Probes {
    fn from_ref(state: &AppState) -> Self {
        Self {
            queues: state.queues.clone(),
            files: state.files.clone(),
            tail: state.tail.clone(),
            needs_convex: true,
        }
    }
}

/// `/healthz` and `/readyz`, of every process.
fn probe_routes<S>() -> OpenApiRouter<S>
where
    S: Clone + Send + Sync + 'static,
    Probes: FromRef<S>,
{
    OpenApiRouter::new()
        .routes(routes!(healthz))
        .routes(routes!(readyz))
}

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    probe_routes().routes(routes!(render_metrics))
}

/// The probes and metrics of a process without an API, such as one of workers. They need no token.
pub fn probes(probes: Probes, metrics: PrometheusHandle) -> Router {
    let (routes, _) = probe_routes::<Probes>().split_for_parts();
    routes
        .route("/metrics", get(async move || text(&metrics)))
        .with_state(probes)
}

/// Is the process up
#[utoipa::path(
    get,
    path = "/healthz",
    operation_id = "getHealth",
    tag = "operation",
    responses((status = 200, description = "It is", body = String)),
)]
async fn healthz() -> &'static str {
    "ok\n"
}

/// Are the parts behind the API up
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "operation",
    responses(
        (status = 200, description = "All are", body = Readiness),
        (status = 503, description = "Some are not", body = Readiness),
    ),
)]
async fn readyz(State(probes): State<Probes>) -> (StatusCode, Json<Readiness>) {
    let (valkey, convex, tail) = tokio::join!(
        probe("Valkey", probes.queues.ready()),
        probe("Convex", probes.files.now()),
        tokio::time::timeout(PROBE_TIMEOUT, probes.tail.status()),
    );
    let ready = valkey.is_ok() && (convex.is_ok() || !probes.needs_convex);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let body = Readiness {
        status: word(ready),
        valkey: match valkey {
            Ok(()) => word(true),
            Err(error) => {
                let fault = error.as_ref().and_then(QueueError::fault);
                fault.unwrap_or(Fault::Outage).name().to_owned()
            }
        },
        convex: word(convex.is_ok()),
        tail: match tail {
            Ok(Ok(tail)) => tail.state().as_str().to_owned(),
            _ => word(false),
        },
    };
    (status, Json(body))
}

fn word(up: bool) -> String {
    if up { "ok" } else { "unavailable" }.to_owned()
}

/// Asks a part. The error is none when it did not answer in time.
async fn probe<T, E: std::fmt::Display>(
    part: &'static str,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<(), Option<E>> {
    match tokio::time::timeout(PROBE_TIMEOUT, answer).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => {
            tracing::warn!(part, %error, "not ready");
            Err(Some(error))
        }
        Err(_) => {
            tracing::warn!(part, "not ready: no answer within {PROBE_TIMEOUT:?}");
            Err(None)
        }
    }
}

/// Metrics in Prometheus' text format
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "operation",
    responses((status = 200, description = "All metrics of this process", body = String), TokenErrors),
    security(("token" = ["admin"])),
)]
async fn render_metrics(State(state): State<AppState>, _admin: Admin) -> impl IntoResponse {
    text(&state.metrics)
}

fn text(metrics: &PrometheusHandle) -> impl IntoResponse + use<> {
    let headers = [(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (headers, metrics.render())
}

//! `/api/v1/workers`: the processes that run jobs, and the signals to them.

use axum::Json;
use axum::extract::State;
use sluice_queue::{ProcessView, Signal};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::{Acts, Looks};
use crate::answers::operators::{Acted, Worker};
use crate::http::query::Segments;
use crate::openapi::{ActionErrors, LookErrors, schemas};
use crate::{ApiError, AppState};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(signal))
}

/// List the processes that run jobs
#[utoipa::path(
    get,
    path = "/api/v1/workers",
    operation_id = "listWorkers",
    tag = "operators",
    responses((status = 200, description = "Those seen in the last 30 s, by id", body = Vec<Worker>), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn list(
    _looks: Looks,
    State(state): State<AppState>,
) -> Result<Json<Vec<ProcessView>>, ApiError> {
    Ok(Json(state.queues.processes().await?))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct SignalPath {
    /// The worker's id.
    #[param(max_length = 256)]
    worker: String,
    /// What it is asked to do.
    #[param(value_type = schemas::WorkerSignal)]
    signal: String,
}

/// The signal of that name.
pub(crate) fn read_signal(name: &str) -> Option<Signal> {
    let all = [Signal::Quiet, Signal::Resume, Signal::Stop];
    all.into_iter().find(|it| it.as_str() == name)
}

/// Ask a worker to be quiet, to go on, or to end
///
/// A quiet worker fetches no jobs; those that it runs go on. One that is to stop ends as on SIGTERM.
/// It hears of it within a second or two.
#[utoipa::path(
    post,
    path = "/api/v1/workers/{worker}/{signal}",
    operation_id = "signalWorker",
    tag = "operators",
    params(SignalPath),
    responses((status = 200, description = "It is asked", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn signal(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segments((worker, signal)): Segments<(String, String)>,
) -> Result<Json<Acted>, ApiError> {
    let signal = read_signal(&signal).ok_or(ApiError::NotFound)?;
    let done = actions::signal(&state, &actor, &worker, signal).await?;
    Ok(Json(done.into()))
}

//! `/api/v1/queues`: their numbers, what they did of late, and how they are steered.

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use sluice_queue::{History, Limits, Period, QueueStats, Rate, Rates};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::actions;
use super::{Acts, Looks};
use crate::answers::operators::{Acted, QueueHistory, QueueNumbers};
use crate::http::body::Body;
use crate::http::query::{Params, Segment, Segments};
use crate::openapi::{ActionErrors, LookErrors, schemas};
use crate::{ApiError, AppState};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(history))
        .routes(routes!(pause))
        .routes(routes!(limit))
        .routes(routes!(rate))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct QueuePath {
    /// The queue's name.
    #[param(value_type = schemas::QueueName)]
    queue: String,
}

/// List queues with their numbers
#[utoipa::path(
    get,
    path = "/api/v1/queues",
    operation_id = "listQueues",
    tag = "operators",
    responses((status = 200, description = "All queues, by name", body = Vec<QueueNumbers>), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn list(
    _looks: Looks,
    State(state): State<AppState>,
) -> Result<Json<Vec<QueueStats>>, ApiError> {
    Ok(Json(state.queues.queues().await?))
}

/// Look at a queue
#[utoipa::path(
    get,
    path = "/api/v1/queues/{queue}",
    operation_id = "getQueue",
    tag = "operators",
    params(QueuePath),
    responses((status = 200, description = "Its numbers", body = QueueNumbers), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn show(
    _looks: Looks,
    State(state): State<AppState>,
    Segment(queue): Segment,
) -> Result<Json<QueueStats>, ApiError> {
    Ok(Json(actions::find_queue(&state, &queue).await?))
}

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct HistoryParams {
    /// The last `hour` by minutes, or the last `day` by tens of minutes.
    #[serde(default)]
    #[param(value_type = Option<schemas::HistoryPeriod>, nullable = false)]
    period: Period,
}

/// See what a queue did of late
///
/// How many runs began and ended, how, and how long that took, by minutes of the last hour or tens
/// of minutes of the last day. Times are kept by powers of two, so quantiles are that exact.
#[utoipa::path(
    get,
    path = "/api/v1/queues/{queue}/history",
    operation_id = "getQueueHistory",
    tag = "operators",
    params(QueuePath, HistoryParams),
    responses((status = 200, description = "Slices of time, the oldest first", body = QueueHistory), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn history(
    _looks: Looks,
    State(state): State<AppState>,
    Segment(queue): Segment,
    Params(params): Params<HistoryParams>,
) -> Result<Json<History>, ApiError> {
    actions::find_queue(&state, &queue).await?;
    Ok(Json(state.queues.history(&queue, params.period).await?))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct PausePath {
    /// The queue's name.
    #[param(value_type = schemas::QueueName)]
    queue: String,
    /// `pause` or `resume`.
    #[param(value_type = schemas::PauseOrResume)]
    what: String,
}

/// Pause a queue, or let it go on
///
/// A paused queue gives out no jobs; those that run go on.
#[utoipa::path(
    post,
    path = "/api/v1/queues/{queue}/{what}",
    operation_id = "pauseQueue",
    tag = "operators",
    params(PausePath),
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn pause(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segments((queue, what)): Segments<(String, String)>,
) -> Result<Json<Acted>, ApiError> {
    let paused = pauses(&what).ok_or(ApiError::NotFound)?;
    let done = actions::pause(&state, &actor, &queue, paused).await?;
    Ok(Json(done.into()))
}

/// Whether the word pauses something, or lets it go on; none when it is another one.
pub(crate) fn pauses(word: &str) -> Option<bool> {
    match word {
        "pause" => Some(true),
        "resume" => Some(false),
        _ => None,
    }
}

/// How many jobs of a queue run at a time, over all workers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct LimitsBody {
    /// All jobs together; null: no limit.
    #[schema(minimum = 1, required = false)]
    all: Option<u32>,
    /// Those of each user; null: no limit.
    #[schema(minimum = 1, required = false)]
    per_user: Option<u32>,
}

/// Bound how many jobs of a queue run at a time
#[utoipa::path(
    put,
    path = "/api/v1/queues/{queue}/limits",
    operation_id = "limitQueue",
    tag = "operators",
    params(QueuePath),
    request_body = LimitsBody,
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn limit(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(queue): Segment,
    Body(LimitsBody { all, per_user }): Body<LimitsBody>,
) -> Result<Json<Acted>, ApiError> {
    for (name, limit) in [("all", all), ("per_user", per_user)] {
        if limit == Some(0) {
            let rule = format!("{name}: must be a whole number from 1");
            return Err(ApiError::InvalidRequest(rule));
        }
    }
    let limits = Limits { all, per_user };
    let done = actions::limit(&state, &actor, &queue, limits).await?;
    Ok(Json(done.into()))
}

/// How fast jobs of a queue start, over all workers.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct RatesBody {
    /// All jobs together; null: no rate.
    #[schema(value_type = Option<schemas::QueueRate>, required = false)]
    all: Option<Rate>,
    /// Those of each user; null: no rate.
    #[schema(value_type = Option<schemas::QueueRate>, required = false)]
    per_user: Option<Rate>,
}

/// Bound how many jobs of a queue start in a time
#[utoipa::path(
    put,
    path = "/api/v1/queues/{queue}/rates",
    operation_id = "rateQueue",
    tag = "operators",
    params(QueuePath),
    request_body = RatesBody,
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn rate(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(queue): Segment,
    Body(RatesBody { all, per_user }): Body<RatesBody>,
) -> Result<Json<Acted>, ApiError> {
    let rates = Rates { all, per_user };
    let done = actions::rate(&state, &actor, &queue, rates).await?;
    Ok(Json(done.into()))
}

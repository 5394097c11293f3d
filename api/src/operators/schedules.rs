//! `/api/v1/schedules`: what happens by the clock.

use axum::Json;
use axum::extract::State;
use sluice_jobs::schedules::{self, Schedule, ScheduleView};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::queues::pauses;
use super::{Acts, Looks, actions};
use crate::answers::Accepted;
use crate::answers::operators::Acted;
use crate::http::body::Body;
use crate::http::query::{Segment, Segments};
use crate::openapi::{ActionErrors, LookErrors, schemas};
use crate::{ApiError, AppState};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(put, remove))
        .routes(routes!(run))
        .routes(routes!(pause))
}

/// List schedules
#[utoipa::path(
    get,
    path = "/api/v1/schedules",
    operation_id = "listSchedules",
    tag = "operators",
    responses((status = 200, description = "All schedules, by name", body = Vec<ScheduleView>), LookErrors),
    security(("token" = ["admin"]), ("token" = ["admin:read"])),
)]
async fn list(
    _looks: Looks,
    State(state): State<AppState>,
) -> Result<Json<Vec<ScheduleView>>, ApiError> {
    Ok(Json(schedules::all(&state.queues).await?))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct SchedulePath {
    /// The schedule's name.
    #[param(value_type = schemas::QueueName)]
    schedule: String,
}

/// Add a schedule, or change one
///
/// One that comes from the configuration cannot be changed, but paused. A tick is fired once,
/// however many workers there are.
#[utoipa::path(
    put,
    path = "/api/v1/schedules/{schedule}",
    operation_id = "putSchedule",
    tag = "operators",
    params(SchedulePath),
    request_body = Schedule,
    responses((status = 200, description = "It is kept", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn put(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(name): Segment,
    Body(schedule): Body<Schedule>,
) -> Result<Json<Acted>, ApiError> {
    let done = actions::put_schedule(&state, &actor, &name, schedule).await?;
    Ok(Json(done.into()))
}

/// Take a schedule away
#[utoipa::path(
    delete,
    path = "/api/v1/schedules/{schedule}",
    operation_id = "deleteSchedule",
    tag = "operators",
    params(SchedulePath),
    responses((status = 200, description = "It is gone", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn remove(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(name): Segment,
) -> Result<Json<Acted>, ApiError> {
    let done = actions::remove_schedule(&state, &actor, &name).await?;
    Ok(Json(done.into()))
}

/// Run a schedule's job now
///
/// The answer names its job, which is one that has not ended, if there is one.
#[utoipa::path(
    post,
    path = "/api/v1/schedules/{schedule}/run",
    operation_id = "runSchedule",
    tag = "operators",
    params(SchedulePath),
    responses((status = 200, description = "The job", body = Accepted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn run(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segment(name): Segment,
) -> Result<Json<Accepted>, ApiError> {
    let job = actions::run_schedule(&state, &actor, &name).await?;
    Ok(Json(Accepted {
        job: job.to_string(),
    }))
}

#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct PausePath {
    /// The schedule's name.
    #[param(value_type = schemas::QueueName)]
    schedule: String,
    /// `pause` or `resume`.
    #[param(value_type = schemas::PauseOrResume)]
    what: String,
}

/// Pause a schedule, or let it go on
///
/// Ticks while it is paused are left out.
#[utoipa::path(
    post,
    path = "/api/v1/schedules/{schedule}/{what}",
    operation_id = "pauseSchedule",
    tag = "operators",
    params(PausePath),
    responses((status = 200, description = "It was done", body = Acted), ActionErrors),
    security(("token" = ["admin"])),
)]
async fn pause(
    Acts(actor): Acts,
    State(state): State<AppState>,
    Segments((name, what)): Segments<(String, String)>,
) -> Result<Json<Acted>, ApiError> {
    let paused = pauses(&what).ok_or(ApiError::NotFound)?;
    let done = actions::pause_schedule(&state, &actor, &name, paused).await?;
    Ok(Json(done.into()))
}

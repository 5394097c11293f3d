//! `GET /api/v1/jobs/{id}`: the state of a job, once or as it changes.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt as _, stream};
use sluice_queue::{JobId, JobView, State as JobState};
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::answers::Job;
use crate::auth::{Caller, Scope};
use crate::http::query::Segment;
use crate::http::sse;
use crate::openapi::{ReadErrors, StreamErrors, schemas};
use crate::{ApiError, AppState};

/// How long clients wait before they come again after a stream broke off.
const COME_AGAIN: Duration = Duration::from_secs(2);

/// The last event of a job that is over, and its id.
const END: &str = "end";

pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(job))
}

/// The path to a job.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a path, which is read by name")]
struct JobPath {
    /// The job's id, from a 202.
    #[param(value_type = schemas::JobId)]
    id: String,
}

/// Look at a job, or watch it
///
/// With `Accept: text/event-stream` the answer is a stream of server-sent events, first the present
/// state: `state` when the job's state has changed, `progress` when anything else has. The data of
/// each is the whole job as JSON. After the final state comes `end`; a client that comes again with
/// its id as `Last-Event-ID` gets 204, on which an `EventSource` stops. The stream also ends with
/// the token's time. A job may be seen by its user, and with any of `meta:read`, `meta:write`,
/// `admin` and `admin:read`; a write to a document by its user, with `docs:read`, `admin` and `admin:read`, and, when it is
/// nobody's, by those who may write documents of that service.
#[utoipa::path(
    get,
    path = "/api/v1/jobs/{id}",
    operation_id = "getJob",
    tag = "jobs",
    params(JobPath),
    responses(
        (status = 200, description = "The job", content((Job = "application/json"), (String = "text/event-stream"))),
        (status = 204, description = "The job is over, and the caller has seen the end of its events"),
        ReadErrors,
        StreamErrors,
    ),
    security(
        ("token" = []), ("token" = ["meta:read"]), ("token" = ["meta:write"]), ("token" = ["docs:read"]),
        ("token" = ["docs:write"]), ("token" = ["admin"]), ("token" = ["admin:read"]),
    ),
)]
async fn job(
    State(state): State<AppState>,
    caller: Caller,
    Segment(id): Segment,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let job = find(&state, &id).await?;
    check_viewer(&caller, &job)?;
    if sse::wanted(&headers) {
        if job.state.is_final() && sse::last_event_id(&headers).is_some_and(|id| id == END) {
            // An `EventSource` that has seen the end comes again, unless it hears this.
            return Ok(StatusCode::NO_CONTENT.into_response());
        }
        let open = state.streams.open_for(caller.subject())?;
        let events = events(&state, &job.id);
        return Ok(sse::respond(&state, open, caller.expired(), events));
    }
    Ok(Json(job).into_response())
}

/// A job's user may see it, and who has one of the scopes that its label names.
fn check_viewer(caller: &Caller, job: &JobView) -> Result<(), ApiError> {
    let label = job.label.as_deref().unwrap_or_default();
    let mut viewers = label.split(' ').filter_map(|scope| scope.parse().ok());
    let is_own = caller.subject().is_some() && caller.subject() == job.user.as_deref();
    let is_operator = caller.has(&Scope::Admin) || caller.has(&Scope::AdminRead);
    if is_own || is_operator || viewers.clone().any(|scope| caller.has(&scope)) {
        return Ok(());
    }
    Err(ApiError::Forbidden(viewers.next().unwrap_or(Scope::Admin)))
}

/// The job of that id. An id that cannot be one's is as unknown as any other.
pub(crate) async fn find(state: &AppState, id: &str) -> Result<JobView, ApiError> {
    let id = JobId::parse(id).map_err(|_| ApiError::NotFound)?;
    state.queues.get(&id).await?.ok_or(ApiError::NotFound)
}

/// The job now and whenever it changes, until it is over, or cannot be watched any more.
pub(crate) fn changes(state: &AppState, id: &JobId) -> impl Stream<Item = JobView> + Send + use<> {
    state
        .queues
        .watch(id)
        .map(|job| {
            job.inspect_err(|error| tracing::warn!(%error, "a job can no longer be watched"))
        })
        // Ending the stream without a final state tells the client to come again.
        .take_while(|job| std::future::ready(job.is_ok()))
        .filter_map(async |job| job.ok())
}

fn events(state: &AppState, id: &JobId) -> impl Stream<Item = Event> + Send + use<> {
    let mut last: Option<JobState> = None;
    changes(state, id).flat_map(move |job| {
        let before = last.replace(job.state);
        let name = if before == Some(job.state) {
            "progress"
        } else {
            "state"
        };
        let event = Event::default().event(name).id(job.state.as_str());
        let event = match before {
            None => event.retry(COME_AGAIN),
            Some(_) => event,
        };
        let event = event.json_data(&job).ok();
        let is_over = job.state.is_final();
        // With the job once more, for clients that take what comes last.
        let end = is_over.then(|| Event::default().event(END).id(END).json_data(&job).ok());
        let end = end.flatten();
        stream::iter(event.into_iter().chain(end))
    })
}

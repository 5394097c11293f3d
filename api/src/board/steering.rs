//! What operators do to a whole queue: pause it, bound what runs and starts, retry, cancel and
//! delete many jobs.

use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use serde::{Deserialize, Serialize};
use sluice_queue::{JobFilter, Limits, QueueError, QueueStats, Rate, Rates, State as JobState};

use super::session::{Operator, SameOrigin};
use crate::http::query::Segment;
use crate::{ApiError, AppState};

/// The queue's numbers; a name that no queue has is not found.
pub(super) async fn find(state: &AppState, name: &str) -> Result<QueueStats, ApiError> {
    let queues = state.queues.queues().await?;
    let found = queues.into_iter().find(|queue| queue.name == name);
    found.ok_or(ApiError::NotFound)
}

pub(super) async fn pause(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
) -> Result<Response, ApiError> {
    let queue = find(&state, &name).await?.name;
    state.queues.pause(&queue).await?;
    tracing::info!(queue, "an operator paused a queue");
    Ok(back(&queue))
}

pub(super) async fn resume(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
) -> Result<Response, ApiError> {
    let queue = find(&state, &name).await?.name;
    state.queues.resume(&queue).await?;
    tracing::info!(queue, "an operator resumed a queue");
    Ok(back(&queue))
}

/// As the form sends it: an empty text is no limit.
#[derive(Deserialize)]
pub(super) struct LimitsForm {
    all: String,
    per_user: String,
}

pub(super) async fn limit(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
    form: Result<Form<LimitsForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let (queue, form) = (find(&state, &name).await?.name, complete(form)?);
    let limits = Limits {
        all: optional("all", &form.all)?,
        per_user: optional("per_user", &form.per_user)?,
    };
    state.queues.set_limits(&queue, limits).await?;
    tracing::info!(queue, ?limits, "an operator set the limits of a queue");
    Ok(back(&queue))
}

/// As the form sends it: a kind of "none" is no rate.
#[derive(Deserialize)]
pub(super) struct RatesForm {
    all_kind: String,
    all_starts: String,
    all_seconds: String,
    all_burst: String,
    user_kind: String,
    user_starts: String,
    user_seconds: String,
    user_burst: String,
}

pub(super) async fn rate(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
    form: Result<Form<RatesForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let (queue, form) = (find(&state, &name).await?.name, complete(form)?);
    let rates = Rates {
        all: chosen(
            &form.all_kind,
            &form.all_starts,
            &form.all_seconds,
            &form.all_burst,
        )?,
        per_user: chosen(
            &form.user_kind,
            &form.user_starts,
            &form.user_seconds,
            &form.user_burst,
        )?,
    };
    match state.queues.set_rates(&queue, rates).await {
        Err(error @ QueueError::Invalid { .. }) => {
            return Err(ApiError::InvalidRequest(error.to_string()));
        }
        done => done?,
    }
    tracing::info!(queue, ?rates, "an operator set the rates of a queue");
    Ok(back(&queue))
}

/// What is done to many jobs.
#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Operation {
    Retry,
    Cancel,
    Delete,
}

#[derive(Deserialize)]
pub(super) struct BulkForm {
    operation: Operation,
    state: JobState,
    user: String,
    error: String,
}

pub(super) async fn bulk(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
    form: Result<Form<BulkForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let (queue, form) = (find(&state, &name).await?.name, complete(form)?);
    let given = |text: String| Some(text).filter(|it| !it.is_empty());
    let filter = JobFilter {
        user: given(form.user),
        error: given(form.error),
        ..JobFilter::new(&queue, form.state)
    };
    let mut taken = 0;
    let (done, name) = match form.operation {
        Operation::Retry => {
            let retried = state.queues.retry_all(&filter).await?;
            taken = retried.key_taken;
            (retried.done, "retry")
        }
        Operation::Cancel => (state.queues.cancel_all(&filter).await?, "cancel"),
        Operation::Delete => (state.queues.delete_all(&filter).await?, "delete"),
    };
    tracing::info!(?filter, done, taken, "an operator asked to {name} jobs");
    let shown = form.state.as_str();
    let mut address = format!("/board/queues/{queue}?state={shown}&did={name}&count={done}");
    if taken > 0 {
        address += &format!("&taken={taken}");
    }
    Ok(Redirect::to(&address).into_response())
}

fn back(queue: &str) -> Response {
    Redirect::to(&format!("/board/queues/{queue}")).into_response()
}

fn complete<T>(form: Result<Form<T>, FormRejection>) -> Result<T, ApiError> {
    let Form(form) = form.map_err(|error| ApiError::InvalidRequest(error.body_text()))?;
    Ok(form)
}

fn optional(field: &str, text: &str) -> Result<Option<u32>, ApiError> {
    match text.trim() {
        "" => Ok(None),
        text => number(field, text).map(Some),
    }
}

fn number(field: &str, text: &str) -> Result<u32, ApiError> {
    let number = text.trim().parse().ok().filter(|&it| it > 0);
    number
        .ok_or_else(|| ApiError::InvalidRequest(format!("{field}: must be a whole number from 1")))
}

fn chosen(kind: &str, starts: &str, seconds: &str, burst: &str) -> Result<Option<Rate>, ApiError> {
    if kind == "none" {
        return Ok(None);
    }
    let starts = number("starts", starts)?;
    let per = seconds.trim().parse().ok();
    let per = per.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let per = per.ok_or_else(|| {
        ApiError::InvalidRequest("seconds: must be a number of seconds".to_owned())
    })?;
    Ok(Some(match kind {
        "fixed" => Rate::fixed_window(starts, per),
        "sliding" => Rate::sliding_window(starts, per),
        "bucket" => Rate::token_bucket(starts, per, number("burst", burst)?),
        _ => {
            return Err(ApiError::InvalidRequest(
                "kind: must be none, fixed, sliding or bucket".to_owned(),
            ));
        }
    }))
}

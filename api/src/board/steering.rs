//! What operators do to a whole queue: pause it, bound what runs and starts, retry, cancel and delete many jobs.

use std::time::Duration;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_queue::{JobFilter, Limits, QueueError, QueueStats, Rate, Rates, State as JobState};

use super::session::{Operator, SameOrigin};
use super::{PageError, moment};
use crate::query::Segment;
use crate::{ApiError, AppState};

/// The queue's numbers; a name that no queue has is not found.
pub(super) async fn find(state: &AppState, name: &str) -> Result<QueueStats, PageError> {
    let queues = state.queues.queues().await?;
    let found = queues.into_iter().find(|queue| queue.name == name);
    Ok(found.ok_or(ApiError::NotFound)?)
}

pub(super) async fn pause(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    name: Result<Segment, ApiError>,
) -> Result<Response, PageError> {
    let queue = find(&state, &name?.0).await?.name;
    state.queues.pause(&queue).await?;
    tracing::info!(queue, "an operator paused a queue");
    Ok(back(&queue))
}

pub(super) async fn resume(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    name: Result<Segment, ApiError>,
) -> Result<Response, PageError> {
    let queue = find(&state, &name?.0).await?.name;
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
    name: Result<Segment, ApiError>,
    form: Result<Form<LimitsForm>, FormRejection>,
) -> Result<Response, PageError> {
    let (queue, form) = (find(&state, &name?.0).await?.name, complete(form)?);
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
    name: Result<Segment, ApiError>,
    form: Result<Form<RatesForm>, FormRejection>,
) -> Result<Response, PageError> {
    let (queue, form) = (find(&state, &name?.0).await?.name, complete(form)?);
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
            return Err(ApiError::InvalidRequest(error.to_string()).into());
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
    name: Result<Segment, ApiError>,
    form: Result<Form<BulkForm>, FormRejection>,
) -> Result<Response, PageError> {
    let (queue, form) = (find(&state, &name?.0).await?.name, complete(form)?);
    let given = |text: String| Some(text).filter(|it| !it.is_empty());
    let filter = JobFilter {
        user: given(form.user),
        error: given(form.error),
        ..JobFilter::new(&queue, form.state)
    };
    let (done, name) = match form.operation {
        Operation::Retry => (state.queues.retry_all(&filter).await?, "retry"),
        Operation::Cancel => (state.queues.cancel_all(&filter).await?, "cancel"),
        Operation::Delete => (state.queues.delete_all(&filter).await?, "delete"),
    };
    tracing::info!(?filter, done, "an operator asked to {name} jobs");
    let shown = form.state.as_str();
    let address = format!("/board/queues/{queue}?state={shown}&did={name}&count={done}");
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

/// How the queue is steered now.
pub(super) fn settings(queue: &QueueStats) -> Markup {
    let facts = [
        ("Limit", queue.limit.map(|it| it.to_string())),
        ("Limit per user", queue.user_limit.map(|it| it.to_string())),
        ("Rate", queue.rate.map(|it| it.to_string())),
        ("Rate per user", queue.user_rate.map(|it| it.to_string())),
    ];
    html! {
        @if let Some(at) = queue.paused_at {
            p.problem role="status" { "Paused since " (moment(at)) "." }
        }
        @if facts.iter().any(|(_, set)| set.is_some()) {
            dl.facts { @for (name, set) in &facts { @if let Some(set) = set { div { dt { (name) } dd { (set) } } } } }
        }
    }
}

/// What was done to many jobs.
pub(super) fn done(operation: Operation, count: u64) -> Markup {
    let what = match operation {
        Operation::Retry => "put back in line",
        Operation::Cancel => "cancelled, or asked to stop",
        Operation::Delete => "deleted",
    };
    html! { p role="status" { (count) " jobs were " (what) "." } }
}

/// The forms below a queue. They stand outside of what is kept fresh, so that nothing that is typed gets lost.
pub(super) fn forms(queue: &QueueStats, shown: JobState) -> Markup {
    let address = format!("/board/queues/{}", queue.name);
    html! {
        details.card {
            summary { "Steer this queue" }
            div.actions {
                form method="post" action={ (address) "/pause" } { button #pause type="submit" { "Pause" } }
                form method="post" action={ (address) "/resume" } { button #resume type="submit" { "Resume" } }
            }
            (bulk_form(&address, shown))
            (limits_form(&address, queue))
            (rates_form(&address, queue))
        }
    }
}

fn bulk_form(address: &str, shown: JobState) -> Markup {
    html! {
        h2 { "Many jobs" }
        form.fields #bulk method="post" action={ (address) "/jobs" } {
            (select("operation", "What to do", &["retry", "cancel", "delete"], "retry"))
            (select("state", "To jobs that are", &JobState::ALL.map(JobState::as_str), shown.as_str()))
            (field("user", "Of the user (any)", ""))
            (field("error", "With an error that contains (any)", ""))
            button type="submit" { "Do it" }
        }
    }
}

fn limits_form(address: &str, queue: &QueueStats) -> Markup {
    let text = |limit: Option<u64>| limit.map_or_else(String::new, |it| it.to_string());
    html! {
        h2 { "Limits" }
        form.fields #limits method="post" action={ (address) "/limits" } {
            (field("all", "Jobs that run at a time (no limit)", &text(queue.limit)))
            (field("per_user", "Of each user (no limit)", &text(queue.user_limit)))
            button type="submit" { "Set limits" }
        }
    }
}

fn rates_form(address: &str, queue: &QueueStats) -> Markup {
    html! {
        h2 { "Rates" }
        form.fields #rates method="post" action={ (address) "/rates" } {
            (rate_fields("all", "All jobs", queue.rate))
            (rate_fields("user", "Each user's jobs", queue.user_rate))
            button type="submit" { "Set rates" }
        }
    }
}

fn rate_fields(name: &str, legend: &str, rate: Option<Rate>) -> Markup {
    let set = serde_json::to_value(rate).unwrap_or_default();
    let text = |value: &Value| value.as_u64().map_or_else(String::new, |it| it.to_string());
    let seconds = set["per_ms"]
        .as_f64()
        .map_or_else(String::new, |ms| (ms / 1000.0).to_string());
    let kinds = ["none", "fixed", "sliding", "bucket"];
    let id = |field: &str| format!("{name}_{field}");
    html! {
        fieldset.fields {
            legend { (legend) }
            (select(&id("kind"), "Window", &kinds, set["kind"].as_str().unwrap_or("none")))
            (field(&id("starts"), "Starts", &text(&set["starts"])))
            (field(&id("seconds"), "In seconds", &seconds))
            (field(&id("burst"), "At once (bucket)", &text(&set["burst"])))
        }
    }
}

fn field(name: &str, label: &str, value: &str) -> Markup {
    html! { div { label for=(name) { (label) } input id=(name) name=(name) value=(value) autocomplete="off"; } }
}

fn select(name: &str, label: &str, choices: &[&str], chosen: &str) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for choice in choices { option value=(choice) selected[*choice == chosen] { (choice) } }
            }
        }
    }
}

//! One job: how far it is, what went wrong, and the buttons to retry and cancel it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{StreamExt as _, stream};
use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_queue::{BatchView, JobView, QueueError, Retried, State as JobState};

use super::session::{Operator, SameOrigin};
use super::{Live, attempts, moment, operator_page, span};
use crate::http::query::Segment;
use crate::http::sse;
use crate::{ApiError, AppState, jobs};

pub(super) async fn show(
    _operator: Operator,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let job = jobs::find(&state, &id).await?;
    let batch = batch_of(&state, &job).await?;
    Ok(job_page(&job, batch.as_ref(), None))
}

/// The changing part of the page, as server-sent events, until the job is over; then one named
/// `end`. With the session it ends, too, and the browser, which comes again, is sent to the login
/// page.
pub(super) async fn live(
    operator: Operator,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let id = jobs::find(&state, &id).await?.id;
    let open = state.streams.open_for(operator.subject())?;
    let gone = operator.gone(&state);
    let changes = jobs::changes(&state, &id).then({
        let state = state.clone();
        move |job| {
            let state = state.clone();
            async move {
                // Without the batch the job is shown all the same.
                let batch = batch_of(&state, &job).await.unwrap_or_default();
                (job, batch)
            }
        }
    });
    let fragments = changes.flat_map(|(job, batch)| {
        let fragment = Event::default()
            .json_data(content(&job, batch.as_ref(), None).into_string())
            .ok();
        let end = job
            .state
            .is_final()
            .then(|| Event::default().event("end").data("over"));
        stream::iter(fragment.into_iter().chain(end))
    });
    Ok(sse::respond(&state, open, gone, fragments))
}

pub(super) async fn retry(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let job = jobs::find(&state, &id).await?;
    let retried = state.queues.retry(&job.id).await?;
    tracing::info!(job = %job.id, ?retried, "an operator asked to retry");
    let why_not = match retried {
        Retried::Done => "",
        Retried::NothingToRetry => {
            "This job is not over, or ended well: there is nothing to retry."
        }
        Retried::KeyTaken => {
            "Another job has the unique key of this one by now: it does, or did, the same work."
        }
        Retried::Follows => {
            "This job was cancelled because one before it did not complete: retry that one, and this one follows."
        }
    };
    Ok(acted(&job, retried == Retried::Done, why_not))
}

pub(super) async fn cancel(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let job = jobs::find(&state, &id).await?;
    let done = state.queues.cancel(&job.id).await?;
    tracing::info!(job = %job.id, done, "an operator asked to cancel");
    Ok(acted(
        &job,
        done,
        "This job is already over: there is nothing to cancel.",
    ))
}

/// Afterwards there is no page of the job to go back to, but one of its queue.
pub(super) async fn delete(
    _same_origin: SameOrigin,
    _operator: Operator,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let job = jobs::find(&state, &id).await?;
    let done = state.queues.delete(&job.id).await?;
    tracing::info!(job = %job.id, done, "an operator asked to delete");
    if done {
        return Ok(Redirect::to(&format!("/board/queues/{}", job.queue)).into_response());
    }
    Ok(acted(&job, done, "This job runs: cancel it first."))
}

/// The batch that the job is counted in, or whose callback it is.
async fn batch_of(state: &AppState, job: &JobView) -> Result<Option<BatchView>, QueueError> {
    match job.batch.as_ref().or(job.callback_of.as_ref()) {
        Some(batch) => state.queues.batch(batch).await,
        None => Ok(None),
    }
}

/// Back to the job's page, which a reload then only shows; or the page with why nothing was done.
fn acted(job: &JobView, done: bool, otherwise: &str) -> Response {
    if done {
        Redirect::to(&address(job)).into_response()
    } else {
        (StatusCode::CONFLICT, job_page(job, None, Some(otherwise))).into_response()
    }
}

fn address(job: &JobView) -> String {
    format!("/board/jobs/{}", job.id)
}

fn job_page(job: &JobView, batch: Option<&BatchView>, notice: Option<&str>) -> Response {
    let (own, queue) = (address(job), format!("/board/queues/{}", job.queue));
    let trail = [(&*queue, &*job.queue), (&*own, job.id.as_str())];
    let title = format!("Job {}", job.id);
    operator_page(
        &title,
        &trail,
        Live::Streamed(&format!("{own}/live"), content(job, batch, notice)),
        html! {},
    )
}

fn content(job: &JobView, batch: Option<&BatchView>, notice: Option<&str>) -> Markup {
    html! {
        @if let Some(notice) = notice { p.problem role="alert" { (notice) } }
        @if let Some(damage) = &job.damage { p.problem role="alert" { "This job is damaged: " (damage) ". It can be deleted." } }
        div.row {
            p { span.state.(job.state.as_str()) { (job.state.as_str()) } @if job.cancel_requested { " " span.quiet { "asked to stop" } } }
            (actions(job))
        }
        @if job.progress.is_some() || job.state == JobState::Running { (progress(job)) }
        (facts(job))
        @if let Some(batch) = batch { (batch_facts(job, batch)) }
        (errors(job))
        (log(job))
        @if let Some(error) = &job.error { h2 { "Refused" } (json(error)) }
        @if let Some(result) = &job.result { h2 { "Result" } (json(result)) }
        @if let Some(input) = &job.input { h2 { "Input" } (json(input)) }
        h2 { "Payload" }
        (json(&job.payload))
    }
}

fn actions(job: &JobView) -> Markup {
    let ended_well = job.state == JobState::Completed && job.error.is_none();
    let retriable = job.state.is_final() && !ended_well;
    html! {
        div.actions {
            @if retriable {
                form method="post" action={ (address(job)) "/retry" } { button #retry type="submit" { "Retry" } }
            }
            @if !job.state.is_final() {
                form method="post" action={ (address(job)) "/cancel" } {
                    button #cancel type="submit" disabled[job.cancel_requested] { "Cancel" }
                }
            }
            @if job.state != JobState::Running {
                form method="post" action={ (address(job)) "/delete" } { button #delete type="submit" { "Delete" } }
            }
        }
    }
}

/// A bar, and what the job itself says: its numbers by name.
fn progress(job: &JobView) -> Markup {
    let said: Value = job.progress.as_deref().map(value).unwrap_or_default();
    let share = said["entries"]
        .as_f64()
        .zip(said["total"].as_f64())
        .filter(|&(_, total)| total > 0.0);
    html! {
        section.card {
            label for="progress" { "Progress" }
            @if let Some((entries, total)) = share {
                progress #progress value=(entries) max=(total) {}
            } @else if job.state == JobState::Completed {
                progress #progress value="1" max="1" {}
            } @else if job.state == JobState::Running {
                progress #progress {}
            } @else {
                progress #progress value="0" max="1" {}
            }
            @if let Some(fields) = said.as_object() {
                dl.facts { @for (name, number) in fields { div { dt { (name) } dd { (plain(number)) } } } }
            }
        }
    }
}

fn facts(job: &JobView) -> Markup {
    let ran = job
        .started_at
        .zip(job.finished_at)
        .map(|(from, to)| to.saturating_sub(from));
    html! {
        dl.facts {
            div { dt { "User" } dd { (job.user.as_deref().unwrap_or("–")) } }
            div { dt { "Attempts" } dd { (attempts(job)) } }
            @if job.losses > 0 { div { dt { "Workers lost in a row" } dd { (job.losses) } } }
            div { dt { "Priority" } dd { (job.priority) } }
            div { dt { "Enqueued" } dd { (moment(job.created_at)) } }
            @if !job.state.is_final() && job.state != JobState::Running { div { dt { "Due" } dd { (moment(job.run_at)) } } }
            @if let Some(at) = job.started_at { div { dt { "Last begun" } dd { (moment(at)) } } }
            @if let Some(at) = job.finished_at { div { dt { "Over" } dd { (moment(at)) } } }
            @if let Some(ms) = ran { div { dt { "Took" } dd { @if ms < 1000 { (ms) " ms" } @else { (span(ms)) } } } }
            @if let Some(worker) = &job.worker { div { dt { "Worker" } dd { (worker) } } }
            @for (name, other) in [("After", &job.previous), ("Before", &job.next)] {
                @if let Some(other) = other { div { dt { (name) } dd { a href={ "/board/jobs/" (other) } { code { (other) } } } } }
            }
            @if let Some(group) = &job.group { div { dt { "Group" } dd { (group) } } }
            @if let Some(trace) = &job.trace { div { dt { "Trace" } dd { code { (trace) } } } }
        }
    }
}

/// How far the batch is.
fn batch_facts(job: &JobView, batch: &BatchView) -> Markup {
    let counts = &batch.counts;
    let callbacks = [
        ("Called back at the end", &batch.on_end),
        ("Called back on success", &batch.on_success),
    ];
    html! {
        h2 { @if job.batch.is_some() { "Batch" } @else { "Called back by the batch" } " " code { (batch.id) } }
        dl.facts {
            div { dt { "Jobs" } dd { (counts.jobs) @if batch.closed_at.is_none() { " so far" } } }
            div { dt { "Not over" } dd { (counts.pending()) } }
            div { dt { "Completed" } dd { (counts.completed) } }
            div { dt { "Refused" } dd { (counts.refused) } }
            div { dt { "Dead" } dd { (counts.dead) } }
            div { dt { "Cancelled" } dd { (counts.cancelled) } }
            @for (name, callback) in callbacks {
                @if let Some(callback) = callback {
                    div { dt { (name) } dd { a href={ "/board/jobs/" (callback) } { code { (callback) } } } }
                }
            }
        }
    }
}

fn log(job: &JobView) -> Markup {
    html! {
        @if !job.log.is_empty() {
            h2 { "Log" }
            div.scroll { table {
                caption { "Oldest first" @if job.log_dropped > 0 { "; " (job.log_dropped) " lines before them are not kept" } }
                thead { tr { th scope="col" { "When" } th.number scope="col" { "Attempt" } th scope="col" { "Level" } th scope="col" { "What" } } }
                tbody { @for line in &job.log {
                    tr { td { (moment(line.at)) } td.number { (line.attempt) } td { (line.level.as_str()) } td.text { (line.text) } }
                } }
            } }
        }
    }
}

fn errors(job: &JobView) -> Markup {
    html! {
        @if !job.errors.is_empty() {
            h2 { "Errors" }
            div.scroll { table {
                caption { "Failed attempts, last first" }
                thead { tr { th.number scope="col" { "Attempt" } th scope="col" { "When" } th scope="col" { "What" } } }
                tbody { @for error in job.errors.iter().rev() {
                    tr { td.number { (error.attempt) } td { (moment(error.at)) } td { (error.message) } }
                } }
            } }
        }
    }
}

fn json(raw: &RawValue) -> Markup {
    let pretty = serde_json::to_string_pretty(&value(raw));
    html! { pre tabindex="0" { code { (pretty.as_deref().unwrap_or(raw.get())) } } }
}

fn value(raw: &RawValue) -> Value {
    serde_json::from_str(raw.get()).unwrap_or_default()
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Number(number) if number.is_u64() => grouped(&number.to_string()),
        other => other.to_string(),
    }
}

/// Digits in groups of three, with narrow spaces between.
fn grouped(digits: &str) -> String {
    let mut grouped = String::with_capacity(digits.len() * 2);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push('\u{202f}');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (digits, expected) in [
            ("0", "0"),
            ("999", "999"),
            ("1000", "1\u{202f}000"),
            ("40700000", "40\u{202f}700\u{202f}000"),
        ] {
            assert_eq!(grouped(digits), expected);
        }
    }
}

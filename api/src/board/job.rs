//! One job: how far it is, what went wrong, what it belongs to, and the buttons that act on it.

use axum::extract::State;
use axum::response::Response;
use axum::response::sse::Event;
use futures_util::{StreamExt as _, stream};
use maud::{Markup, html};
use serde_json::Value;
use serde_json::value::RawValue;
use sluice_queue::{BatchView, JobView, Operation, QueueError, State as JobState};

use super::acts;
use super::parts::{ago, attempts, grouped, lasting, moment, relative, state as state_tag, took};
use super::session::{Operator, Viewer};
use super::{Live, Page};
use crate::http::query::Segment;
use crate::http::sse;
use crate::{ApiError, AppState, jobs};

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
    Segment(id): Segment,
) -> Result<Response, ApiError> {
    let job = jobs::find(&state, &id).await?;
    let batch = batch_of(&state, &job).await?;
    let address = format!("/board/jobs/{}", job.id);
    let live = format!("{address}/live");
    let of_queue = format!("/board/jobs?queue={}", job.queue);
    Ok(Page {
        title: job.id.as_str(),
        section: "/board/jobs",
        trail: &[("/board/jobs", "Jobs"), (&of_queue, &job.queue)],
        above: html! {},
        live: Live::Streamed(&live),
        content: content(&job, batch.as_ref(), viewer.may_act()),
        below: html! {},
    }
    .respond(&viewer))
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
    let (gone, may_act) = (operator.gone(&state), operator.may_act());
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
    let fragments = changes.flat_map(move |(job, batch)| {
        let fragment = Event::default()
            .json_data(content(&job, batch.as_ref(), may_act).into_string())
            .ok();
        let end = job
            .state
            .is_final()
            .then(|| Event::default().event("end").data("over"));
        stream::iter(fragment.into_iter().chain(end))
    });
    Ok(sse::respond(&state, open, gone, fragments))
}

/// The batch that the job is counted in, or whose callback it is.
async fn batch_of(state: &AppState, job: &JobView) -> Result<Option<BatchView>, QueueError> {
    match job.batch.as_ref().or(job.callback_of.as_ref()) {
        Some(batch) => state.queues.batch(batch).await,
        None => Ok(None),
    }
}

fn content(job: &JobView, batch: Option<&BatchView>, may_act: bool) -> Markup {
    html! {
        @if let Some(damage) = &job.damage { p.problem role="alert" { "This job is damaged: " (damage) ". It can be deleted." } }
        div.row.lead {
            p { (state_tag(job.state)) " " (since(job)) @if job.cancel_requested { " " span.tag.warm { "asked to stop" } } }
            @if may_act { (actions(job)) }
        }
        @if let Some(error) = job.errors.last().filter(|_| matches!(job.state, JobState::Dead | JobState::Retrying)) {
            p.problem.text { (error.message) }
        }
        @if job.progress.is_some() || job.state == JobState::Running { (progress(job)) }
        (facts(job))
        @if job.previous.is_some() || job.next.is_some() { (chain(job)) }
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

/// For how long it is in its state, or when it is due.
fn since(job: &JobView) -> Markup {
    match job.state {
        JobState::Running => html! { @if let Some(at) = job.started_at { "for " (lasting(at)) } },
        JobState::Scheduled | JobState::Retrying => html! { "due " (relative(job.run_at)) },
        JobState::Available => html! { "for " (lasting(job.run_at)) },
        JobState::Waiting => html! { "for " (lasting(job.created_at)) },
        _ => html! { @if let Some(at) = job.finished_at { (ago(at)) } },
    }
}

fn actions(job: &JobView) -> Markup {
    let ended_well = job.state == JobState::Completed && job.error.is_none();
    let address = |operation: Operation| format!("/board/jobs/{}/{}", job.id, operation.as_str());
    html! {
        div.actions {
            @for operation in Operation::ALL {
                @if operation.is_for(job.state) && !(operation == Operation::Retry && ended_well) {
                    @let name = operation.as_str();
                    @if operation == Operation::Cancel && job.cancel_requested {
                        span.button.plain.off aria-disabled="true" { "Cancel" }
                    } @else {
                        a.button #(name) .danger[operation == Operation::Delete] .plain[operation == Operation::Cancel]
                            href=(address(operation)) { (acts::label(operation)) }
                    }
                }
            }
        }
    }
}

/// A bar with how much is done of how much, for how long, and what else the job says by name.
fn progress(job: &JobView) -> Markup {
    let said: Value = job.progress.as_deref().map(value).unwrap_or_default();
    let done = said["entries"].as_f64();
    let total = said["total"].as_f64().filter(|&it| it > 0.0);
    // As many as there were the last time.
    let expected = said["expected"].as_f64().filter(|&it| it > 0.0);
    let most = total.or(expected.filter(|&it| done.is_none_or(|done| done <= it)));
    let share = done
        .zip(most)
        .map(|(done, most)| (done / most * 100.0).floor().min(100.0));
    let is_over = job.state == JobState::Completed;
    html! {
        section.card.progress aria-labelledby="progress-name" {
            div.row {
                h2 #progress-name { "Progress" }
                p.quiet {
                    @if let Some(done) = done { strong { (grouped(done as u64)) } }
                    @if let Some(total) = total { " of " (grouped(total as u64)) }
                    @else if let (Some(expected), false) = (expected, is_over) { " of about " (grouped(expected as u64)) }
                    @if let (Some(share), false) = (share, is_over) { " (" (share) "\u{a0}%)" }
                    @match (job.started_at, job.finished_at) {
                        (Some(from), Some(to)) => { " in " (took(to.saturating_sub(from))) },
                        (Some(from), None) if job.state == JobState::Running => { " in " (lasting(from)) },
                        _ => {},
                    }
                }
            }
            @if is_over {
                progress #progress aria-labelledby="progress-name" value="1" max="1" {}
            } @else if let Some((done, most)) = done.zip(most) {
                progress #progress aria-labelledby="progress-name" value=(done) max=(most) {}
            } @else if job.state == JobState::Running {
                progress #progress aria-labelledby="progress-name" {}
            } @else {
                progress #progress aria-labelledby="progress-name" value="0" max="1" {}
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
    let is_due = !job.state.is_final() && job.state != JobState::Running;
    html! {
        dl.facts.card {
            div { dt { "Queue" } dd { a href={ "/board/queues/" (job.queue) } { (job.queue) } } }
            @if let Some(user) = &job.user {
                div { dt { "User" } dd { a href={ "/board/jobs?" (query("user", user)) } { (user) } } }
            }
            div { dt { "Attempts" } dd { (attempts(job)) } }
            @if job.losses > 0 { div { dt { "Workers lost in a row" } dd { (job.losses) } } }
            div { dt { "Priority" } dd { (job.priority) } }
            div { dt { "Enqueued" } dd { (moment(job.created_at)) } }
            @if is_due { div { dt { "Due" } dd { (moment(job.run_at)) } } }
            @if let Some(at) = job.started_at { div { dt { "Last begun" } dd { (moment(at)) } } }
            @if let Some(at) = job.finished_at { div { dt { (ended(job.state)) } dd { (moment(at)) } } }
            @if let Some(ms) = ran { div { dt { "Took" } dd { (took(ms)) } } }
            @if let Some(worker) = &job.worker { div { dt { "Worker" } dd { (worker) } } }
            @if let Some(group) = &job.group { div { dt { "Group" } dd { (group) } } }
            @if let Some(key) = &job.unique_key { div { dt { "Unique key" } dd { (key) } } }
            @if let Some(trace) = &job.trace { div { dt { "Trace" } dd { code { (trace) } } } }
        }
    }
}

fn query(name: &str, value: &str) -> String {
    form_urlencoded::Serializer::new(String::new())
        .append_pair(name, value)
        .finish()
}

fn ended(state: JobState) -> &'static str {
    match state {
        JobState::Dead => "Died",
        JobState::Cancelled => "Cancelled",
        _ => "Completed",
    }
}

/// What is before it and behind it.
fn chain(job: &JobView) -> Markup {
    html! {
        h2 { "Chain" }
        ol.chain {
            @if let Some(previous) = &job.previous { li { a href={ "/board/jobs/" (previous) } { code { (previous) } } } }
            li aria-current="true" { "this job" }
            @if let Some(next) = &job.next { li { a href={ "/board/jobs/" (next) } { code { (next) } } } }
        }
    }
}

/// How far the batch is.
fn batch_facts(job: &JobView, batch: &BatchView) -> Markup {
    let counts = &batch.counts;
    let over = counts.jobs.saturating_sub(counts.pending());
    let callbacks = [
        ("Called back at the end", &batch.on_end),
        ("Called back on success", &batch.on_success),
    ];
    html! {
        section.card {
            div.row {
                h2 #batch-name { @if job.batch.is_some() { "Batch" } @else { "Called back by the batch" } " " code { (batch.id) } }
                p.quiet { strong { (grouped(over)) } " of " (grouped(counts.jobs)) " over" }
            }
            progress aria-labelledby="batch-name" value=(over) max=(counts.jobs.max(1)) {}
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
}

/// The attempts that failed, with when, and how long after the one before.
fn errors(job: &JobView) -> Markup {
    let before = [job.created_at]
        .into_iter()
        .chain(job.errors.iter().map(|it| it.at));
    let errors: Vec<_> = job.errors.iter().zip(before).collect();
    html! {
        @if !errors.is_empty() {
            h2 { "Attempts that failed" }
            table.stack {
                caption.hidden { "Failed attempts, last first" }
                thead { tr {
                    th.number scope="col" { "Attempt" }
                    th scope="col" { "When" }
                    th scope="col" { "After" }
                    th scope="col" { "Error" }
                } }
                tbody { @for (error, before) in errors.iter().rev() {
                    tr {
                        td.number data-label="Attempt" { (error.attempt) }
                        td data-label="When" { (moment(error.at)) }
                        td data-label="After" { (took(error.at.saturating_sub(*before))) }
                        td.text data-label="Error" { (error.message) }
                    }
                } }
            }
        }
    }
}

fn log(job: &JobView) -> Markup {
    html! {
        @if !job.log.is_empty() {
            h2 { "Log" }
            table.stack {
                caption { "Oldest first" @if job.log_dropped > 0 { "; " (job.log_dropped) " lines before them are not kept" } }
                thead { tr { th scope="col" { "When" } th.number scope="col" { "Attempt" } th scope="col" { "Level" } th scope="col" { "What" } } }
                tbody { @for line in &job.log {
                    tr {
                        td data-label="When" { (moment(line.at)) }
                        td.number data-label="Attempt" { (line.attempt) }
                        td data-label="Level" { (line.level.as_str()) }
                        td.text data-label="What" { (line.text) }
                    }
                } }
            }
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
        Value::Number(number) => number.as_u64().map_or_else(|| number.to_string(), grouped),
        other => other.to_string(),
    }
}

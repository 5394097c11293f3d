//! All queues, and the jobs of one by state.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sluice_queue::{JobView, QueueStats, State as JobState};
use sluice_store::tail::{TailState, TailStatus};

use super::session::Operator;
use super::steering::{self, Operation};
use super::{Live, attempts, forms, moment, operator_page, span};
use crate::http::query::Segment;
use crate::{ApiError, AppState};

/// Far beyond any list, and within what Valkey counts in.
const MAX_OFFSET: u64 = 1 << 40;
/// Jobs on a page.
const PAGE_SIZE: u64 = 25;

pub(super) async fn overview(
    _operator: Operator,
    State(state): State<AppState>,
) -> Result<Response, ApiError> {
    let queues = state.queues.queues().await?;
    let tail = state.tail.status().await.map_err(ApiError::from)?;
    let content = html! {
        @if queues.is_empty() {
            p.quiet { "No job has been enqueued yet." }
        } @else {
            div.scroll { table {
                caption { "Jobs by queue and state" }
                thead { tr {
                    th scope="col" { "Queue" }
                    @for state in JobState::ALL { th.number scope="col" { (state.as_str()) } }
                    th.number scope="col" { "workers" }
                    th.number scope="col" { "oldest waits" }
                } }
                tbody { @for queue in &queues { (row(queue)) } }
            } }
        }
        (following(&tail))
    };
    Ok(operator_page(
        "Queues",
        &[],
        Live::Refetched(content),
        html! {},
    ))
}

/// Who follows Convex, and how that goes.
fn following(tail: &TailStatus) -> Markup {
    let is_well = matches!(tail.state(), TailState::Ok | TailState::Loading);
    html! {
        h2 { "Changes in Convex" }
        section.card {
            dl.facts {
                div {
                    dt { "State" }
                    dd { span.problem[!is_well].completed[is_well] { (tail.state().as_str()) } }
                }
                div {
                    dt { "Followed by" }
                    dd { @if let Some(worker) = &tail.worker { code { (worker) } } @else { span.quiet { "nobody" } } }
                }
                div {
                    dt { "Taken in until" }
                    dd { @if let Some(ms) = tail.settled_until_ms() { (moment(ms)) } @else { span.quiet { "–" } } }
                }
                @if let Some(health) = &tail.health {
                    div { dt { "Behind by" } dd { (span((health.lag_secs * 1000.0) as u64)) } }
                }
                @if let Some(walk) = &tail.progress.walk {
                    div { dt { "Walking over all files" } dd { (walk.purpose.as_str()) } }
                }
            }
            @if let Some(trouble) = tail.health.as_ref().and_then(|health| health.trouble.as_ref()) {
                p.problem role="alert" { (trouble) }
            }
        }
    }
}

fn row(queue: &QueueStats) -> Markup {
    html! {
        tr {
            th scope="row" {
                a href={ "/board/queues/" (queue.name) } { (queue.name) }
                @if let Some(damage) = &queue.damage { " " span.problem title=(damage) { "damaged" } }
                @if queue.paused_at.is_some() { " " span.problem { "paused" } }
            }
            @for state in JobState::ALL {
                @let count = queue.depth(state);
                td.number {
                    @if count == 0 { span.quiet { "0" } }
                    @else { a.state.(state.as_str()) href=(list_address(&queue.name, state, 0)) { (count) } }
                }
            }
            td.number { @if queue.workers == 0 { span.problem { "none" } } @else { (queue.workers) } }
            td.number { @if let Some(ms) = queue.oldest_waiting_ms { (span(ms)) } @else { span.quiet { "–" } } }
        }
    }
}

fn list_address(queue: &str, state: JobState, page: u64) -> String {
    format!("/board/queues/{queue}?state={}&page={page}", state.as_str())
}

/// Which jobs of the queue. Without a state, the first that has any is shown.
#[derive(Deserialize)]
pub(super) struct Selection {
    state: Option<JobState>,
    #[serde(default)]
    page: u64,
    /// What was done to how many jobs before this page.
    did: Option<Operation>,
    count: Option<u64>,
    /// How many were left alone because another job has their unique key.
    #[serde(default)]
    taken: u64,
}

pub(super) async fn queue(
    _operator: Operator,
    State(state): State<AppState>,
    Segment(name): Segment,
    selection: Result<Query<Selection>, QueryRejection>,
) -> Result<Response, ApiError> {
    let stats = &steering::find(&state, &name).await?;
    let Query(selection) = selection.map_err(|_| ApiError::NotFound)?;
    let shown = selection.state.unwrap_or_else(|| most_pressing(stats));
    let offset = selection
        .page
        .checked_mul(PAGE_SIZE)
        .filter(|&offset| offset <= MAX_OFFSET)
        .ok_or(ApiError::NotFound)?;
    let jobs = match state.queues.list(&name, shown, offset, PAGE_SIZE).await {
        Err(error) if error.is_damage() => Err(error.to_string()),
        jobs => Ok(jobs?),
    };
    let content = html! {
        @if let Some(damage) = &stats.damage { p.problem role="alert" { "This queue's numbers cannot be read: " (damage) "." } }
        @if let Some((operation, count)) = selection.did.zip(selection.count) { (forms::done(operation, count, selection.taken)) }
        (forms::settings(stats))
        nav.tabs aria-label="States" {
            @for state in JobState::ALL {
                a href=(list_address(&name, state, 0)) aria-current=[(state == shown).then_some("page")] {
                    (state.as_str()) " " span.quiet { (stats.depth(state)) }
                }
            }
        }
        @match &jobs {
            Ok(jobs) => (table(jobs, shown)),
            Err(damage) => p.problem role="alert" { "These jobs cannot be listed: " (damage) "." },
        }
        nav.pages aria-label="Pages" {
            @if selection.page > 0 { a rel="prev" href=(list_address(&name, shown, selection.page - 1)) { "Newer" } }
            @if offset + PAGE_SIZE < stats.depth(shown) {
                a rel="next" href=(list_address(&name, shown, selection.page + 1)) { "Older" }
            }
        }
    };
    let address = format!("/board/queues/{name}");
    let below = forms::all(stats, shown);
    Ok(operator_page(
        &name,
        &[(&address, &name)],
        Live::Refetched(content),
        below,
    ))
}

/// What an operator most likely came for.
fn most_pressing(stats: &QueueStats) -> JobState {
    use JobState::{Available, Cancelled, Completed, Dead, Retrying, Running, Scheduled};
    [
        Running, Retrying, Dead, Available, Scheduled, Completed, Cancelled,
    ]
    .into_iter()
    .find(|&state| stats.depth(state) > 0)
    .unwrap_or(Running)
}

fn table(jobs: &[JobView], shown: JobState) -> Markup {
    html! {
        @if jobs.is_empty() {
            p.quiet { "No job is " (shown.as_str()) "." }
        } @else {
            div.scroll { table {
                caption { "Jobs that are " (shown.as_str()) ", newest first" }
                thead { tr {
                    th scope="col" { "Job" }
                    th scope="col" { "User" }
                    th.number scope="col" { "Attempts" }
                    th scope="col" { "Enqueued" }
                    th scope="col" { "Last error" }
                } }
                tbody { @for job in jobs {
                    tr {
                        th scope="row" { a href={ "/board/jobs/" (job.id) } { code { (job.id) } } }
                        td { @if let Some(user) = &job.user { (user) } @else { span.quiet { "–" } } }
                        td.number { (attempts(job)) }
                        td { (moment(job.created_at)) }
                        td.clip { @if let Some(damage) = &job.damage { span.problem { "damaged: " (damage) } } @else if let Some(error) = job.errors.last() { (error.message) } @else { span.quiet { "–" } } }
                    }
                } }
            } }
        }
    }
}

//! Jobs by queue, state, user, error and text. What is looked for is in the address.

use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use sluice_queue::{Found, JobView, Operation, Place, QueueError, QueueStats, State as JobState};

use super::acts;
use super::parts::{ago, attempts, grouped, lasting, nothing, relative, state as state_tag, took};
use super::session::Viewer;
use super::{Live, Page};
use crate::answers::operators::last_error;
use crate::operators::JobParams;
use crate::{ApiError, AppState};

/// Jobs on a page.
const PAGE_SIZE: u64 = 25;

#[derive(Deserialize)]
pub(super) struct Search {
    #[serde(default)]
    queue: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    user: String,
    #[serde(default)]
    error: String,
    #[serde(default)]
    text: String,
    cursor: Option<String>,
    /// How many jobs the action before this left alone.
    #[serde(default)]
    taken: u64,
}

impl Search {
    fn params(&self) -> Result<JobParams, ApiError> {
        let given = |text: &str| Some(text.trim().to_owned()).filter(|it| !it.is_empty());
        let state = given(&self.state).map(|it| it.parse()).transpose();
        Ok(JobParams {
            queue: given(&self.queue),
            state: state.map_err(|_| ApiError::NotFound)?,
            user: given(&self.user),
            error: given(&self.error),
            text: given(&self.text),
        })
    }
}

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
    search: Result<Query<Search>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(search) = search.map_err(|_| ApiError::NotFound)?;
    let params = search.params()?;
    let queues = state.queues.queues().await?;
    let known = |name: &String| queues.iter().any(|queue| queue.name == *name);
    if params.queue.as_ref().is_some_and(|name| !known(name)) {
        return Err(ApiError::NotFound);
    }
    let place = search
        .cursor
        .as_deref()
        .map(str::parse::<Place>)
        .transpose();
    let place = place.map_err(|_| ApiError::NotFound)?;
    let found = match state
        .queues
        .search(&params.query()?, place.as_ref(), PAGE_SIZE)
        .await
    {
        Err(error) if error.is_damage() => Err(error),
        found => Ok(found?),
    };
    let is_plain = params.user.is_none() && params.error.is_none() && params.text.is_none();
    let content = html! {
        @if search.taken > 0 {
            p.warning role="status" {
                (grouped(search.taken)) " were left alone because other jobs have their unique keys by now."
            }
        }
        (tabs(&queues, &params))
        (listing(&found, &params, place.is_some(), viewer.may_act()))
    };
    Ok(Page {
        title: "Jobs",
        section: "/board/jobs",
        trail: &[],
        above: filter_form(&queues, &params),
        // A search costs more than a page of a list.
        live: if is_plain {
            Live::Refetched
        } else {
            Live::Still
        },
        content,
        below: html! {},
    }
    .respond(&viewer))
}

/// What is looked for.
fn filter_form(queues: &[QueueStats], params: &JobParams) -> Markup {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let is_narrow = params.user.is_some() || params.error.is_some();
    html! {
        form.search role="search" method="get" action="/board/jobs" {
            div.grow {
                label for="text" { "Search" }
                input #text name="text" type="search" value=(text(&params.text)) maxlength="128" autocomplete="off"
                    placeholder="id, user, group, unique key or error";
            }
            div {
                label for="queue" { "Queue" }
                select #queue name="queue" {
                    option value="" { "all" }
                    @for queue in queues {
                        option value=(queue.name) selected[params.queue.as_ref() == Some(&queue.name)] { (queue.name) }
                    }
                }
            }
            div {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" { "any" }
                    @for state in JobState::ALL {
                        option value=(state.as_str()) selected[params.state == Some(state)] { (state.as_str()) }
                    }
                }
            }
            button #search type="submit" { "Search" }
            details.more #more open[is_narrow] {
                summary { "More filters" }
                div.fields {
                    div { label for="user" { "User" } input #user name="user" value=(text(&params.user)) maxlength="128" autocomplete="off"; }
                    div { label for="error" { "Error contains" } input #error name="error" value=(text(&params.error)) maxlength="128" autocomplete="off"; }
                }
            }
        }
    }
}

/// The states, with how many jobs there are in each, by the queue that is looked at.
fn tabs(queues: &[QueueStats], params: &JobParams) -> Markup {
    let shown = queues
        .iter()
        .filter(|it| params.queue.as_ref().is_none_or(|name| *name == it.name));
    let shown: Vec<_> = shown.collect();
    let address = |state: Option<JobState>| {
        let params = JobParams {
            state,
            ..params.clone()
        };
        format!("/board/jobs?{}", params.to_query())
    };
    html! {
        nav.tabs aria-label="States" {
            a href=(address(None)) aria-current=[params.state.is_none().then_some("page")] { "any" }
            @for state in JobState::ALL {
                @let count: u64 = shown.iter().map(|queue| queue.depth(state)).sum();
                a.(state.as_str()) .none[count == 0] href=(address(Some(state))) aria-current=[(params.state == Some(state)).then_some("page")] {
                    (state.as_str()) " " span.badge { (grouped(count)) }
                }
            }
        }
    }
}

fn listing(
    found: &Result<Found, QueueError>,
    params: &JobParams,
    is_later: bool,
    may_act: bool,
) -> Markup {
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            return html! { p.problem role="alert" { "These jobs cannot be listed: " (error) "." } };
        }
    };
    let address = format!("/board/jobs?{}", params.to_query());
    html! {
        @if found.jobs.is_empty() {
            div.empty {
                p { "No job is like that" @if found.next.is_some() { " among the " (grouped(found.looked_at)) " that were looked at" } "." }
                @if found.next.is_none() && params.pairs().is_empty() { p.quiet { "Jobs appear here as they are enqueued." } }
            }
        } @else {
            form #selection method="get" action="/board/jobs/act" {
                @for (name, value) in params.pairs() { input type="hidden" name=(name) value=(value); }
                @if may_act { (bulk(params)) }
                (table(&found.jobs, params.state, may_act))
            }
        }
        nav.pages aria-label="Pages" {
            @if is_later { a rel="first" href=(address) { "\u{2190} Newest" } }
            @if let Some(next) = &found.next { a rel="next" href={ (address) "&cursor=" (next) } { "Older \u{2192}" } }
        }
    }
}

/// The buttons for the selected ones, and for all that the filter means.
fn bulk(params: &JobParams) -> Markup {
    let operations = Operation::ALL.into_iter();
    let fitting: Vec<_> = operations
        .filter(|it| params.state.is_none_or(|state| it.is_for(state)))
        .collect();
    html! {
        div.bulk {
            fieldset {
                legend { "Selected" }
                @for operation in &fitting {
                    button.small .danger[*operation == Operation::Delete] .plain[*operation != Operation::Delete]
                        type="submit" name="operation" value=(operation.as_str()) { (acts::label(*operation)) }
                }
            }
            fieldset {
                legend { "All like this" }
                @for operation in &fitting {
                    a.button.small #{ "all-" (operation.as_str()) } .danger[*operation == Operation::Delete] .plain[*operation != Operation::Delete]
                        href={ "/board/jobs/act?scope=all&operation=" (operation.as_str()) "&" (params.to_query()) } { (acts::label(*operation)) " all" }
                }
            }
        }
    }
}

/// What the column of times says of jobs in a state.
fn time_head(state: Option<JobState>) -> &'static str {
    match state {
        None => "When",
        Some(JobState::Waiting | JobState::Available) => "Waits for",
        Some(JobState::Scheduled | JobState::Retrying) => "Due",
        Some(JobState::Running) => "Runs for",
        Some(JobState::Completed) => "Completed",
        Some(JobState::Cancelled) => "Cancelled",
        Some(JobState::Dead) => "Died",
    }
}

fn time_of(job: &JobView) -> Markup {
    match job.state {
        JobState::Waiting => html! { (lasting(job.created_at)) },
        JobState::Available => html! { (lasting(job.run_at)) },
        JobState::Scheduled | JobState::Retrying => relative(job.run_at),
        JobState::Running => job.started_at.map_or_else(nothing, lasting),
        JobState::Completed | JobState::Cancelled | JobState::Dead => {
            job.finished_at.map_or_else(nothing, ago)
        }
    }
}

fn table(jobs: &[JobView], state: Option<JobState>, may_act: bool) -> Markup {
    html! {
        table.stack.jobs {
            caption.hidden { "Jobs, by queue and state, newest first" }
            thead { tr {
                @if may_act { th.tick scope="col" { span.hidden { "Select" } } }
                th scope="col" { "Job" }
                @if state.is_none() { th scope="col" { "State" } }
                th scope="col" { "User" }
                th.number scope="col" { "Attempts" }
                th scope="col" { (time_head(state)) }
                th scope="col" { @if state == Some(JobState::Completed) { "Took" } @else { "Last error" } }
            } }
            tbody { @for job in jobs {
                tr {
                    @if may_act { td.tick { input type="checkbox" name="id" value=(job.id) aria-label={ "Select " (job.id) }; } }
                    th scope="row" { a href={ "/board/jobs/" (job.id) } { code { (job.id) } } }
                    @if state.is_none() { td data-label="State" { (state_tag(job.state)) } }
                    td data-label="User" { @if let Some(user) = &job.user { span.clip { (user) } } @else { (nothing()) } }
                    td.number data-label="Attempts" { (attempts(job)) }
                    td data-label=(time_head(state)) { (time_of(job)) }
                    @if state == Some(JobState::Completed) {
                        td data-label="Took" { (duration(job)) @if job.error.is_some() { " " span.tag { "refused" } } }
                    } @else {
                        td.error data-label="Last error" {
                            @match last_error(job) {
                                Some(error) => span.clip title=(error) { (error) },
                                None => (nothing()),
                            }
                        }
                    }
                }
            } }
        }
    }
}

fn duration(job: &JobView) -> Markup {
    let ran = job.started_at.zip(job.finished_at);
    html! { @match ran { Some((from, to)) => (took(to.saturating_sub(from))), None => (nothing()) } }
}

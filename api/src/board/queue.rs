//! One queue: its numbers, what it did of late, and how it is steered.

use std::time::Duration;

use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use sluice_queue::{Limits, QueueStats, Rate, Rates, State as JobState};

use super::confirm::{self, Question};
use super::overview::{Choice, charts, history};
use super::parts::{grouped, lasting, span};
use super::session::{Steering, Viewer};
use super::{Live, Page};
use crate::http::query::{Segment, Segments};
use crate::operators::actions::{self, Done};
use crate::operators::pauses;
use crate::{ApiError, AppState};

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
    Segment(name): Segment,
    choice: Result<Query<Choice>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(Choice { period }) = choice.map_err(|_| ApiError::NotFound)?;
    let queue = &actions::find_queue(&state, &name).await?;
    let history = history(&state, queue, period).await?;
    let address = format!("/board/queues/{name}");
    let content = html! {
        @if let Some(damage) = &queue.damage { p.problem role="alert" { "This queue's numbers cannot be read: " (damage) "." } }
        (head(queue, &address, viewer.may_act()))
        nav.tiles aria-label="Jobs by state" {
            @for state in JobState::ALL {
                @let depth = queue.depth(state);
                a.tile.(state.as_str()) .none[depth == 0] href={ "/board/jobs?queue=" (name) "&state=" (state.as_str()) } {
                    span.name { (state.as_str()) } strong { (grouped(depth)) }
                }
            }
        }
        (charts(&address, &history))
    };
    let below = if viewer.may_act() {
        forms(queue, &address)
    } else {
        html! {}
    };
    Ok(Page {
        title: &name,
        section: "/board",
        trail: &[("/board", "Overview")],
        above: html! {},
        live: Live::Refetched,
        content,
        below,
    }
    .respond(&viewer))
}

/// Whether it gives out jobs, what bounds it, and the button that changes the former.
fn head(queue: &QueueStats, address: &str, may_act: bool) -> Markup {
    let facts = [
        ("Limit", queue.limit.map(|it| it.to_string())),
        ("Limit per user", queue.user_limit.map(|it| it.to_string())),
        ("Rate", queue.rate.map(|it| it.to_string())),
        ("Rate per user", queue.user_rate.map(|it| it.to_string())),
        ("Oldest waits", queue.oldest_waiting_ms.map(span)),
    ];
    html! {
        section.card.row {
            dl.facts {
                div {
                    dt { "Gives out jobs" }
                    dd { @match queue.paused_at {
                        Some(at) => span.warm { "Paused for " (lasting(at)) },
                        None => span.good { "yes" },
                    } }
                }
                div { dt { "Workers" } dd { @if queue.workers == 0 { span.bad { "none" } } @else { (queue.workers) } } }
                @for (name, value) in facts { @if let Some(value) = value { div { dt { (name) } dd { (value) } } } }
            }
            @if may_act {
                div.actions {
                    @if queue.paused_at.is_some() {
                        a.button #resume href={ (address) "/resume" } { "Resume" }
                    } @else {
                        a.button.plain #pause href={ (address) "/pause" } { "Pause" }
                    }
                }
            }
        }
    }
}

pub(super) async fn ask_to_pause(
    viewer: Viewer,
    State(state): State<AppState>,
    Segments((name, what)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let paused = pauses(&what).ok_or(ApiError::NotFound)?;
    let queue = actions::find_queue(&state, &name).await?;
    let explanation = html! {
        @if paused {
            p { "No worker gets a job of " strong { (name) } " until it is resumed. " (grouped(queue.running)) " jobs that run go on; " (grouped(queue.available)) " wait." }
        } @else {
            p { "Workers get jobs of " strong { (name) } " again; " (grouped(queue.available)) " wait." }
        }
    };
    let button = if paused { "Pause" } else { "Resume" };
    confirm::ask(
        &viewer,
        Question {
            title: &format!("{button} the queue {name}?"),
            section: "/board",
            explanation,
            button,
            is_dangerous: paused,
            action: &format!("/board/queues/{name}/{what}"),
            fields: Vec::new(),
            back: &format!("/board/queues/{name}"),
        },
    )
}

pub(super) async fn pause(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segments((name, what)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let paused = pauses(&what).ok_or(ApiError::NotFound)?;
    let done = actions::pause(&state, &actor, &name, paused).await?;
    Ok(back(&name, &done))
}

fn back(queue: &str, done: &Done) -> Response {
    Redirect::to(&format!("/board/queues/{queue}?done={}", done.action)).into_response()
}

/// As the form sends it: an empty text is no limit.
#[derive(Deserialize)]
pub(super) struct LimitsForm {
    all: String,
    per_user: String,
}

pub(super) async fn limit(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segment(name): Segment,
    form: Result<Form<LimitsForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let form = complete(form)?;
    let limits = Limits {
        all: optional("all", &form.all)?,
        per_user: optional("per_user", &form.per_user)?,
    };
    let done = actions::limit(&state, &actor, &name, limits).await?;
    Ok(back(&name, &done))
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
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segment(name): Segment,
    form: Result<Form<RatesForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let form = complete(form)?;
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
    let done = actions::rate(&state, &actor, &name, rates).await?;
    Ok(back(&name, &done))
}

pub(super) fn complete<T>(form: Result<Form<T>, FormRejection>) -> Result<T, ApiError> {
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

/// The forms below a queue. They stand outside of what is kept fresh, so that nothing that is typed
/// gets lost.
fn forms(queue: &QueueStats, address: &str) -> Markup {
    let text = |limit: Option<u64>| limit.map_or_else(String::new, |it| it.to_string());
    html! {
        section aria-labelledby="bounds" {
            h2 #bounds { "Bounds" }
            div.cards {
                form.card #limits method="post" action={ (address) "/limits" } {
                    h3 { "How many run at a time" }
                    div.fields {
                        (field("all", "All jobs (empty: no limit)", &text(queue.limit)))
                        (field("per_user", "Of each user", &text(queue.user_limit)))
                    }
                    button.plain type="submit" { "Set limits" }
                }
                form.card.wide #rates method="post" action={ (address) "/rates" } {
                    h3 { "How many start in a time" }
                    (rate_fields("all", "All jobs", queue.rate))
                    (rate_fields("user", "Each user's jobs", queue.user_rate))
                    button.plain type="submit" { "Set rates" }
                }
            }
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
    let kind = id("kind");
    html! {
        fieldset.fields {
            legend { (legend) }
            div {
                label for=(kind) { "Window" }
                select id=(kind) name=(kind) {
                    @for it in kinds { option value=(it) selected[set["kind"].as_str().unwrap_or("none") == it] { (it) } }
                }
            }
            (field(&id("starts"), "Starts", &text(&set["starts"])))
            (field(&id("seconds"), "In seconds", &seconds))
            (field(&id("burst"), "At once (bucket)", &text(&set["burst"])))
        }
    }
}

pub(super) fn field(name: &str, label: &str, value: &str) -> Markup {
    html! { div { label for=(name) { (label) } input id=(name) name=(name) value=(value) autocomplete="off"; } }
}

//! What happens by the clock: when it did last and will next, run now, and new schedules.

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use sluice_jobs::schedules::{self, Missed, Origin, SCHEDULABLE, Schedule, ScheduleView};

use super::confirm::{self, Question};
use super::parts::{ago, nothing, relative};
use super::queue::{complete, field};
use super::session::{Steering, Viewer};
use super::{Live, Page};
use crate::http::query::Segments;
use crate::operators::{actions, pauses};
use crate::{ApiError, AppState};

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
) -> Result<Response, ApiError> {
    let all = schedules::all(&state.queues).await?;
    let content = html! {
        @if all.is_empty() {
            div.empty {
                p { "There are no schedules." }
                p.quiet { "Those of the configuration are shown once a worker has started." }
            }
        } @else { (table(&all, viewer.may_act())) }
    };
    let below = if viewer.may_act() {
        form()
    } else {
        html! {}
    };
    Ok(Page {
        title: "Schedules",
        section: "/board/schedules",
        trail: &[],
        above: html! {},
        live: Live::Refetched,
        content,
        below,
    }
    .respond(&viewer))
}

fn table(all: &[ScheduleView], may_act: bool) -> Markup {
    html! {
        table.stack.schedules {
            caption.hidden { "Schedules, by name" }
            thead { tr {
                th scope="col" { "Schedule" }
                th scope="col" { "When" }
                th scope="col" { "Queue" }
                th scope="col" { "Last" }
                th scope="col" { "Next" }
                @if may_act { th scope="col" { span.hidden { "Actions" } } }
            } }
            tbody { @for schedule in all { (row(schedule, may_act)) } }
        }
    }
}

fn row(schedule: &ScheduleView, may_act: bool) -> Markup {
    let address = format!("/board/schedules/{}", schedule.name);
    let is_paused = schedule.paused_at.is_some();
    html! {
        tr {
            th scope="row" {
                (schedule.name)
                @if schedule.origin == Origin::Operator { " " span.tag { "by an operator" } }
                @if is_paused { " " span.tag.warm { "paused" } }
            }
            td data-label="When" {
                div {
                    code { (schedule.cron) } " " span.quiet { (schedule.zone) }
                    @if schedule.jitter_secs > 0 { " " span.quiet { "up to " (schedule.jitter_secs) "\u{a0}s later" } }
                    @if schedule.missed == Missed::Skip { " " span.quiet { "missed ones are left out" } }
                }
            }
            td data-label="Queue" { a href={ "/board/queues/" (schedule.queue) } { (schedule.queue) } }
            td data-label="Last" {
                div { @match (schedule.last, &schedule.last_job, &schedule.left_out) {
                    (Some(at), Some(job), _) => a href={ "/board/jobs/" (job) } { (ago(at)) },
                    (Some(at), None, Some(reason)) => { (ago(at)) " " span.warm { "left out: " (reason) } },
                    (Some(at), None, None) => (ago(at)),
                    (None, _, _) => span.quiet { "not yet" },
                } }
            }
            td data-label="Next" { @match schedule.next { Some(at) => (relative(at)), None => (nothing()) } }
            @if may_act {
                td.actions {
                    a.button.small #{ "run-" (schedule.name) } href={ (address) "/run" } { "Run now" }
                    @if is_paused { a.button.small.plain href={ (address) "/resume" } { "Resume" } }
                    @else { a.button.small.plain href={ (address) "/pause" } { "Pause" } }
                    @if schedule.origin == Origin::Operator { a.button.small.danger href={ (address) "/delete" } { "Delete" } }
                }
            }
        }
    }
}

fn form() -> Markup {
    html! {
        details.card #add {
            summary { "Add a schedule, or change one" }
            form #schedule method="post" action="/board/schedules" {
                div.fields {
                    (field("name", "Name", ""))
                    (field("cron", "Cron, with seconds", "0 30 2 * * *"))
                    (field("zone", "Time zone", "UTC"))
                    div {
                        label for="queue" { "Queue" }
                        select #queue name="queue" { @for queue in SCHEDULABLE { option value=(queue) { (queue) } } }
                    }
                    (field("jitter_secs", "Jitter in seconds", "0"))
                    div {
                        label for="missed" { "Missed ticks" }
                        select #missed name="missed" { option value="once" { "made up once" } option value="skip" { "left out" } }
                    }
                    div.whole { label for="payload" { "Payload, as JSON" } textarea #payload name="payload" rows="3" spellcheck="false" { "{}" } }
                }
                button type="submit" { "Keep" }
            }
        }
    }
}

#[derive(Deserialize)]
pub(super) struct ScheduleForm {
    name: String,
    cron: String,
    zone: String,
    queue: String,
    payload: String,
    jitter_secs: String,
    missed: Missed,
}

pub(super) async fn put(
    Steering(actor): Steering,
    State(state): State<AppState>,
    form: Result<Form<ScheduleForm>, FormRejection>,
) -> Result<Response, ApiError> {
    let form = complete(form)?;
    let invalid = |rule: &str| ApiError::InvalidRequest(rule.to_owned());
    let schedule = Schedule {
        cron: form.cron.trim().to_owned(),
        zone: form.zone.trim().to_owned(),
        queue: form.queue,
        payload: serde_json::from_str(&form.payload)
            .map_err(|_| invalid("payload: must be JSON"))?,
        jitter_secs: form
            .jitter_secs
            .trim()
            .parse()
            .map_err(|_| invalid("jitter: must be a number of seconds"))?,
        missed: form.missed,
    };
    let done = actions::put_schedule(&state, &actor, form.name.trim(), schedule).await?;
    Ok(back(&done.action))
}

fn back(action: &str) -> Response {
    Redirect::to(&format!("/board/schedules?done={action}")).into_response()
}

pub(super) async fn ask(
    viewer: Viewer,
    State(state): State<AppState>,
    Segments((name, what)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let all = schedules::all(&state.queues).await?;
    let schedule = all
        .iter()
        .find(|it| it.name == name)
        .ok_or(ApiError::NotFound)?;
    let (button, text) = match what.as_str() {
        "run" => (
            "Run now",
            "Its job is enqueued at once, unless one of it has not ended.",
        ),
        "pause" => ("Pause", "Its ticks are left out until it is resumed."),
        "resume" => ("Resume", "It ticks again, from now on."),
        "delete" => ("Delete", "It is gone. Jobs that it enqueued stay."),
        _ => return Err(ApiError::NotFound),
    };
    let explanation = html! {
        p { strong { (name) } ", " code { (schedule.cron) } " " (schedule.zone) ", queue " (schedule.queue) "." }
        p.quiet { (text) }
    };
    confirm::ask(
        &viewer,
        Question {
            title: &format!("{button}: the schedule {name}?"),
            section: "/board/schedules",
            explanation,
            button,
            is_dangerous: what == "delete",
            action: &format!("/board/schedules/{name}/{what}"),
            fields: Vec::new(),
            back: "/board/schedules",
        },
    )
}

pub(super) async fn act(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segments((name, what)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    if what == "run" {
        let job = actions::run_schedule(&state, &actor, &name).await?;
        return Ok(Redirect::to(&format!("/board/jobs/{job}")).into_response());
    }
    let done = match pauses(&what) {
        Some(paused) => actions::pause_schedule(&state, &actor, &name, paused).await?,
        None if what == "delete" => actions::remove_schedule(&state, &actor, &name).await?,
        None => return Err(ApiError::NotFound),
    };
    Ok(back(&done.action))
}

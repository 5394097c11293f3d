//! The processes that run jobs, and the signals to them.

use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use sluice_queue::{ProcessView, Signal};

use super::confirm::{self, Question};
use super::parts::{ago, grouped, lasting, nothing};
use super::session::{Steering, Viewer};
use super::{Live, Page};
use crate::http::query::Segments;
use crate::operators::{actions, read_signal};
use crate::{ApiError, AppState};

/// How many running jobs of a process are named.
const NAMED: usize = 10;

pub(super) async fn show(
    viewer: Viewer,
    State(state): State<AppState>,
) -> Result<Response, ApiError> {
    let processes = state.queues.processes().await?;
    let content = html! {
        @if processes.is_empty() {
            div.empty {
                p { "No worker runs." }
                p.quiet { "Jobs wait until a " code { "sluice work" } " is started. One that was killed is listed for 30 s." }
            }
        }
        div.cards.large { @for process in &processes { (card(process, viewer.may_act())) } }
    };
    Ok(Page {
        title: "Workers",
        section: "/board/workers",
        trail: &[],
        above: html! {},
        live: Live::Refetched,
        content,
        below: html! {},
    }
    .respond(&viewer))
}

fn card(process: &ProcessView, may_act: bool) -> Markup {
    let (kind, word) = match (process.signal, process.quiet) {
        (Some(Signal::Stop), _) => ("bad", "ending"),
        (Some(Signal::Quiet), false) => ("warm", "is to be quiet"),
        (_, true) => ("warm", "quiet"),
        _ => ("good", "works"),
    };
    let address = format!("/board/workers/{}", process.process.id);
    html! {
        article.card {
            div.row {
                h2 { code { (process.process.id) } " " span.light.(kind) { (word) } }
                @if may_act && process.signal != Some(Signal::Stop) {
                    div.actions {
                        @if process.quiet || process.signal == Some(Signal::Quiet) {
                            a.button.small href={ (address) "/resume" } { "Resume" }
                        } @else {
                            a.button.small.plain href={ (address) "/quiet" } { "Quiet" }
                        }
                        a.button.small.danger href={ (address) "/stop" } { "Stop" }
                    }
                }
            }
            dl.facts {
                div { dt { "Host" } dd { (process.process.host) } }
                div { dt { "Process" } dd { (process.process.pid) } }
                div { dt { "Up for" } dd { (lasting(process.started_at)) } }
                div { dt { "Last heartbeat" } dd { (ago(process.seen_at)) } }
                div { dt { "Version" } dd { (process.process.version) } }
                div { dt { "Runs" } dd { (grouped(process.running)) @if process.running == 1 { " job" } @else { " jobs" } } }
            }
            @if !process.jobs.is_empty() {
                h3 { "Running jobs" }
                ul.ids {
                    @for id in process.jobs.iter().take(NAMED) { li { a href={ "/board/jobs/" (id) } { code { (id) } } } }
                    @if process.running > NAMED as u64 { li.quiet { "and " (grouped(process.running - NAMED as u64)) " more" } }
                }
            }
            details #{ "queues-" (process.process.id) } {
                summary { "Serves " (process.queues.len()) " queues" }
                ul.loads {
                    @for (queue, load) in &process.queues {
                        li { a href={ "/board/queues/" (queue) } { (queue) } " " span.quiet { (load.running) " of " (load.concurrency) } }
                    }
                    @if process.queues.is_empty() { li { (nothing()) } }
                }
            }
        }
    }
}

pub(super) async fn ask(
    viewer: Viewer,
    State(state): State<AppState>,
    Segments((worker, name)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let signal = read_signal(&name).ok_or(ApiError::NotFound)?;
    let processes = state.queues.processes().await?;
    let process = processes.iter().find(|it| it.process.id == worker);
    let process = process.ok_or(ApiError::NotFound)?;
    let (button, text) = match signal {
        Signal::Quiet => (
            "Quiet",
            "It fetches no more jobs until it is resumed. Those that it runs go on.",
        ),
        Signal::Resume => ("Resume", "It fetches jobs again."),
        Signal::Stop => (
            "Stop",
            "It ends as on SIGTERM: running jobs have 4 s, then go back to the queue with no attempt \
             counted. Whatever started it may start it again.",
        ),
    };
    let explanation = html! {
        p { code { (worker) } " on " strong { (process.process.host) } ", process " (process.process.pid) ", runs " (grouped(process.running)) " jobs." }
        p.quiet { (text) }
    };
    confirm::ask(
        &viewer,
        Question {
            title: &format!("{button} this worker?"),
            section: "/board/workers",
            explanation,
            button,
            is_dangerous: signal == Signal::Stop,
            action: &format!("/board/workers/{worker}/{name}"),
            fields: Vec::new(),
            back: "/board/workers",
        },
    )
}

pub(super) async fn signal(
    Steering(actor): Steering,
    State(state): State<AppState>,
    Segments((worker, name)): Segments<(String, String)>,
) -> Result<Response, ApiError> {
    let signal = read_signal(&name).ok_or(ApiError::NotFound)?;
    let done = actions::signal(&state, &actor, &worker, signal).await?;
    Ok(Redirect::to(&format!("/board/workers?done={}", done.action)).into_response())
}

//! The queue board, for operators: `/board`.
//!
//! Pages are rendered here and work without scripts. The few lines of `board.js` keep what is
//! marked `data-live` fresh. An operator logs in with a token that has the scope `admin`; see
//! [`session`].
//!
//! To add a page: a handler that takes an [`session::Operator`] and answers with [`operator_page`]; to add
//! an action: a handler that also takes [`session::SameOrigin`].

mod forms;
mod job;
mod queues;
mod session;
mod steering;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use sluice_queue::JobView;

use crate::AppState;
use crate::http::page;
use crate::http::problem::{self, Problem};

const SCRIPT_PATH: &str = "/board/board.js";

pub(crate) fn routes() -> Router<AppState> {
    let script = (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("board.js"),
    );
    let pages = Router::new()
        .route("/board", get(queues::overview))
        .route("/board/queues/{queue}", get(queues::queue))
        .route("/board/queues/{queue}/pause", post(steering::pause))
        .route("/board/queues/{queue}/resume", post(steering::resume))
        .route("/board/queues/{queue}/limits", post(steering::limit))
        .route("/board/queues/{queue}/rates", post(steering::rate))
        .route("/board/queues/{queue}/jobs", post(steering::bulk))
        .route("/board/jobs/{id}", get(job::show))
        .route("/board/jobs/{id}/retry", post(job::retry))
        .route("/board/jobs/{id}/cancel", post(job::cancel))
        .route("/board/jobs/{id}/delete", post(job::delete))
        .route("/board/login", session::login_routes())
        .route("/board/logout", post(session::logout));
    problem::print_as(pages, problem_page)
        .route("/board/jobs/{id}/live", get(job::live))
        .route(SCRIPT_PATH, get(async move || script))
}

/// Where on a page changing things are, and how they are kept fresh.
enum Live<'a> {
    /// The page is fetched again every few seconds.
    Refetched(Markup),
    /// A stream of fragments at this address.
    Streamed(&'a str, Markup),
}

/// A page for an operator who is logged in. `trail` leads to it: (address, name) from the overview
/// on; `below` stays as it is while the rest is kept fresh.
fn operator_page(title: &str, trail: &[(&str, &str)], live: Live<'_>, below: Markup) -> Response {
    let content = html! {
        header.top {
            nav aria-label="Breadcrumb" {
                a href="/board" { strong { "Sluice" } }
                @for (address, name) in trail { span aria-hidden="true" { "/" } a href=(address) { (name) } }
            }
            nav aria-label="Session" {
                a href="/docs" { "API" }
                form method="post" action="/board/logout" { button.plain type="submit" { "Log out" } }
            }
        }
        main {
            h1 { (title) }
            @match live {
                Live::Refetched(content) => div data-live { (content) },
                Live::Streamed(address, content) => div data-live data-events=(address) { (content) },
            }
            (below)
        }
        script src=(SCRIPT_PATH) {}
    };
    document(title, &content)
}

fn document(title: &str, content: &Markup) -> Response {
    let page = page::frame(&format!("{title} · Sluice"), content);
    page::respond(page.into_string())
}

/// A problem as a page.
fn problem_page(problem: &Problem) -> Response {
    let content = html! {
        main.narrow {
            h1 { "That did not work" }
            p role="alert" { (problem.message) "." }
            p { a href="/board" { "To the queues" } }
        }
    };
    document("Error", &content)
}

/// How often a job was begun, of how often it may be.
fn attempts(job: &JobView) -> String {
    match job.max_attempts {
        Some(most) => format!("{} of {most}", job.attempts),
        None => job.attempts.to_string(),
    }
}

/// A point in time, given in milliseconds since 1970.
fn moment(ms: u64) -> Markup {
    let time =
        humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(ms)).to_string();
    let shown = time.replace('T', " ").replace('Z', " UTC");
    html! { time datetime=(time) { (shown) } }
}

/// A span of time in at most two units.
fn span(ms: u64) -> String {
    let span = humantime::format_duration(Duration::from_secs(ms / 1000)).to_string();
    span.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

fn now_secs() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

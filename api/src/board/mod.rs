//! The board, for operators: `/board`.
//!
//! Pages are rendered here and work without scripts. The few lines of `board.js` keep what is
//! marked `data-live` fresh, and times counting. An operator logs in with a token that has the scope
//! `admin`, or `admin:read` to look alone; see [`session`].
//!
//! To add a page: a handler that takes a [`session::Viewer`] and answers with [`Page::respond`]. To
//! add an action: a `GET` that asks with [`confirm::ask`], and at the same address a `POST` that
//! takes a [`session::Steering`] and acts through [`crate::operators::actions`], which writes it down.

mod acts;
mod audit;
mod chart;
mod confirm;
mod health;
mod job;
mod jobs;
mod overview;
mod parts;
mod queue;
mod schedules;
mod session;
mod workers;

use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::response::Response;
use axum::routing::{get, post};
use maud::{Markup, html};
use sluice_queue::{Action, UNDO};

use crate::AppState;
use crate::http::page;
use crate::http::problem::{self, Problem};
use parts::{grouped, now_ms};
use session::Viewer;

const SCRIPT_PATH: &str = "/board/board.js";

pub(crate) fn routes() -> Router<AppState> {
    let script = (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("board.js"),
    );
    let pages = Router::new()
        .route("/board", get(overview::show))
        .route("/board/queues/{queue}", get(queue::show))
        .route("/board/queues/{queue}/limits", post(queue::limit))
        .route("/board/queues/{queue}/rates", post(queue::rate))
        .route(
            "/board/queues/{queue}/{what}",
            get(queue::ask_to_pause).post(queue::pause),
        )
        .route("/board/jobs", get(jobs::show))
        .route(
            "/board/jobs/act",
            get(acts::ask_many).post(acts::act_on_many),
        )
        .route("/board/jobs/{id}", get(job::show))
        .route(
            "/board/jobs/{id}/{operation}",
            get(acts::ask_one).post(acts::act_on_one),
        )
        .route("/board/workers", get(workers::show))
        .route(
            "/board/workers/{worker}/{signal}",
            get(workers::ask).post(workers::signal),
        )
        .route(
            "/board/schedules",
            get(schedules::show).post(schedules::put),
        )
        .route(
            "/board/schedules/{schedule}/{what}",
            get(schedules::ask).post(schedules::act),
        )
        .route("/board/audit", get(audit::show))
        .route("/board/audit/{action}/undo", post(audit::undo))
        .route("/board/login", session::login_routes())
        .route("/board/logout", post(session::logout));
    problem::print_as(pages, problem_page)
        .route("/board/jobs/{id}/live", get(job::live))
        .route(SCRIPT_PATH, get(async move || script))
}

/// The parts of the board, as its navigation has them.
const SECTIONS: [(&str, &str); 5] = [
    ("/board", "Overview"),
    ("/board/jobs", "Jobs"),
    ("/board/workers", "Workers"),
    ("/board/schedules", "Schedules"),
    ("/board/audit", "Audit"),
];

/// How what changes on a page is kept fresh.
enum Live<'a> {
    /// The page is fetched again every few seconds.
    Refetched,
    /// By a stream of fragments at this address.
    Streamed(&'a str),
    /// Not at all.
    Still,
}

/// A page for an operator who is logged in.
struct Page<'a> {
    title: &'a str,
    /// The address of the section that it belongs to.
    section: &'a str,
    /// What leads to it from there: (address, name).
    trail: &'a [(&'a str, &'a str)],
    /// What stands above it, and stays as it is.
    above: Markup,
    live: Live<'a>,
    /// What changes.
    content: Markup,
    /// What stays as it is while the rest is kept fresh, such as forms.
    below: Markup,
}

impl Page<'_> {
    fn respond(self, viewer: &Viewer) -> Response {
        let content = html! {
            a.skip href="#main" { "Skip to the content" }
            header.bar {
                a.brand href="/board" { (logo()) "Sluice" }
                nav.sections aria-label="Sections" {
                    @for (address, name) in SECTIONS {
                        a href=(address) aria-current=[(address == self.section).then_some("page")] { (name) }
                    }
                }
                div.session {
                    span.who { (viewer.who()) @if !viewer.may_act() { " " span.tag { "read only" } } }
                    a href="/docs" { "API" }
                    form method="post" action="/board/logout" { button.link type="submit" { "Log out" } }
                }
            }
            main #main {
                @if !self.trail.is_empty() {
                    nav.trail aria-label="Breadcrumb" {
                        @for (address, name) in self.trail { a href=(address) { (name) } span aria-hidden="true" { "/" } }
                    }
                }
                h1 { (self.title) }
                @if let Some(action) = &viewer.notice { (notice(action, viewer.may_act())) }
                (self.above)
                @match self.live {
                    Live::Refetched => div data-live { (self.content) },
                    Live::Streamed(address) => div data-live data-events=(address) { (self.content) },
                    Live::Still => div { (self.content) },
                }
                (self.below)
            }
            script src=(SCRIPT_PATH) {}
        };
        document(self.title, &content)
    }
}

fn logo() -> Markup {
    html! {
        svg viewBox="0 0 24 24" width="22" height="22" aria-hidden="true" {
            path d="M3 6h18M3 12h18M3 18h18" class="rail" {}
            path d="M8 3v18M16 3v18" class="gate" {}
        }
    }
}

/// What came of the action that led to this page.
fn notice(action: &Action, may_act: bool) -> Markup {
    let count = action.count.unwrap_or_default();
    let jobs = if count == 1 { "job was" } else { "jobs were" };
    let of_jobs = |done: &str| format!("{} {jobs} {done}: {}.", grouped(count), action.target);
    let text = match action.what.as_str() {
        "retry" => of_jobs("put back in line"),
        "run" => of_jobs("made due now"),
        "cancel" => of_jobs("cancelled, or asked to stop"),
        "delete" => of_jobs("deleted"),
        "undo" => format!("Undone: {}.", action.target),
        "pause" => format!("Paused: {}.", action.target),
        "resume" => format!("Resumed: {}.", action.target),
        "quiet" | "stop" => format!(
            "Asked for {}: {}. It hears of it within two seconds.",
            action.what, action.target
        ),
        "set limits" | "set rates" | "set schedule" => format!("Set: {}.", action.target),
        what => format!("Done: {what}, {}.", action.target),
    };
    html! {
        div.notice role="status" {
            p { (text) }
            @if may_act && audit::can_be_undone(action) {
                form method="post" action={ "/board/audit/" (action.id) "/undo" } {
                    button.small #undo type="submit" { "Undo" }
                }
            }
        }
    }
}

/// For how long an action on jobs can still be undone.
fn undo_is_open(action: &Action) -> bool {
    now_ms().saturating_sub(action.at) < u64::try_from(UNDO.as_millis()).unwrap_or_default()
}

fn document(title: &str, content: &Markup) -> Response {
    let page = page::frame(&format!("{title} \u{b7} Sluice"), content);
    page::respond(page.into_string())
}

/// A problem as a page.
fn problem_page(problem: &Problem) -> Response {
    let content = html! {
        main.narrow {
            h1 { "That did not work" }
            p.problem role="alert" { (capitalized(&problem.message)) "." }
            p { a.button href="/board" { "To the overview" } }
        }
    };
    document("Error", &content)
}

/// A message as a sentence. The name of a field that it begins with stays as it is.
fn capitalized(text: &str) -> String {
    let first = text.split(' ').next().unwrap_or_default();
    if first.contains([':', '.', '_']) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| {
        first.to_uppercase().chain(letters).collect()
    })
}

//! The queue board, for operators: `/board`.
//!
//! Pages are rendered here and work without scripts. The few lines of `board.js` keep what is
//! marked `data-live` fresh. An operator logs in with a token that has the scope `admin`; see
//! [`session`].
//!
//! To add a page: a handler that takes an [`session::Operator`] and answers with [`page`]; to add
//! an action: a handler that also takes [`session::SameOrigin`].

mod forms;
mod job;
mod queues;
mod session;
mod steering;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::{DOCTYPE, Markup, html};
use sluice_queue::{JobView, QueueError};

use crate::{ApiError, AppState};

pub(crate) const STYLE_PATH: &str = "/board/style.css";
const SCRIPT_PATH: &str = "/board/board.js";

pub(crate) fn routes() -> Router<AppState> {
    let style = (
        [(CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("style.css"),
    );
    let script = (
        [(CONTENT_TYPE, "text/javascript; charset=utf-8")],
        include_str!("board.js"),
    );
    Router::new()
        .route("/board", get(queues::overview))
        .route("/board/queues/{queue}", get(queues::queue))
        .route("/board/queues/{queue}/pause", post(steering::pause))
        .route("/board/queues/{queue}/resume", post(steering::resume))
        .route("/board/queues/{queue}/limits", post(steering::limit))
        .route("/board/queues/{queue}/rates", post(steering::rate))
        .route("/board/queues/{queue}/jobs", post(steering::bulk))
        .route("/board/jobs/{id}", get(job::show))
        .route("/board/jobs/{id}/live", get(job::live))
        .route("/board/jobs/{id}/retry", post(job::retry))
        .route("/board/jobs/{id}/cancel", post(job::cancel))
        .route("/board/jobs/{id}/delete", post(job::delete))
        .route("/board/login", session::login_routes())
        .route("/board/logout", post(session::logout))
        .route(STYLE_PATH, get(async move || style))
        .route(SCRIPT_PATH, get(async move || script))
}

/// Headers of every page: nothing comes from elsewhere, no page frames it, no cache keeps it.
pub(crate) fn security_headers() -> [(HeaderName, &'static str); 4] {
    [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `no-referrer` would make browsers send `Origin: null` with forms.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ]
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
fn page(title: &str, trail: &[(&str, &str)], live: Live<'_>, below: Markup) -> Response {
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
    document(title, content)
}

fn document(title: &str, content: Markup) -> Response {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) " · Sluice" }
                link rel="stylesheet" href=(STYLE_PATH);
            }
            body { (content) }
        }
    };
    (security_headers(), Html(page.into_string())).into_response()
}

/// An error as a page.
fn error_page(error: ApiError) -> Response {
    let content = html! {
        main.narrow {
            h1 { "That did not work" }
            p role="alert" { (error) "." }
            p { a href="/board" { "To the queues" } }
        }
    };
    (error.status(), document("Error", content)).into_response()
}

/// An [`ApiError`] that is answered as a page, for `?` in handlers.
struct PageError(ApiError);

impl From<ApiError> for PageError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl From<QueueError> for PageError {
    fn from(error: QueueError) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for PageError {
    fn into_response(self) -> Response {
        error_page(self.0)
    }
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

//! HTML pages: their frame, their style, and the headers that they are sent with.

use axum::Router;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use maud::{DOCTYPE, Markup, html};

use crate::AppState;

const STYLE_PATH: &str = "/board/style.css";

/// The style of all pages.
pub(crate) fn routes() -> Router<AppState> {
    let style = (
        [(CONTENT_TYPE, "text/css; charset=utf-8")],
        include_str!("style.css"),
    );
    Router::new().route(STYLE_PATH, get(async move || style))
}

/// A whole page.
pub(crate) fn frame(title: &str, content: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                link rel="stylesheet" href=(STYLE_PATH);
            }
            body { (content) }
        }
    }
}

/// The answer that shows a page. Nothing of it comes from elsewhere, no page frames it, no cache
/// keeps it.
pub(crate) fn respond(page: String) -> Response {
    let headers: [(HeaderName, &str); 4] = [
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
             form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
        ),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // `no-referrer` would make browsers send `Origin: null` with forms.
        (REFERRER_POLICY, "same-origin"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, Html(page)).into_response()
}

//! The HTTP front of Sluice: it validates, authorises, enqueues and reads, and holds no business
//! rule.
//!
//! One module per surface: `meta` (the metadata cache), `documents`, `jobs` (what became of a job),
//! `board` (the queue board for operators), `health` (probes and metrics), `openapi` (the document
//! and its page). What they share is beside them: [`auth`] (who calls), [`ApiError`] (every answer
//! that is not a success), `body`, `call`, `prefer` (what a request asks for), [`answers`] (what it
//! gets) and `middleware` (what happens to every request).
//!
//! [`router`] puts them together; the caller serves it.

pub mod answers;
pub mod auth;
mod board;
mod body;
mod call;
mod docs;
mod documents;
mod error;
mod health;
mod jobs;
mod meta;
mod middleware;
mod openapi;
mod prefer;
mod query;
mod state;
mod streams;
mod telemetry;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use error::ApiError;
pub use health::probes;
pub use state::{ApiConfig, AppState};
pub use streams::StreamLimits;
pub use telemetry::describe_metrics;

/// No request to this API needs a longer body, in bytes. A longer one is answered 413.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

/// Every route of the API, with its middleware.
pub fn router(state: AppState) -> Router {
    let (surfaces, document) = surfaces(&state.config).split_for_parts();
    let routes = surfaces
        .merge(openapi::routes(&document))
        .merge(board::routes())
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES));
    middleware::wrap(routes, &state).with_state(state)
}

/// What `/openapi.json` says.
pub fn openapi() -> OpenApi {
    surfaces(&ApiConfig::default()).into_openapi()
}

/// The routes that the document describes.
fn surfaces(config: &ApiConfig) -> OpenApiRouter<AppState> {
    let mut surfaces = OpenApiRouter::with_openapi(openapi::document())
        .merge(meta::routes())
        .merge(documents::routes(config))
        .merge(jobs::routes())
        .merge(health::routes());
    openapi::limit(surfaces.get_openapi_mut(), &config.documents);
    surfaces
}

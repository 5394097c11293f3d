//! The HTTP front of Sluice: it validates, authorises, submits and reads, and holds neither a
//! business rule nor a protocol of the parts behind it.
//!
//! One module per surface: `meta` (the metadata cache), `documents`, `filesync` (files of several
//! devices), `jobs` (the state of a job), `operators` (what operators see and do), `board` (the same in HTML), `health` (probes and metrics), `docs` (the OpenAPI
//! document and its page). They stand on `http`, the kit that they share, [`auth`] (who calls),
//! [`answers`] (what a request gets) and `openapi` (how all of it is described).
//!
//! [`router`] puts them together; the caller serves it.

pub mod answers;
pub mod auth;
mod board;
mod docs;
mod documents;
mod filesync;
mod health;
mod http;
mod jobs;
mod meta;
mod openapi;
mod operators;
mod state;
mod telemetry;

use axum::Router;
use axum::http::Uri;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;

pub use health::{Probes, probes};
pub use http::MAX_BODY_BYTES;
pub use http::error::ApiError;
pub use http::problem::Problem;
pub use http::streams::StreamLimits;
pub use state::{ApiConfig, AppState};
pub use telemetry::describe_metrics;

/// Every route of the API, with its middleware.
pub fn router(state: AppState) -> Router {
    let (surfaces, document) = surfaces(&state.config).split_for_parts();
    let routes = surfaces
        .merge(docs::routes(&document))
        .merge(http::page::routes())
        .merge(board::routes())
        .fallback(async || ApiError::NotFound)
        .method_not_allowed_fallback(async || ApiError::MethodNotAllowed);
    http::middleware::wrap(routes, &state, print_of).with_state(state)
}

/// What `/openapi.json` says.
pub fn openapi() -> OpenApi {
    surfaces(&ApiConfig::default()).into_openapi()
}

/// The routes that the document describes.
fn surfaces(config: &ApiConfig) -> OpenApiRouter<AppState> {
    let mut surfaces = OpenApiRouter::with_openapi(openapi::document())
        .merge(meta::routes())
        .merge(documents::routes())
        .merge(filesync::routes())
        .merge(jobs::routes())
        .merge(operators::routes())
        .merge(health::routes());
    openapi::limit(surfaces.get_openapi_mut(), &config.documents);
    surfaces
}

/// How problems of an address are printed, where the surface has a shape of its own.
fn print_of(address: &Uri) -> Option<http::problem::Print> {
    filesync::has(address.path()).then_some(filesync::print)
}

//! Documents: JSON objects with revisions, one namespace per service.

mod answer;
mod batch;
mod conditions;
mod events;
mod frames;
mod list;
mod params;
mod problem;
mod queued;
mod read;
mod request;
mod socket;
mod watching;
mod write;

use axum::routing::{get, put};
use sluice_store::documents::DocumentsConfig;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;
use crate::http::MAX_BODY_BYTES;

/// `/api/sync/{service}/documents…`
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list::list, write::create))
        .routes(routes!(read::get, write::replace, write::delete))
        .routes(routes!(batch::batch))
        .routes(routes!(socket::watch))
        // The documents of these names are read and written as any other.
        .route(
            request::BATCH,
            get(read::get).put(write::replace).delete(write::delete),
        )
        .route(request::WS, put(write::replace).delete(write::delete))
        .routes(routes!(write::merge))
        .routes(routes!(write::mutate))
        .routes(routes!(write::restore))
        .routes(routes!(events::events))
}

/// Most bytes of a body. The limit of a document counts no spaces and escapes; encoders that escape
/// all but ASCII write three bytes for one.
fn longest_body(config: &DocumentsConfig) -> usize {
    3 * config.max_bytes + MAX_BODY_BYTES
}

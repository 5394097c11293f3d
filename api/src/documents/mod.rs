//! Documents: JSON objects with revisions, one namespace per service.

mod answer;
mod batch;
mod events;
mod frames;
mod list;
mod params;
mod queued;
mod read;
mod request;
mod socket;
mod watching;
mod write;

use axum::extract::DefaultBodyLimit;
use axum::routing::{get, put};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::state::ApiConfig;
use crate::{AppState, MAX_BODY_BYTES};

/// `/api/sync/{service}/documents…`
pub(crate) fn routes(config: &ApiConfig) -> OpenApiRouter<AppState> {
    // A document may be written with spaces and escapes, which its limit does not count.
    let longest = 2 * config.documents.max_bytes + MAX_BODY_BYTES;
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
        .layer(DefaultBodyLimit::max(longest))
}

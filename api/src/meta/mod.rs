//! The metadata cache: jobs that fill and drop it ([`requests`]), one entry ([`read`]), many of a
//! user's ([`batch`]), all of them ([`list`]).

mod batch;
mod list;
pub(crate) mod read;
mod reader;
mod requests;

use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::AppState;

/// `/api/v1/e/meta/…` and `/api/v1/meta…`.
pub(crate) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(requests::sync))
        .routes(routes!(requests::prefetch))
        .routes(routes!(requests::invalidate))
        .routes(routes!(read::read))
        .routes(routes!(batch::batch))
        // The entry of this name is read as any other.
        .route(batch::PATH, get(read::read_file_named_batch))
        .routes(routes!(list::list))
}

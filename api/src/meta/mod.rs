//! The metadata cache: jobs that fill and drop it ([`requests`]), one entry ([`read`]), all of a
//! user's ([`list`]).

mod list;
mod read;
mod reader;
mod requests;

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
        .routes(routes!(list::list))
}

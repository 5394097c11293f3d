//! The HTTP surface: routes, and what all of them share.

mod data_sync;
mod export;
mod fivetran;
mod functions;
mod import;
mod incoming;
mod table_import;

use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use super::Embedded;
use super::client_version::check_client;
use super::error::RequestError;

type Answer = Result<Response, RequestError>;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
/// What clients ask for, without a key, before they set a deployment up.
const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn router(embedded: Embedded) -> Router {
    let imports = Router::new()
        .route(
            "/primary_key_indexes_ready",
            get(import::primary_key_indexes_ready),
        )
        .route(
            "/add_primary_key_indexes",
            put(import::add_primary_key_indexes),
        )
        .route("/clear_tables", put(import::clear_tables))
        .route("/replace_tables", post(import::replace_tables))
        .route(
            "/import_airbyte_records",
            post(import::import_airbyte_records),
        )
        .route("/get_schema", get(fivetran::get_schema))
        .route("/fivetran_create_table", post(fivetran::create_table))
        .route("/fivetran_truncate_table", post(fivetran::truncate_table))
        .route(
            "/apply_fivetran_operations",
            post(fivetran::apply_operations),
        );
    let api = Router::new()
        .route("/json_schemas", get(export::json_schemas))
        .route(
            "/list_snapshot",
            get(export::list_snapshot_get).post(export::list_snapshot_post),
        )
        .route(
            "/document_deltas",
            get(export::document_deltas_get).post(export::document_deltas_post),
        )
        .route(
            "/test_streaming_export_connection",
            get(export::test_connection),
        )
        .route("/get_table_column_names", get(export::table_column_names))
        .route(
            "/data_sync_cursor_from_deltas",
            post(data_sync::cursor_from_deltas),
        )
        .route("/import", post(table_import::import))
        .route("/v1/data/sync", post(data_sync::sync))
        .route(
            "/v1/data/list_active_syncs",
            get(data_sync::list_active_syncs),
        )
        .route(
            "/query",
            get(functions::query_get).post(functions::query_post),
        )
        .route("/mutation", post(functions::mutation))
        .nest("/streaming_import", imports)
        .fallback(not_found);
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_credentials(true)
        .max_age(Duration::from_secs(86_400));
    Router::new()
        .nest("/api", api)
        .route("/version", get(VERSION))
        .route("/instance_version", get(VERSION))
        .route("/instance_name", get("sluice"))
        .with_state(embedded)
        .layer(middleware::from_fn(check_and_measure))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .layer(cors)
}

/// Answers whatever else is asked for below `/api`.
async fn not_found() -> RequestError {
    RequestError {
        status: StatusCode::NOT_FOUND,
        code: "NotFound",
        message: "There is nothing at this path. This store answers the streaming export and import, the data sync, \
                  /api/import, /api/query and /api/mutation."
            .to_owned(),
    }
}

/// Checks the `Convex-Client` header before anything else, and counts every request with its
/// outcome.
async fn check_and_measure(request: Request, next: Next) -> Response {
    let start = Instant::now();
    let path = request.extensions().get::<MatchedPath>();
    let route = path.map_or("unknown".to_owned(), |path| path.as_str().to_owned());
    let response = match check_client(request.headers().get("convex-client")) {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    let status = response.status().as_u16().to_string();
    metrics::counter!("sluice_convex_embedded_requests_total", "route" => route.clone(), "status" => status).increment(1);
    metrics::histogram!("sluice_convex_embedded_request_seconds", "route" => route)
        .record(start.elapsed());
    response
}

/// Runs what would keep an async thread busy.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    let stopped = |_| RequestError::internal("The request was given up.");
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

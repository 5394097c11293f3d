//! The HTTP surface: routes, and what all of them share.

mod export;
mod functions;
mod import;

use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::http::HeaderMap;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use tower::limit::GlobalConcurrencyLimitLayer;
use tower_http::cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer};
use tower_http::timeout::TimeoutLayer;

use super::Embedded;
use super::auth::check_client;
use super::error::RequestError;

const REQUEST_TIMEOUT: Duration = Duration::from_secs(300);
const CONCURRENT_REQUESTS: usize = 1024;
/// The largest body of everything but the import.
const BODY_LIMIT: usize = 2 << 20;

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
            "/query",
            get(functions::query_get).post(functions::query_post),
        )
        .route("/mutation", post(functions::mutation))
        .nest("/streaming_import", imports);
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .allow_methods(AllowMethods::mirror_request())
        .allow_credentials(true)
        .max_age(Duration::from_secs(86_400));
    Router::new()
        .nest("/api", api)
        .with_state(embedded)
        .layer(middleware::from_fn(check_and_measure))
        .layer(GlobalConcurrencyLimitLayer::new(CONCURRENT_REQUESTS))
        .layer(TimeoutLayer::with_status_code(
            StatusCode::REQUEST_TIMEOUT,
            REQUEST_TIMEOUT,
        ))
        .layer(cors)
}

/// Checks the `Convex-Client` header before anything else, and counts every request with its outcome.
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

/// Reads a JSON body of at most `limit` bytes. Error: 400 `BadJsonBody`, also for one that is too large.
async fn read_json(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, RequestError> {
    let content_type = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mime = content_type
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let structured = mime.starts_with("application/") && mime.ends_with("+json");
    if mime != "application/json" && !structured {
        return Err(bad_body("The content type has to be application/json."));
    }
    let mut text = BytesMut::new();
    let (mut received, mut chunks) = (0, body.into_data_stream());
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| bad_body("The body did not arrive in full."))?;
        received += chunk.len();
        if received <= limit {
            text.extend_from_slice(&chunk);
        } else if received > 4 * limit {
            break;
        } else {
            // Taken in and dropped, so that a client that is still sending gets to see the answer.
            text.clear();
        }
    }
    if received > limit {
        return Err(bad_body(format!("The body is larger than {limit} bytes.")));
    }
    Ok(text.freeze())
}

fn bad_body(message: impl Into<String>) -> RequestError {
    RequestError::bad_request("BadJsonBody", message)
}

/// Parses a body of the expected shape.
fn parse_json<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, RequestError> {
    serde_json::from_slice(body)
        .map_err(|error| bad_body(format!("The body is not what is expected: {error}.")))
}

/// Runs what would keep an async thread busy.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, RequestError> + Send + 'static,
) -> Result<T, RequestError> {
    let stopped = |_| RequestError::internal("The request was given up.");
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

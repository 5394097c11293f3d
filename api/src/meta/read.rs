//! `GET /api/v1/meta/{fileId}`: one entry, from the cache or through it.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use sluice_convex::ConvexError;
use sluice_store::cache::{Read, ReadError, Source};
use utoipa::IntoParams;

use super::reader::reader;
use crate::answers::Entry;
use crate::auth::Caller;
use crate::http::problem::Problem;
use crate::http::query::{Params, Segment};
use crate::openapi::{ReadErrors, schemas};
use crate::{ApiError, AppState};

/// Longest file id, in bytes.
const MAX_ID_BYTES: usize = 1024;

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadParams {
    /// Whose file it is; the token's subject when left out. Anybody else's needs `meta:read`.
    #[param(value_type = Option<schemas::UserId>, nullable = false)]
    user_id: Option<String>,
}

/// Read one entry
///
/// What is not in the cache is fetched from Convex and cached. The header `x-cache` says where the
/// entry came from: `bulk` (a synced set), `hit` (cached by itself) or `miss` (Convex).
#[utoipa::path(
    get,
    path = "/api/v1/meta/{fileId}",
    operation_id = "getEntry",
    tag = "meta",
    params(("fileId" = schemas::FileId, Path, description = "The file's id"), ReadParams),
    responses(
        (status = 200, description = "The entry", body = Entry,
            headers(("x-cache" = String, description = "`bulk`, `hit` or `miss`"))),
        ReadErrors,
    ),
    security(("token" = []), ("token" = ["meta:read"])),
)]
pub(crate) async fn read(
    State(state): State<AppState>,
    caller: Caller,
    Segment(id): Segment,
    Params(params): Params<ReadParams>,
) -> Result<Response, ApiError> {
    let user = reader(&caller, params.user_id)?;
    if id.len() > MAX_ID_BYTES {
        return Err(ApiError::InvalidRequest(format!(
            "fileId: must not be longer than {MAX_ID_BYTES} bytes"
        )));
    }
    let read = state.entries.read(&user, &id).await;
    let Read { json, cached } = read
        .map_err(|error| why(&error))?
        .ok_or(ApiError::NotFound)?;
    let x_cache = match cached {
        Some(Source::Bulk) => "bulk",
        Some(Source::Single) => "hit",
        None => "miss",
    };
    metrics::counter!("sluice_entry_reads_total", "source" => x_cache).increment(1);
    Ok(entry(x_cache, json))
}

fn entry(x_cache: &'static str, json: Bytes) -> Response {
    let headers = [
        (CONTENT_TYPE.as_str(), "application/json"),
        ("x-cache", x_cache),
    ];
    (headers, json).into_response()
}

/// What a failed read means to one of those who waited for it.
fn why(error: &ReadError<ConvexError>) -> ApiError {
    match error {
        ReadError::TimedOut => ApiError::Unavailable("the cache"),
        ReadError::Cache(error) => ApiError::of_valkey("the cache", error.fault(), error),
        ReadError::Origin(error) if error.is_retryable() => ApiError::Unavailable("Convex"),
        ReadError::Origin(_) => {
            let status = StatusCode::BAD_GATEWAY;
            Problem::new(status, "upstream_failed", "Convex refused the request").into()
        }
    }
}

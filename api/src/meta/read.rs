//! `GET /api/v1/meta/{fileId}`: one entry, from the cache or through it.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Deserialize;
use sluice_store::cache::Source;
use tokio::time::timeout;
use utoipa::IntoParams;

use crate::answers::Entry;
use crate::auth::Caller;
use crate::openapi::{ReadErrors, schemas};
use crate::query::{Params, Segment, reader};
use crate::{ApiError, AppState};

/// How long the cache may take to look an entry up, its own retries included.
const PATIENCE: Duration = Duration::from_secs(5);
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
    let lookup = timeout(PATIENCE, state.cache.read(&user, &id)).await;
    let mut lookup = lookup.map_err(|_| ApiError::Unavailable("the cache"))??;
    let epoch = lookup.epoch;
    let (x_cache, json) = match lookup.hit.take() {
        Some((Source::Bulk, json)) => ("bulk", json),
        Some((Source::Single, json)) => ("hit", json),
        None => {
            let fetched = state.fetches.entry(&state, &user, &id, lookup).await;
            ("miss", fetched.map_err(shared)?.ok_or(ApiError::NotFound)?)
        }
    };
    state.cache.note_access(&user, &id, epoch);
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

/// The same error for everyone who waited for the same fetch.
fn shared(error: Arc<ApiError>) -> ApiError {
    match *error {
        ApiError::Unavailable(part) => ApiError::Unavailable(part),
        ApiError::Valkey { part, fault } => ApiError::Valkey { part, fault },
        ApiError::UpstreamFailed => ApiError::UpstreamFailed,
        _ => ApiError::Internal,
    }
}

//! `GET /api/v1/meta/{fileId}`: one entry, from the cache or through it.

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use metrics::Counter;
use serde::Deserialize;
use sluice_convex::ConvexError;
use sluice_store::cache::{Read, ReadError, ReadOutcome, Source};
use utoipa::IntoParams;

use super::reader::reader;
use crate::answers::Entry;
use crate::auth::Caller;
use crate::http::problem::Problem;
use crate::http::query::{Params, Segment};
use crate::openapi::{ReadErrors, schemas};
use crate::{ApiError, AppState};

/// Longest file id, in bytes.
pub(super) const MAX_ID_BYTES: usize = 1024;
/// Where an entry came from.
pub(super) const X_CACHE: HeaderName = HeaderName::from_static("x-cache");
/// What it says of an entry of a synced set, of one cached by itself, and of one from Convex.
pub(crate) const SOURCES: [&str; 3] = ["bulk", "hit", "miss"];

#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
pub(crate) struct ReadParams {
    /// Whose file it is; the token's subject when left out. Anybody else's needs `meta:read`.
    #[param(value_type = Option<schemas::UserId>, nullable = false)]
    pub(super) user_id: Option<String>,
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
    answer(&state, &caller, params, &id).await
}

/// The entry of the file that is called as the address of [`super::batch`].
pub(super) async fn read_file_named_batch(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ReadParams>,
) -> Result<Response, ApiError> {
    answer(&state, &caller, params, "batch").await
}

async fn answer(
    state: &AppState,
    caller: &Caller,
    params: ReadParams,
    id: &str,
) -> Result<Response, ApiError> {
    let user = reader(caller, params.user_id)?;
    if id.len() > MAX_ID_BYTES {
        return Err(ApiError::InvalidRequest(format!(
            "fileId: must not be longer than {MAX_ID_BYTES} bytes"
        )));
    }
    let read = found(state.entries.read(&user, id).await)?;
    let x_cache = state.reads.count(&read);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (X_CACHE, HeaderValue::from_static(x_cache)),
    ];
    Ok((headers, read.json).into_response())
}

/// The entry that was read, or why there is none.
pub(super) fn found(read: ReadOutcome<ConvexError>) -> Result<Read, ApiError> {
    read.map_err(|error| why(&error))?.ok_or(ApiError::NotFound)
}

/// Counts reads by where the entries were.
pub(crate) struct Reads([(&'static str, Counter); 3]);

impl Default for Reads {
    fn default() -> Self {
        Self(SOURCES.map(|source| {
            let counter = metrics::counter!("sluice_entry_reads_total", "source" => source);
            (source, counter)
        }))
    }
}

impl Reads {
    /// Counts one, and returns what `x-cache` says of it.
    pub(super) fn count(&self, read: &Read) -> &'static str {
        let (source, counter) = match read.cached {
            Some(Source::Bulk) => &self.0[0],
            Some(Source::Single) => &self.0[1],
            None => &self.0[2],
        };
        counter.increment(1);
        source
    }
}

/// What a failed read means to one of those who waited for it.
pub(super) fn why(error: &ReadError<ConvexError>) -> ApiError {
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

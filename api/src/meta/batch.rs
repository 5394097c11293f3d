//! `POST /api/v1/meta/batch`: many entries of one user in one request.

use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use sluice_convex::ConvexError;
use sluice_store::cache::ReadOutcome;
use utoipa::ToSchema;

use super::read::{MAX_ID_BYTES, ReadParams, Reads, X_CACHE, found, why};
use super::reader::reader;
use crate::answers::EntryBatch;
use crate::auth::Caller;
use crate::http::MAX_BODY_BYTES;
use crate::http::body::{Body, json_text};
use crate::http::problem::{ErrorBody, Problem};
use crate::http::query::Params;
use crate::openapi::{BatchReadErrors, schemas};
use crate::{ApiError, AppState};

/// The address, which is also that of the file `batch`.
pub(super) const PATH: &str = "/api/v1/meta/batch";
/// Most entries of one request.
const MAX_IDS: usize = 1_000;
/// Most bytes of a body: encoders that escape all but ASCII write three bytes for one.
const LONGEST_BODY: usize = 3 * MAX_IDS * MAX_ID_BYTES + MAX_BODY_BYTES;

/// Which entries to read.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct EntryIds {
    /// 1 to 1000 ids of files. One may be named more than once.
    #[schema(value_type = Vec<schemas::FileId>, min_items = 1, max_items = 1000)]
    ids: Vec<String>,
}

/// Read many entries
///
/// Each is read as by itself and has an outcome of its own, in the order of the ids: the `status`
/// that the call by itself would have been answered with, then `x-cache` and the `entry`, or the
/// `error`. Those that are cached are read together.
#[utoipa::path(
    post,
    path = "/api/v1/meta/batch",
    operation_id = "getEntries",
    tag = "meta",
    params(ReadParams),
    request_body = EntryIds,
    responses(
        (status = 200, description = "The outcome of each", body = EntryBatch),
        BatchReadErrors,
    ),
    security(("token" = []), ("token" = ["meta:read"])),
)]
pub(crate) async fn batch(
    State(state): State<AppState>,
    caller: Caller,
    Params(params): Params<ReadParams>,
    mut request: Request,
) -> Result<Response, ApiError> {
    let user = reader(&caller, params.user_id)?;
    DefaultBodyLimit::max(LONGEST_BODY).apply(&mut request);
    let text = json_text(request, &state)
        .await
        .map_err(|error| match error {
            ApiError::BodyTooLarge => body_too_large(),
            error => error,
        })?;
    let Body(EntryIds { ids }) = Body::parse(&text)?;
    check(&ids).map_err(ApiError::InvalidRequest)?;
    let outcomes = state.entries.read_many(&user, &ids).await;
    let body = write(&ids, outcomes.map_err(|error| why(&error))?, &state.reads);
    let body = body.map_err(|error| {
        tracing::error!(%error, "an answer cannot be written");
        ApiError::Internal
    })?;
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn body_too_large() -> ApiError {
    let message = format!("body: must not be longer than {LONGEST_BODY} bytes");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "invalid_request", message).into()
}

fn check(ids: &[String]) -> Result<(), String> {
    if !(1..=MAX_IDS).contains(&ids.len()) {
        return Err(format!("ids: must hold 1 to {MAX_IDS} ids"));
    }
    let is_bad = |id: &String| !(1..=MAX_ID_BYTES).contains(&id.len());
    match ids.iter().position(is_bad) {
        Some(at) => Err(format!("ids[{at}]: must be 1 to {MAX_ID_BYTES} bytes long")),
        None => Ok(()),
    }
}

/// Writes the answer with the entries as they are cached.
fn write(
    ids: &[String],
    outcomes: Vec<ReadOutcome<ConvexError>>,
    reads: &Reads,
) -> serde_json::Result<Vec<u8>> {
    let mut body = Vec::with_capacity(1_024 * outcomes.len());
    let mut separator: &[u8] = b"{\"entries\":[";
    for (id, outcome) in ids.iter().zip(outcomes) {
        body.extend_from_slice(separator);
        separator = b",";
        body.extend_from_slice(b"{\"id\":");
        serde_json::to_writer(&mut body, id)?;
        let outcome = found(outcome);
        let status = outcome
            .as_ref()
            .map_or_else(ApiError::status, |_| StatusCode::OK);
        body.extend_from_slice(format!(",\"status\":{}", status.as_u16()).as_bytes());
        match outcome {
            Ok(read) => {
                let x_cache = reads.count(&read);
                let head = format!(",\"{X_CACHE}\":\"{x_cache}\",\"entry\":");
                body.extend_from_slice(head.as_bytes());
                body.extend_from_slice(&read.json);
            }
            Err(error) => {
                body.extend_from_slice(b",\"error\":");
                serde_json::to_writer(&mut body, &ErrorBody(error.problem()))?;
            }
        }
        body.push(b'}');
    }
    body.extend_from_slice(b"]}");
    Ok(body)
}

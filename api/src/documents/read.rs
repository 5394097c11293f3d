//! `GET /api/sync/{service}/documents/{id}`

use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};

use super::answer::{answer, etag};
use super::params::DocumentPath;
use super::request::{Reading, is_known};
use crate::answers::Document;
use crate::openapi::DocumentErrors;
use crate::{ApiError, AppState};

/// Read a document
///
/// The `ETag` is its revision; with `If-None-Match` the answer to a revision that the caller has is 304.
#[utoipa::path(
    get,
    path = "/api/sync/{service}/documents/{id}",
    operation_id = "getDocument",
    tag = "documents",
    params(
        DocumentPath,
        ("If-None-Match" = Option<String>, Header, description = "The `ETag` of a revision that the caller has"),
    ),
    responses(
        (status = 200, description = "The document", body = Document),
        (status = 304, description = "The caller has this revision"),
        DocumentErrors,
    ),
    security(("token" = ["docs:read"])),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    Reading { service, id, .. }: Reading,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let document = state.documents.get(&service, &id).await?;
    if is_known(&headers, document.revision) {
        let etag = [(ETAG, etag(document.revision))];
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok(answer(StatusCode::OK, document))
}

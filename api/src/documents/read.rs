//! `GET /api/sync/{service}/documents/{id}`

use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use sluice_store::documents::DocumentError;

use super::answer::answer;
use super::conditions::conditions;
use super::params::DocumentPath;
use super::request::Reading;
use crate::answers::Document;
use crate::http::conditions::etag;
use crate::openapi::{DocumentErrors, schemas};
use crate::{ApiError, AppState};

/// Read a document
///
/// The `ETag` names this state of the document; with `If-None-Match` the answer is 304 when the
/// caller has it.
#[utoipa::path(
    get,
    path = "/api/sync/{service}/documents/{id}",
    operation_id = "getDocument",
    tag = "documents",
    params(
        DocumentPath,
        ("If-Match" = Option<schemas::Precondition>, Header, nullable = false, description = "The only `ETag`s to read it at; at others the answer is 412"),
        ("If-None-Match" = Option<schemas::Precondition>, Header, nullable = false, description = "The `ETag`s that the caller has"),
    ),
    responses(
        (status = 200, description = "The document", body = Document),
        (status = 304, description = "The caller has it"),
        DocumentErrors,
    ),
    security(("token" = ["docs:read"])),
)]
pub(crate) async fn get(
    State(state): State<AppState>,
    Reading { service, id, .. }: Reading,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let conditions = conditions(&headers)?;
    let document = match state.documents.get(&service, &id).await {
        Err(DocumentError::NotFound) => {
            conditions.check_match(None)?;
            return Err(ApiError::NotFound);
        }
        found => found?,
    };
    conditions.check_match(Some(document.version()))?;
    if conditions.is_known(document.version()) {
        let etag = [(ETAG, etag(document.version()))];
        return Ok((StatusCode::NOT_MODIFIED, etag).into_response());
    }
    Ok(answer(StatusCode::OK, document))
}

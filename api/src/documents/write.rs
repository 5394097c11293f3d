//! Writes of documents.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use sluice_jobs::documents::DocumentWrite;
use sluice_store::documents::{Change, Data, Expiry, Mutation, Version};
use utoipa::{IntoResponses, ToSchema};

use super::params::{CreateParams, WriteParams};
use super::queued::make;
use super::request::{DocumentBody, Expectation, Writing, check_name, expiry, some_mutations};
use crate::answers::{Accepted, Document};
use crate::openapi::{DocumentErrors, schemas};
use crate::{ApiError, AppState};

/// A document to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Create {
    /// Its content.
    #[schema(value_type = BTreeMap<String, Value>)]
    data: Data,
    /// Its id, 1 to 128 of letters, digits, `_`, `-`, `.` and `:`. One is made when it is left out.
    #[serde(default)]
    #[schema(value_type = Option<schemas::Name>)]
    id: Option<String>,
    /// From when on it will be gone, in milliseconds since 1970; never when left out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<schemas::ExpiryTime>)]
    expires_at: Expiry,
}

/// New data of a document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Update {
    /// All of it, or with a merge what changes.
    #[schema(value_type = BTreeMap<String, Value>)]
    data: Data,
    /// The revision that the document must be at.
    #[serde(default)]
    #[schema(value_type = Option<schemas::Revision>)]
    expected_revision: Option<Version>,
    /// From when on it will be gone, in milliseconds since 1970; null for never, as it is when left
    /// out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<schemas::ExpiryTime>)]
    expires_at: Expiry,
}

/// What to do to a document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Mutate {
    /// At least one, each `{"op", "path", "value"}`, with `from` in place of `value` for `move` and
    /// `copy`. Paths are JSON Pointers (RFC 6901) into `data`.
    #[serde(deserialize_with = "some_mutations")]
    #[schema(value_type = schemas::Mutations, example = json!([{"op": "increment", "path": "/count", "value": 1}]))]
    mutations: Vec<Mutation>,
    /// The revision that the document must be at.
    #[serde(default)]
    #[schema(value_type = Option<schemas::Revision>)]
    expected_revision: Option<Version>,
    /// From when on it will be gone, in milliseconds since 1970; null for never, as it is when left
    /// out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<schemas::ExpiryTime>)]
    expires_at: Expiry,
}

/// What writes to a document are answered.
#[derive(IntoResponses)]
#[expect(dead_code, reason = "describes answers, which are made elsewhere")]
pub(crate) enum Written {
    /// The document
    #[response(status = 200)]
    Now(#[to_schema] Document),
    /// A job will make the write
    #[response(status = 202)]
    Later(#[to_schema] Accepted),
}

/// Create a document
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents",
    operation_id = "createDocument",
    tag = "documents",
    params(CreateParams),
    request_body = Create,
    responses(
        (status = 201, description = "The document, at revision 1", body = Document,
            headers(("location" = String, description = "Its address"))),
        (status = 202, description = "A job will create it", body = Accepted),
        DocumentErrors,
    ),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Create>,
) -> Result<Response, ApiError> {
    let key = writing.idempotency_key.as_deref();
    let id = body.id.unwrap_or_else(|| Writing::new_id(key));
    check_name("id", &id)?;
    let location = format!("/api/sync/{}/documents/{id}", writing.target.service);
    let write = writing.write(Change::Create(body.data, body.expires_at), None)?;
    let answer = make(
        &state,
        &writing,
        DocumentWrite { id, write },
        StatusCode::CREATED,
    )
    .await?;
    if answer.status() != StatusCode::CREATED {
        return Ok(answer);
    }
    Ok((AppendHeaders([(LOCATION, location)]), answer).into_response())
}

/// Replace a document's data
#[utoipa::path(
    put,
    path = "/api/sync/{service}/documents/{id}",
    operation_id = "replaceDocument",
    tag = "documents",
    params(WriteParams),
    request_body = Update,
    responses(Written, DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn replace(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Update>,
) -> Result<Response, ApiError> {
    let change = Change::Replace(body.data, body.expires_at);
    update(&state, &writing, change, body.expected_revision).await
}

/// Merge into a document
///
/// A deep merge as RFC 7396 has it: fields that are not named stay, those that are null go.
#[utoipa::path(
    patch,
    path = "/api/sync/{service}/documents/{id}/merge",
    operation_id = "mergeDocument",
    tag = "documents",
    params(WriteParams),
    request_body = Update,
    responses(Written, DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn merge(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Update>,
) -> Result<Response, ApiError> {
    update(
        &state,
        &writing,
        Change::Merge(body.data, body.expires_at),
        body.expected_revision,
    )
    .await
}

/// Mutate a document
///
/// All mutations are made in order, as one revision, or none is. `set` puts a value at a place or
/// into a new field, `unset` takes it away; `increment` adds to a number, `toggle` turns a boolean,
/// `append` and `insert` (before an index, or `-`) add to an array, `merge` merges an object as RFC
/// 7396 has it; `move` and `copy` take a value from `from`; `test` fails unless the value is there.
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents/{id}/mutate",
    operation_id = "mutateDocument",
    tag = "documents",
    params(WriteParams),
    request_body = Mutate,
    responses(Written, DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn mutate(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Mutate>,
) -> Result<Response, ApiError> {
    update(
        &state,
        &writing,
        Change::Mutate(body.mutations, body.expires_at),
        body.expected_revision,
    )
    .await
}

/// Delete a document
///
/// It can be restored for some time, and its id is not free until then.
#[utoipa::path(
    delete,
    path = "/api/sync/{service}/documents/{id}",
    operation_id = "deleteDocument",
    tag = "documents",
    params(WriteParams),
    request_body = Option<Expectation>,
    responses(Written, DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    writing: Writing,
    body: Expectation,
) -> Result<Response, ApiError> {
    update(&state, &writing, Change::Delete, body.expected_revision).await
}

/// Restore a deleted document
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents/{id}/restore",
    operation_id = "restoreDocument",
    tag = "documents",
    params(WriteParams),
    request_body = Option<Expectation>,
    responses(Written, DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn restore(
    State(state): State<AppState>,
    writing: Writing,
    body: Expectation,
) -> Result<Response, ApiError> {
    update(&state, &writing, Change::Restore, body.expected_revision).await
}

/// Writes to a document that is there.
async fn update(
    state: &AppState,
    writing: &Writing,
    change: Change,
    expected_revision: Option<Version>,
) -> Result<Response, ApiError> {
    let write = DocumentWrite {
        id: writing.target.id.clone(),
        write: writing.write(change, expected_revision)?,
    };
    make(state, writing, write, StatusCode::OK).await
}

//! Writes of documents.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{AppendHeaders, IntoResponse, Response};
use serde::Deserialize;
use serde::de::{Deserializer, Error as _};
use sluice_store::documents::{Change, Data, DocumentError, Expiry, Mutation};
use utoipa::ToSchema;

use super::answer::answer;
use super::request::{DocumentBody, IdempotencyHeader, WriteHeaders, Writing, check_name, expiry};
use crate::answers::Document;
use crate::openapi::DocumentErrors;
use crate::{ApiError, AppState};

/// A document to create.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Create {
    /// Its content.
    #[schema(value_type = Object)]
    data: Data,
    /// Its id, 1 to 128 of letters, digits, `_`, `-`, `.` and `:`. One is made when it is left out.
    #[serde(default)]
    id: Option<String>,
    /// From when on it will be gone, in milliseconds since 1970; never when left out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<u64>)]
    expires_at: Expiry,
}

/// New data of a document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Update {
    /// All of it, or with a merge what changes.
    #[schema(value_type = Object)]
    data: Data,
    /// The revision that the document must be at.
    #[serde(default)]
    expected_revision: Option<u64>,
    /// From when on it will be gone, in milliseconds since 1970; null for never, as it is when left out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<u64>)]
    expires_at: Expiry,
}

/// What to do to a document.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct Mutate {
    /// At least one, each `{"op", "path", "value"}`, with `from` in place of `value` for `move` and `copy`. Paths are JSON
    /// Pointers (RFC 6901) into `data`.
    #[serde(deserialize_with = "some_mutations")]
    #[schema(value_type = Vec<Object>, example = json!([{"op": "increment", "path": "/count", "value": 1}]))]
    mutations: Vec<Mutation>,
    /// The revision that the document must be at.
    #[serde(default)]
    expected_revision: Option<u64>,
    /// From when on it will be gone, in milliseconds since 1970; null for never, as it is when left out.
    #[serde(default, deserialize_with = "expiry")]
    #[schema(value_type = Option<u64>)]
    expires_at: Expiry,
}

fn some_mutations<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Mutation>, D::Error> {
    let mutations = Vec::deserialize(deserializer)?;
    if mutations.is_empty() {
        return Err(D::Error::custom("must hold at least one mutation"));
    }
    Ok(mutations)
}

/// Create a document
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents",
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        IdempotencyHeader,
    ),
    request_body = Create,
    responses(
        (status = 201, description = "The document, at revision 1", body = Document,
            headers(("location" = String, description = "Its address"))),
        DocumentErrors,
    ),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn create(
    State(state): State<AppState>,
    writing: Writing,
    DocumentBody(body): DocumentBody<Create>,
) -> Result<Response, ApiError> {
    // Under one key one id is made, however often.
    let id = body.id.unwrap_or_else(|| match &writing.idempotency_key {
        Some(key) => format!("doc_{key}"),
        None => format!("doc_{:032x}", rand::random::<u128>()),
    });
    check_name("id", &id)?;
    let service = &writing.service;
    let write = writing.write(Change::Create(body.data, body.expires_at), None)?;
    let document = state.documents.write(service, &id, &write).await?;
    let location = format!("/api/sync/{service}/documents/{id}");
    let created = answer(StatusCode::CREATED, document);
    Ok((AppendHeaders([(LOCATION, location)]), created).into_response())
}

/// Replace a document's data
#[utoipa::path(
    put,
    path = "/api/sync/{service}/documents/{id}",
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        ("id" = String, Path, description = "Its id"),
        WriteHeaders,
        IdempotencyHeader,
    ),
    request_body = Update,
    responses((status = 200, description = "The document", body = Document), DocumentErrors),
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
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        ("id" = String, Path, description = "Its id"),
        WriteHeaders,
        IdempotencyHeader,
    ),
    request_body = Update,
    responses((status = 200, description = "The document", body = Document), DocumentErrors),
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
/// All mutations are made in order, as one revision, or none is. `set` puts a value at a place or into a new field, `unset` takes
/// it away; `increment` adds to a number, `toggle` turns a boolean, `append` and `insert` (before an index, or `-`) add to an
/// array, `merge` merges an object as RFC 7396 has it; `move` and `copy` take a value from `from`; `test` fails unless the value
/// is there.
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents/{id}/mutate",
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        ("id" = String, Path, description = "Its id"),
        WriteHeaders,
        IdempotencyHeader,
    ),
    request_body = Mutate,
    responses((status = 200, description = "The document", body = Document), DocumentErrors),
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
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        ("id" = String, Path, description = "Its id"),
        WriteHeaders,
        IdempotencyHeader,
    ),
    responses((status = 200, description = "The document", body = Document), DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn delete(
    State(state): State<AppState>,
    writing: Writing,
) -> Result<Response, ApiError> {
    update(&state, &writing, Change::Delete, None).await
}

/// Restore a deleted document
#[utoipa::path(
    post,
    path = "/api/sync/{service}/documents/{id}/restore",
    tag = "documents",
    params(
        ("service" = String, Path, description = "The service it belongs to"),
        ("id" = String, Path, description = "Its id"),
        WriteHeaders,
        IdempotencyHeader,
    ),
    responses((status = 200, description = "The document", body = Document), DocumentErrors),
    security(("token" = ["docs:write"])),
)]
pub(crate) async fn restore(
    State(state): State<AppState>,
    writing: Writing,
) -> Result<Response, ApiError> {
    update(&state, &writing, Change::Restore, None).await
}

/// Writes to a document that is there.
async fn update(
    state: &AppState,
    writing: &Writing,
    change: Change,
    expected_revision: Option<u64>,
) -> Result<Response, ApiError> {
    let write = writing.write(change, expected_revision)?;
    let written = state
        .documents
        .write(&writing.service, &writing.id, &write)
        .await;
    match written {
        Ok(document) => Ok(answer(StatusCode::OK, document)),
        Err(DocumentError::RevisionConflict { expected, current })
            if writing.if_match.is_some() =>
        {
            Err(ApiError::PreconditionFailed { expected, current })
        }
        Err(error) => Err(error.into()),
    }
}

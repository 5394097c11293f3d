//! What only requests about documents can be refused or fail with.
//!
//! | status | code |
//! |---|---|
//! | 400 | `invalid_mutation` (names its `mutation`), `too_many_mutations`, `document_too_deep`, `invalid_request` |
//! | 404 | `not_found` |
//! | 409 | `already_exists`, `not_deleted`, `revision_conflict` (names both revisions) |
//! | 412 | `revision_conflict`: what `If-Match` or `If-None-Match` rules out; names the revisions that are known |
//! | 413 | `document_too_large` |
//! | 422 | `idempotency_key_reused` |
//! | 503 | `json_module_missing`, `unavailable`, `queue_full` |

use axum::http::StatusCode;
use sluice_store::documents::DocumentError;

use crate::ApiError;
use crate::http::problem::Problem;

/// The body is longer than any that a document needs.
pub(super) fn body_too_large(limit: usize) -> ApiError {
    let message = format!("body: must not be longer than {limit} bytes");
    let status = StatusCode::PAYLOAD_TOO_LARGE;
    Problem::new(status, "document_too_large", message).into()
}

/// The same error, of the write at that place of a batch.
pub(super) fn of_write(error: &ApiError, index: usize) -> ApiError {
    let Problem {
        status,
        code,
        message,
        extra,
    } = error.problem();
    let message = format!("writes[{index}]: {message}");
    let mut problem = Problem::new(status, code, message).with("write", Some(index));
    problem.extra.extend(extra);
    problem.into()
}

fn problem(error: &DocumentError) -> Problem {
    let (status, code) = status_and_code(error);
    let mutation = match error {
        DocumentError::Mutation { index, .. } => Some(*index),
        DocumentError::TooLarge { mutation, .. } | DocumentError::TooDeep { mutation, .. } => {
            *mutation
        }
        _ => None,
    };
    let (expected, current) = match *error {
        DocumentError::RevisionConflict { expected, current } => {
            (Some(expected.revision), Some(current.revision))
        }
        DocumentError::ConditionFailed { expected, current } => (expected, current),
        _ => (None, None),
    };
    Problem::new(status, code, error)
        .with("mutation", mutation)
        .with("expectedRevision", expected)
        .with("currentRevision", current)
}

fn status_and_code(error: &DocumentError) -> (StatusCode, &'static str) {
    match error {
        DocumentError::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        DocumentError::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
        DocumentError::NotDeleted => (StatusCode::CONFLICT, "not_deleted"),
        DocumentError::Mutation { .. } => (StatusCode::BAD_REQUEST, "invalid_mutation"),
        DocumentError::TooManyMutations { .. } => (StatusCode::BAD_REQUEST, "too_many_mutations"),
        DocumentError::RevisionConflict { .. } => (StatusCode::CONFLICT, "revision_conflict"),
        DocumentError::ConditionFailed { .. } => {
            (StatusCode::PRECONDITION_FAILED, "revision_conflict")
        }
        DocumentError::TooDeep { .. } => (StatusCode::BAD_REQUEST, "document_too_deep"),
        DocumentError::TooLarge { .. } => (StatusCode::PAYLOAD_TOO_LARGE, "document_too_large"),
        DocumentError::AlreadyExpired => (StatusCode::BAD_REQUEST, "invalid_request"),
        DocumentError::IdempotencyKeyReused => {
            (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
        }
        DocumentError::NoJsonModule => (StatusCode::SERVICE_UNAVAILABLE, "json_module_missing"),
        DocumentError::Contended | DocumentError::Waiting => {
            (StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        }
        DocumentError::NotAccepted | DocumentError::Malformed(_) | DocumentError::Store(_) => {
            (StatusCode::INTERNAL_SERVER_ERROR, "internal")
        }
    }
}

impl From<DocumentError> for ApiError {
    fn from(error: DocumentError) -> Self {
        match error {
            DocumentError::Store(error) => error.into(),
            DocumentError::IdempotencyKeyReused => Self::IdempotencyKeyReused,
            DocumentError::NotFound => Self::NotFound,
            DocumentError::Malformed(error) => {
                // The error is named by its kind alone, for its text could quote the document.
                tracing::error!(kind = ?error.classify(), "a stored document is malformed");
                Self::Internal
            }
            error => problem(&error).into(),
        }
    }
}

//! Every answer that is not a success, with its status and its one JSON shape
//! `{"error", "message"}`.

use std::fmt::Display;

use axum::Json;
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use sluice_jobs::Refusal;
use sluice_queue::{JobId, QueueError};
use sluice_store::StoreError;
use sluice_store::documents::DocumentError;
use sluice_valkey::Fault;
use utoipa::ToSchema;

use crate::MAX_BODY_BYTES;
use crate::auth::Scope;

/// Seconds after which a caller should try again when a part behind the API does not answer.
const RETRY_AFTER_SECS: &str = "2";

/// What a request can be refused or fail with. The message of each is written for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400 `invalid_request`: names the field and the rule it breaks.
    #[error("{0}")]
    InvalidRequest(String),
    /// 400 `limit_exceeded`: a sync that takes all or nothing does not fit the limit (in bytes).
    #[error("the user's entries exceed the limit of {limit} bytes; nothing was synced")]
    LimitExceeded {
        /// Bytes of id + entry, summed, that one sync may hold.
        limit: u64,
    },
    /// 401 `unauthorized`: no token, or one that does not hold; says what is wrong with it.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403 `forbidden`: the token is good but lacks this scope.
    #[error("this needs a token with the scope {0}")]
    Forbidden(Scope),
    /// 403 `forbidden`: a form was posted to the board from a page that is not the board's.
    #[error("this request does not come from a page of the board")]
    CrossOrigin,
    /// 404 `not_found`: no such route, entry or job.
    #[error("there is nothing here")]
    NotFound,
    /// 404 `user_not_found`: neither Convex nor the cache has anything of this user.
    #[error("the user has no files")]
    UserNotFound,
    /// A document could not be read or written:
    ///
    /// | status | code |
    /// |---|---|
    /// | 400 | `invalid_mutation` (names its `mutation`), `too_many_mutations`, `document_too_deep`, `invalid_request` |
    /// | 404 | `not_found` |
    /// | 409 | `already_exists`, `not_deleted`, `revision_conflict` (names both revisions) |
    /// | 412 | `revision_conflict`: what `If-Match` or `If-None-Match` rules out; names the revisions that are known |
    /// | 413 | `document_too_large` |
    /// | 422 | `idempotency_key_reused` |
    /// | 503 | `json_module_missing`, `unavailable` |
    #[error("{0}")]
    Document(DocumentError),
    /// A write of a batch that is wrong in itself; has the status and code of `error`, and names
    /// the write's place.
    #[error("writes[{index}]: {error}")]
    Write {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        error: Box<ApiError>,
    },
    /// 405 `method_not_allowed`.
    #[error("this address does not answer this method")]
    MethodNotAllowed,
    /// 409 `invalidated`: the user's entries were invalidated while the job ran.
    #[error("the user's entries were invalidated meanwhile")]
    Invalidated,
    /// 409 `job_cancelled`: an operator cancelled the job.
    #[error("the job was cancelled")]
    JobCancelled(JobId),
    /// 409 `cursor_expired`: the set that the cursor points into was replaced; begin again without
    /// it.
    #[error("cursor: the listed set was replaced meanwhile; list again without a cursor")]
    CursorExpired,
    /// 413 `invalid_request`: the body is longer than [`MAX_BODY_BYTES`].
    #[error("body: must not be longer than {MAX_BODY_BYTES} bytes")]
    BodyTooLarge,
    /// 413 `document_too_large`: the body of a request about documents is longer than any that a
    /// document needs.
    #[error("body: must not be longer than {limit} bytes")]
    DocumentBodyTooLarge {
        /// The most bytes.
        limit: usize,
    },
    /// 422 `idempotency_key_reused`: the key came with another body before.
    #[error("idempotency-key: was used with another request body")]
    IdempotencyKeyReused,
    /// 429 `too_many_streams`: the user has as many WebSockets and event streams open as one may
    /// have.
    #[error("the user has {limit} WebSockets and event streams open, more are not allowed")]
    TooManyStreams {
        /// How many one may have.
        limit: usize,
    },
    /// 503 `too_many_streams`: there are as many WebSockets and event streams open here as there
    /// may be.
    #[error("there are too many WebSockets and event streams open")]
    NoStreamLeft,
    /// 500 `job_failed`: the job is among the dead letters.
    #[error("{message}")]
    JobFailed {
        /// The job, for the operator's board.
        job: JobId,
        /// What its last attempt failed with.
        message: String,
    },
    /// 500 `internal`: a fault of Sluice's own. The cause is logged, not told.
    #[error("an internal error; the log has it under this answer's x-request-id")]
    Internal,
    /// 502 `upstream_failed`: Convex answered, and trying again will not help.
    #[error("Convex refused the request")]
    UpstreamFailed,
    /// 503 `unavailable`: a part behind the API does not answer; names it. Comes with
    /// `Retry-After`.
    #[error("{0} does not answer")]
    Unavailable(&'static str),
    /// 503: Valkey does not do what it was asked, for now; names the part behind the API, and why.
    /// `out_of_memory` when its memory is full, else `unavailable`. Comes with `Retry-After`.
    #[error("{part} {}", .fault.as_str())]
    Valkey {
        /// What of Sluice is concerned: "the cache".
        part: &'static str,
        /// Why.
        fault: Fault,
    },
    /// 504 `timeout`: the request took longer than any may.
    #[error("the request took too long")]
    Timeout,
}

/// The body of every error.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorBody {
    /// A stable code, such as `invalid_request`.
    error: &'static str,
    /// What is wrong, in words.
    message: String,
    /// The job concerned, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    job: Option<String>,
    /// The write of a batch that is wrong, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    write: Option<usize>,
    /// The mutation that does not fit, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    mutation: Option<usize>,
    /// The document's revision that the request expected.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    expected_revision: Option<u64>,
    /// The revision that the document is at.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    current_revision: Option<u64>,
}

impl ApiError {
    fn status_and_code(&self) -> (StatusCode, &'static str) {
        match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::LimitExceeded { .. } => (StatusCode::BAD_REQUEST, "limit_exceeded"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) | Self::CrossOrigin => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::UserNotFound => (StatusCode::NOT_FOUND, "user_not_found"),
            Self::Document(error) => document(error),
            Self::Write { error, .. } => error.status_and_code(),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::Invalidated => (StatusCode::CONFLICT, "invalidated"),
            Self::JobCancelled(_) => (StatusCode::CONFLICT, "job_cancelled"),
            Self::CursorExpired => (StatusCode::CONFLICT, "cursor_expired"),
            Self::DocumentBodyTooLarge { .. } => {
                (StatusCode::PAYLOAD_TOO_LARGE, "document_too_large")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
            }
            Self::TooManyStreams { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_streams"),
            Self::NoStreamLeft => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
            Self::JobFailed { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "job_failed"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::UpstreamFailed => (StatusCode::BAD_GATEWAY, "upstream_failed"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Valkey { fault, .. } => match fault {
                Fault::OutOfMemory => (StatusCode::SERVICE_UNAVAILABLE, "out_of_memory"),
                _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            },
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        }
    }

    /// The HTTP status this is answered with.
    pub fn status(&self) -> StatusCode {
        self.status_and_code().0
    }

    /// The same error, of the write at that place of a batch.
    pub(crate) fn of_write(self, index: usize) -> Self {
        let error = Box::new(self);
        Self::Write { index, error }
    }

    /// What a failed call to Valkey means to the caller. Only what may pass is worth another try.
    pub(crate) fn of_valkey(part: &'static str, fault: Option<Fault>, error: &dyn Display) -> Self {
        match fault {
            Some(fault) if !fault.is_final() => {
                tracing::warn!(%error, "{part} {}", fault.as_str());
                Self::Valkey { part, fault }
            }
            _ => {
                tracing::error!(%error, "{part} failed");
                Self::Internal
            }
        }
    }

    fn job(&self) -> Option<String> {
        match self {
            Self::JobFailed { job, .. } | Self::JobCancelled(job) => Some(job.to_string()),
            _ => None,
        }
    }

    fn mutation(&self) -> Option<usize> {
        match self {
            Self::Document(DocumentError::Mutation { index, .. }) => Some(*index),
            Self::Document(
                DocumentError::TooLarge { mutation, .. } | DocumentError::TooDeep { mutation, .. },
            ) => *mutation,
            Self::Write { error, .. } => error.mutation(),
            _ => None,
        }
    }

    /// The revision that was expected, and the one there is.
    fn revisions(&self) -> (Option<u64>, Option<u64>) {
        match *self {
            Self::Document(DocumentError::RevisionConflict { expected, current }) => {
                (Some(expected.revision), Some(current.revision))
            }
            Self::Document(DocumentError::ConditionFailed { expected, current }) => {
                (expected, current)
            }
            _ => (None, None),
        }
    }

    /// RFC 6750, section 3: what the caller must bring. The descriptions hold no quotes.
    fn challenge(&self) -> Option<String> {
        match self {
            Self::Unauthorized(reason) => Some(format!(
                "Bearer realm=\"sluice\", error=\"invalid_token\", error_description=\"{reason}\""
            )),
            Self::Forbidden(scope) => Some(format!(
                "Bearer realm=\"sluice\", error=\"insufficient_scope\", scope=\"{}\"",
                scope
            )),
            _ => None,
        }
    }
}

impl From<&ApiError> for ErrorBody {
    fn from(error: &ApiError) -> Self {
        Self {
            error: error.status_and_code().1,
            message: error.to_string(),
            job: error.job(),
            write: match *error {
                ApiError::Write { index, .. } => Some(index),
                _ => None,
            },
            mutation: error.mutation(),
            expected_revision: error.revisions().0,
            current_revision: error.revisions().1,
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = self.status();
        let mut response = (status, Json(ErrorBody::from(&self))).into_response();
        let headers = response.headers_mut();
        if let Some(challenge) = self.challenge()
            && let Ok(challenge) = HeaderValue::try_from(challenge)
        {
            headers.insert(WWW_AUTHENTICATE, challenge);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECS));
        }
        response
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::LimitExceeded { limit } => Self::LimitExceeded { limit },
            Refusal::UserNotFound => Self::UserNotFound,
            Refusal::Invalidated => Self::Invalidated,
        }
    }
}

impl From<QueueError> for ApiError {
    fn from(error: QueueError) -> Self {
        match error {
            QueueError::IdempotencyKeyReused { .. } => Self::IdempotencyKeyReused,
            QueueError::NotFound(_) | QueueError::InvalidId(_) | QueueError::InvalidQueue(_) => {
                Self::NotFound
            }
            error => Self::of_valkey("the queue", error.fault(), &error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::CursorExpired => Self::CursorExpired,
            StoreError::InvalidCursor => Self::InvalidRequest(
                "cursor: must be one that an earlier page of this listing gave".to_owned(),
            ),
            error => Self::of_valkey("the cache", error.fault(), &error),
        }
    }
}

fn document(error: &DocumentError) -> (StatusCode, &'static str) {
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
                // The error is told by its kind alone, for its text could quote the document.
                tracing::error!(kind = ?error.classify(), "a stored document is malformed");
                Self::Internal
            }
            error => Self::Document(error),
        }
    }
}

//! What a request to any surface can be refused or fail with.

use std::fmt::Display;

use axum::http::header::WWW_AUTHENTICATE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use sluice_queue::{JobId, QueueError};
use sluice_store::StoreError;
use sluice_valkey::Fault;

use super::MAX_BODY_BYTES;
use super::problem::Problem;
use crate::auth::{Denial, Scope};

/// What a request can be refused or fail with. The message of each is written for the caller.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// 400 `invalid_request`: names the field and the rule it breaks.
    #[error("{0}")]
    InvalidRequest(String),
    /// 401 `unauthorized`: no token, or one that does not hold; says what is wrong with it.
    #[error("{0}")]
    Unauthorized(&'static str),
    /// 403 `forbidden`: the token is good but lacks this scope.
    #[error("this needs a token with the scope {0}")]
    Forbidden(Scope),
    /// 404 `not_found`: no such route, entry or job.
    #[error("there is nothing here")]
    NotFound,
    /// 405 `method_not_allowed`.
    #[error("this address does not answer this method")]
    MethodNotAllowed,
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
    /// 500 `internal`: a fault of Sluice's own. The cause is logged, not shown.
    #[error("an internal error; the log has it under this answer's x-request-id")]
    Internal,
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
    /// 503 `queue_full`: as many jobs wait as may; the request was not taken. Comes with
    /// `Retry-After`.
    #[error("too many requests wait for their turn")]
    QueueFull,
    /// 504 `timeout`: the request took longer than any may.
    #[error("the request took too long")]
    Timeout,
    /// What a surface alone has to say.
    #[error("{}", .0.message)]
    Surface(Box<Problem>),
}

impl ApiError {
    /// What it is, whatever the shape in which it is printed.
    pub fn problem(&self) -> Problem {
        let (status, code) = match self {
            Self::Surface(problem) => return (**problem).clone(),
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid_request"),
            Self::Unauthorized(_) => (StatusCode::UNAUTHORIZED, "unauthorized"),
            Self::Forbidden(_) => (StatusCode::FORBIDDEN, "forbidden"),
            Self::NotFound => (StatusCode::NOT_FOUND, "not_found"),
            Self::MethodNotAllowed => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            Self::JobCancelled(_) => (StatusCode::CONFLICT, "job_cancelled"),
            Self::CursorExpired => (StatusCode::CONFLICT, "cursor_expired"),
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "invalid_request"),
            Self::IdempotencyKeyReused => {
                (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused")
            }
            Self::TooManyStreams { .. } => (StatusCode::TOO_MANY_REQUESTS, "too_many_streams"),
            Self::NoStreamLeft => (StatusCode::SERVICE_UNAVAILABLE, "too_many_streams"),
            Self::JobFailed { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "job_failed"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
            Self::Unavailable(_) => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            Self::Valkey { fault, .. } => match fault {
                Fault::OutOfMemory => (StatusCode::SERVICE_UNAVAILABLE, "out_of_memory"),
                _ => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
            },
            Self::QueueFull => (StatusCode::SERVICE_UNAVAILABLE, "queue_full"),
            Self::Timeout => (StatusCode::GATEWAY_TIMEOUT, "timeout"),
        };
        let job = match self {
            Self::JobFailed { job, .. } | Self::JobCancelled(job) => Some(job.to_string()),
            _ => None,
        };
        Problem::new(status, code, self).with("job", job)
    }

    /// The HTTP status this is answered with.
    pub fn status(&self) -> StatusCode {
        self.problem().status
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

impl From<Problem> for ApiError {
    fn from(problem: Problem) -> Self {
        Self::Surface(Box::new(problem))
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = self.problem().into_response();
        if let Some(challenge) = self.challenge()
            && let Ok(challenge) = HeaderValue::try_from(challenge)
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<Denial> for ApiError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Unauthorized(reason) => Self::Unauthorized(reason),
            Denial::Forbidden(scope) => Self::Forbidden(scope),
            Denial::Unavailable(part) => Self::Unavailable(part),
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
            QueueError::Full(queue) => {
                tracing::warn!(queue, "the queue is full");
                Self::QueueFull
            }
            error => Self::of_valkey("the queue", error.fault(), &error),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::CursorExpired => Self::CursorExpired,
            error => Self::of_valkey("the cache", error.fault(), &error),
        }
    }
}

//! What can go wrong with a request, in the shape Convex answers it.

use std::io::ErrorKind;

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use rusqlite::ErrorCode;

/// A refused request: `{"code","message"}` under an HTTP status.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{code}: {message}")]
pub(super) struct RequestError {
    pub status: StatusCode,
    pub code: &'static str,
    pub message: String,
}

impl RequestError {
    /// 400: the request cannot be right, whenever it is sent.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> RequestError {
        RequestError {
            status: StatusCode::BAD_REQUEST,
            code,
            message: message.into(),
        }
    }

    /// 500: also what Convex answers where its own checks carry no code (see section 4 of the wire
    /// contract).
    pub fn internal(message: impl Into<String>) -> RequestError {
        RequestError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalServerError",
            message: message.into(),
        }
    }
}

impl RequestError {
    /// 500: the database's files fail.
    pub fn unusable() -> RequestError {
        RequestError::internal("The database could not be read or written.")
    }

    /// 503: passes once there is room.
    fn disk_full() -> RequestError {
        RequestError {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: "DiskFull",
            message: "The disk is full: nothing can be written, but what is there can be read."
                .to_owned(),
        }
    }
}

impl From<rusqlite::Error> for RequestError {
    fn from(error: rusqlite::Error) -> RequestError {
        tracing::error!(%error, "the embedded database failed");
        if error.sqlite_error_code() == Some(ErrorCode::DiskFull) {
            return RequestError::disk_full();
        }
        RequestError::unusable()
    }
}

impl From<std::io::Error> for RequestError {
    /// Only for the store's own files.
    fn from(error: std::io::Error) -> RequestError {
        tracing::error!(%error, "a temporary file of the embedded store failed");
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => RequestError::disk_full(),
            _ => RequestError::internal("A temporary file could not be read or written."),
        }
    }
}

impl From<serde_json::Error> for RequestError {
    /// Only for what the store itself wrote; a client's JSON is refused where it is read.
    fn from(error: serde_json::Error) -> RequestError {
        tracing::error!(%error, "a stored document is not readable");
        RequestError::internal("A stored document is not readable.")
    }
}

impl IntoResponse for RequestError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code, "message": self.message });
        (self.status, Json(body)).into_response()
    }
}

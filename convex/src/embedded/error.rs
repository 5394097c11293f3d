//! What can go wrong with a request, in the shape Convex answers it.

use axum::Json;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// A refused request: `{"code","message"}` under an HTTP status.
#[derive(Debug, thiserror::Error)]
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

    /// 500: also what Convex answers where its own checks carry no code (see section 4 of the wire contract).
    pub fn internal(message: impl Into<String>) -> RequestError {
        RequestError {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            code: "InternalServerError",
            message: message.into(),
        }
    }
}

impl From<rusqlite::Error> for RequestError {
    fn from(error: rusqlite::Error) -> RequestError {
        tracing::error!(%error, "the embedded database failed");
        RequestError::internal("The database could not be read or written.")
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

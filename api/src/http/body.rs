//! JSON bodies: whatever is wrong with one is named by field and rule.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// A JSON object as the request body, of type `T`. Rejects with [`ApiError::InvalidRequest`] or
/// [`ApiError::BodyTooLarge`].
pub(crate) struct Body<T>(pub T);

impl<T, S> FromRequest<S> for Body<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        Self::parse(&json_text(request, state).await?)
    }
}

/// The text of a body that says that it is JSON.
pub(crate) async fn json_text<S: Send + Sync>(
    request: Request,
    state: &S,
) -> Result<Bytes, ApiError> {
    if !is_json(request.headers()) {
        return Err(invalid("content-type: must be application/json"));
    }
    let text = Bytes::from_request(request, state).await;
    text.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => ApiError::BodyTooLarge,
        _ => invalid("body: could not be read to its end"),
    })
}

impl<T: DeserializeOwned> Body<T> {
    /// Reads the text of a body.
    pub(crate) fn parse(bytes: &Bytes) -> Result<Self, ApiError> {
        // Deserialize would take an array of the right values for an object.
        if bytes.trim_ascii_start().first() != Some(&b'{') {
            return Err(invalid("body: must be a JSON object"));
        }
        match Json::<T>::from_bytes(bytes) {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::JsonDataError(rejection)) => Err(invalid(&cause(&rejection))),
            Err(rejection) => Err(invalid(&format!(
                "body: is not JSON: {}",
                cause(&rejection)
            ))),
        }
    }
}

fn invalid(message: &str) -> ApiError {
    ApiError::InvalidRequest(message.to_owned())
}

/// The innermost message, which is the one that names the field.
fn cause(rejection: &dyn std::error::Error) -> String {
    let mut cause = rejection;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

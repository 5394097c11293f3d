//! JSON bodies: whatever is wrong with one is told by field and rule.

use axum::Json;
use axum::body::Bytes;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, Request};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use serde::de::{DeserializeOwned, Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};

use crate::ApiError;

/// Longest user id, in bytes.
pub(crate) const MAX_USER_BYTES: usize = 256;
/// Most files one prefetch may ask for.
pub(crate) const MAX_PREFETCH: u32 = 100_000;

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

/// The rule for user ids, wherever one comes in: 1 to 256 bytes, no control characters.
///
/// # Errors
/// The part of the rule that is broken.
pub fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.len() > MAX_USER_BYTES {
        Err("must be 1 to 256 bytes long")
    } else if user.chars().any(char::is_control) {
        Err("must not contain control characters")
    } else {
        Ok(())
    }
}

/// For `deserialize_with`: a user id that keeps to [`check_user`].
pub(crate) fn user<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let user = String::deserialize(deserializer)?;
    check_user(&user).map_err(D::Error::custom)?;
    Ok(user)
}

/// For `deserialize_with`: a whole number from 1 to [`MAX_PREFETCH`].
pub(crate) fn prefetch_limit<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Limit;
    impl Visitor<'_> for Limit {
        type Value = u32;

        fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            write!(formatter, "a whole number from 1 to {MAX_PREFETCH}")
        }

        fn visit_u64<E: Error>(self, number: u64) -> Result<u32, E> {
            u32::try_from(number)
                .ok()
                .filter(|limit| (1..=MAX_PREFETCH).contains(limit))
                .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(number), &self))
        }
    }
    deserializer.deserialize_u32(Limit)
}

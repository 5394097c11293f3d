//! Query strings and path segments: as [`super::body`], whatever is wrong is named by field and
//! rule.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::error::ApiError;

/// The query string as a `T`, whose type should be `deny_unknown_fields`.
pub(crate) struct Params<T>(pub T);

impl<T, S> FromRequestParts<S> for Params<T>
where
    T: DeserializeOwned,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Query::<T>::try_from_uri(&parts.uri)
            .map(|Query(params)| Self(params))
            .map_err(|rejection| {
                ApiError::InvalidRequest(format!("query: {}", rejection.body_text()))
            })
    }
}

/// The variable segments of the path.
pub(crate) struct Segments<T>(pub T);

impl<T, S> FromRequestParts<S> for Segments<T>
where
    T: DeserializeOwned + Send,
    S: Send + Sync,
{
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segments = Path::<T>::from_request_parts(parts, state).await;
        let Path(segments) = segments.map_err(|_| {
            ApiError::InvalidRequest("path: must be UTF-8 when percent-decoded".to_owned())
        })?;
        Ok(Self(segments))
    }
}

/// The one variable segment of the path.
pub(crate) struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Segments(segment) = Segments::from_request_parts(parts, state).await?;
        Ok(Self(segment))
    }
}

//! Query strings and path segments: as [`crate::body`], whatever is wrong is told by field and
//! rule.

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use sluice_jobs::meta::check_user;

use crate::ApiError;
use crate::auth::{Caller, Scope};

/// Most entries or documents on a page, and as many as there are without a wish.
const MAX_LIMIT: usize = 1000;
const DEFAULT_LIMIT: usize = 100;

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

/// The one variable segment of the path.
pub(crate) struct Segment(pub String);

impl<S: Send + Sync> FromRequestParts<S> for Segment {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let segment = Path::<String>::from_request_parts(parts, state).await;
        let Path(segment) = segment.map_err(|_| {
            ApiError::InvalidRequest("path: must be UTF-8 when percent-decoded".to_owned())
        })?;
        Ok(Self(segment))
    }
}

/// Whose entries a read is about: `user_id` if given, else the caller itself. Anybody else's need
/// `meta:read`.
pub(crate) fn reader(caller: &Caller, user_id: Option<String>) -> Result<String, ApiError> {
    let user = match (user_id, caller.subject()) {
        (Some(user), _) => user,
        (None, Some(subject)) => subject.to_owned(),
        (None, None) => {
            return Err(ApiError::InvalidRequest(
                "userId: must be given, as the token names no subject".to_owned(),
            ));
        }
    };
    check_user(&user).map_err(|rule| ApiError::InvalidRequest(format!("userId: {rule}")))?;
    if caller.subject() != Some(user.as_str()) {
        caller.require(Scope::MetaRead)?;
    }
    Ok(user)
}

/// How many a page of a listing may hold: `limit` as it was given, else 100.
pub(crate) fn page_limit(given: Option<&str>) -> Result<usize, ApiError> {
    given.map_or(Ok(DEFAULT_LIMIT), |given| {
        given
            .parse()
            .ok()
            .filter(|limit| (1..=MAX_LIMIT).contains(limit))
            .ok_or_else(|| {
                ApiError::InvalidRequest(format!(
                    "limit: must be a whole number from 1 to {MAX_LIMIT}"
                ))
            })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn limits_outside_the_range_are_refused_by_name() {
        assert_eq!(page_limit(None).unwrap(), DEFAULT_LIMIT);
        assert_eq!(page_limit(Some("1000")).unwrap(), MAX_LIMIT);
        for given in ["0", "1001", "-1", "1.5", "", "many"] {
            let message = page_limit(Some(given)).unwrap_err().to_string();
            assert!(message.starts_with("limit: "), "{message}");
        }
    }
}

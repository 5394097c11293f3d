//! What callers send to file sync, refused by field and rule, and how times are written.

use std::time::{Duration, UNIX_EPOCH};

use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::problem::{Code, invalid};
use crate::http::body::Body;
use crate::http::query::Params;
use crate::{ApiError, AppState};

/// No body of this surface is longer, in bytes, but contents of files.
pub(super) const MAX_BODY_BYTES: usize = 4 * 1024 * 1024;

/// A [`Body`] of this surface.
pub(crate) struct Content<T>(pub T);

impl<T: DeserializeOwned> FromRequest<AppState> for Content<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        let body = Body::from_request(request, state).await;
        body.map(|Body(body)| Self(body)).map_err(of_surface)
    }
}

/// [`Params`] of this surface.
pub(crate) struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequestParts<AppState> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let params = Params::from_request_parts(parts, state).await;
        params
            .map(|Params(params)| Self(params))
            .map_err(of_surface)
    }
}

/// What the kit refuses, as this surface does.
pub(super) fn of_surface(error: ApiError) -> ApiError {
    match error {
        ApiError::InvalidRequest(detail) => Code::InvalidRequest.error(detail),
        ApiError::BodyTooLarge => Code::TooLarge.error(format_args!(
            "body: must not be longer than {MAX_BODY_BYTES} bytes"
        )),
        error => error,
    }
}

/// A time as callers see it, of milliseconds since 1970.
pub(super) fn time(ms: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_millis(ms);
    humantime::format_rfc3339_millis(time).to_string()
}

/// A position in a log, as a query has it.
pub(super) fn position(field: &str, given: &str) -> Result<u64, ApiError> {
    given.parse().map_err(|_| {
        Code::SyncCursorInvalid.error(format_args!("{field}: must be a whole number from 0 on"))
    })
}

/// The rule for texts that people read: so many bytes, and no control characters.
pub(super) fn check_text(
    field: &str,
    text: &str,
    least: usize,
    most: usize,
) -> Result<(), ApiError> {
    if !(least..=most).contains(&text.len()) {
        return Err(invalid(
            field,
            format_args!("must be {least} to {most} bytes long"),
        ));
    }
    if text.chars().any(char::is_control) {
        return Err(invalid(field, "must not contain control characters"));
    }
    Ok(())
}

/// A number of a query, within these bounds.
pub(super) fn number(
    field: &str,
    given: Option<&str>,
    least: u64,
    most: u64,
) -> Result<Option<u64>, ApiError> {
    let read = |given: &str| {
        let number = given.parse().ok();
        number.filter(|number| (least..=most).contains(number))
    };
    given
        .map(|given| {
            read(given).ok_or_else(|| {
                let rule = format_args!("must be a whole number from {least} to {most}");
                invalid(field, rule)
            })
        })
        .transpose()
}

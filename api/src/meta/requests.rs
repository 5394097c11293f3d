//! `POST /api/v1/e/meta/{sync,prefetch,invalidate}`. Each is a job that is waited for.

use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use sluice_jobs::Refusal;
use sluice_jobs::meta::{Invalidate, InvalidateResult, Prefetch, PrefetchResult, Sync, SyncResult};

use crate::answers::Accepted;
use crate::auth::{Caller, Scope};
use crate::http::body::Body;
use crate::http::problem::Problem;
use crate::http::submission::{Submission, Target};
use crate::openapi::{SubmissionErrors, SubmissionHeaders};
use crate::{ApiError, AppState};

/// The metadata of any user, with `meta:write`.
pub(crate) struct MetaTarget;

impl Target for MetaTarget {
    async fn of(caller: &Caller, _: &mut Parts, _: &AppState) -> Result<Self, ApiError> {
        caller.require(Scope::MetaWrite)?;
        Ok(Self)
    }

    fn key_scope(parts: &Parts) -> Vec<&str> {
        vec![parts.uri.path()]
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let (status, code, message) = match refusal {
            Refusal::LimitExceeded { limit } => (
                StatusCode::BAD_REQUEST,
                "limit_exceeded",
                format!("the user's entries exceed the limit of {limit} bytes; nothing was synced"),
            ),
            Refusal::UserNotFound => (
                StatusCode::NOT_FOUND,
                "user_not_found",
                "the user has no files".to_owned(),
            ),
            Refusal::Invalidated => (
                StatusCode::CONFLICT,
                "invalidated",
                "the user's entries were invalidated meanwhile".to_owned(),
            ),
        };
        Problem::new(status, code, message).into()
    }
}

/// Put a user's files into the cache as one set
///
/// Readers see the complete old set or the complete new one. The set replaces the user's single
/// entries and lives longer than they do.
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/sync",
    operation_id = "syncEntries",
    tag = "meta",
    params(SubmissionHeaders),
    request_body = Sync,
    responses(
        (status = 200, description = "The set is in the cache", body = SyncResult),
        (status = 202, description = "The job goes on", body = Accepted),
        SubmissionErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn sync(
    State(state): State<AppState>,
    submission: Submission<MetaTarget>,
    Body(job): Body<Sync>,
) -> Result<Response, ApiError> {
    submission.run(&state, job).await
}

/// Refresh a user's most read files
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/prefetch",
    operation_id = "prefetchEntries",
    tag = "meta",
    params(SubmissionHeaders),
    request_body = Prefetch,
    responses(
        (status = 200, description = "The files are in the cache", body = PrefetchResult),
        (status = 202, description = "The job goes on", body = Accepted),
        SubmissionErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn prefetch(
    State(state): State<AppState>,
    submission: Submission<MetaTarget>,
    Body(job): Body<Prefetch>,
) -> Result<Response, ApiError> {
    submission.run(&state, job).await
}

/// Drop a user's entries from the cache, or the user's files altogether
#[utoipa::path(
    post,
    path = "/api/v1/e/meta/invalidate",
    operation_id = "invalidateEntries",
    tag = "meta",
    params(SubmissionHeaders),
    request_body = Invalidate,
    responses(
        (status = 200, description = "They are gone", body = InvalidateResult),
        (status = 202, description = "The job goes on", body = Accepted),
        SubmissionErrors,
    ),
    security(("token" = ["meta:write"])),
)]
pub(crate) async fn invalidate(
    State(state): State<AppState>,
    submission: Submission<MetaTarget>,
    Body(job): Body<Invalidate>,
) -> Result<Response, ApiError> {
    submission.run(&state, job).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use axum::body::Body as HttpBody;
    use axum::extract::{FromRequest, Request};
    use serde::de::DeserializeOwned;
    use sluice_jobs::meta::SyncKind;

    use super::*;

    async fn read<T: DeserializeOwned>(
        content_type: Option<&str>,
        body: &str,
    ) -> Result<T, String> {
        let mut request = Request::builder();
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(HttpBody::from(body.to_owned())).unwrap();
        match Body::from_request(request, &()).await {
            Ok(Body(body)) => Ok(body),
            Err(error) => {
                assert!(matches!(error, ApiError::InvalidRequest(_)), "{error:?}");
                Err(error.to_string())
            }
        }
    }

    async fn json<T: DeserializeOwned>(body: &str) -> Result<T, String> {
        read(Some("application/json; charset=utf-8"), body).await
    }

    #[tokio::test]
    async fn each_type_is_taken_by_its_name() {
        for (name, kind) in [
            ("allOne", SyncKind::AllOne),
            ("allTwo", SyncKind::AllTwo),
            ("mostOne", SyncKind::MostOne),
            ("mostTwo", SyncKind::MostTwo),
        ] {
            let body: Sync = json(&format!(r#"{{"user":"u","type":"{name}"}}"#))
                .await
                .unwrap();
            assert_eq!(body.kind, kind);
        }
        for name in ["OUT", "DEL"] {
            json::<Invalidate>(&format!(r#"{{"user":"u","type":"{name}"}}"#))
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn the_bounds_of_a_rule_are_within_it() {
        for user in ["u", &"u".repeat(256), "ü@例 x"] {
            let body = serde_json::json!({"user": user, "limit": 1}).to_string();
            assert_eq!(json::<Prefetch>(&body).await.unwrap().user, user);
        }
        let body: Prefetch = json(r#"{"user":"u","limit":100000}"#).await.unwrap();
        assert_eq!(body.limit, 100_000);
    }

    #[tokio::test]
    async fn whatever_is_wrong_with_a_sync_is_told_by_field() {
        let long = format!(r#"{{"user":"{}","type":"allOne"}}"#, "u".repeat(257));
        for (body, named) in [
            ("", "body"),
            ("{", "body"),
            ("null", "body"),
            ("\"x\"", "body"),
            (r#"["u","allOne"]"#, "body"),
            (r#"{"user":"u","type":"allOne"} x"#, "body"),
            (r#"{"type":"allOne"}"#, "user"),
            (r#"{"user":"u"}"#, "type"),
            ("{}", "user"),
            (r#"{"user":1,"type":"allOne"}"#, "user"),
            (r#"{"user":null,"type":"allOne"}"#, "user"),
            (r#"{"user":"","type":"allOne"}"#, "user"),
            (&long, "user"),
            (r#"{"user":"a\u0000b","type":"allOne"}"#, "user"),
            (r#"{"user":"a\nb","type":"allOne"}"#, "user"),
            (r#"{"user":"u","type":"all"}"#, "type"),
            (r#"{"user":"u","type":"ALLONE"}"#, "type"),
            (r#"{"user":"u","type":3}"#, "type"),
            (r#"{"user":"u","type":["allOne"]}"#, "type"),
            (r#"{"user":"u","type":"allOne","limit":1}"#, "limit"),
            (r#"{"user":"u","user":"v","type":"allOne"}"#, "user"),
        ] {
            let message = json::<Sync>(body).await.expect_err(body);
            assert!(message.contains(named), "{body}: {message}");
        }
    }

    #[tokio::test]
    async fn a_limit_outside_the_rule_is_told_with_the_rule() {
        for limit in [
            "0",
            "-1",
            "1.5",
            "1.0",
            "100001",
            "1e99",
            "99999999999999999999",
            "\"5\"",
            "null",
            "true",
        ] {
            let body = format!(r#"{{"user":"u","limit":{limit}}}"#);
            let message = json::<Prefetch>(&body).await.expect_err(&body);
            assert!(message.starts_with("limit: "), "{body}: {message}");
            assert!(
                message.contains("a whole number from 1 to 100000"),
                "{body}: {message}"
            );
        }
    }

    #[tokio::test]
    async fn other_content_types_are_refused() {
        let body = r#"{"user":"u","type":"OUT"}"#;
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/jsonp"),
        ] {
            let message = read::<Invalidate>(content_type, body).await.err().unwrap();
            assert!(message.starts_with("content-type: "), "{message}");
        }
    }
}

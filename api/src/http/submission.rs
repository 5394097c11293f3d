//! A request that becomes a job: it is enqueued, waited for as long as the caller likes, and
//! answered with its outcome, or with 202 and where the job is found.

use std::time::Duration;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::{CONTENT_TYPE, LOCATION};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, IntoResponse, Response};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sluice_jobs::Job;
use sluice_queue::{Finished, Idempotency, JobId, NewJob, QueueError};
use tokio::time::timeout;

use super::error::ApiError;
use super::prefer::Prefer;
use crate::AppState;
use crate::answers::Accepted;
use crate::auth::Caller;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long enqueueing may take at least, however short the caller's patience. The job may be there
/// all the same: a repeated request finds it by its idempotency key.
const ENQUEUE_PATIENCE: Duration = Duration::from_secs(5);
const PREFERENCE_APPLIED: &str = "preference-applied";
/// `00-`, 32 digits of trace, 16 of span, 2 of flags.
const TRACEPARENT_BYTES: usize = 55;
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// What a surface reads of a submission's head: what the request is about.
pub(crate) trait Target: Sized + Send {
    /// Reads it, and sees to it that the caller may.
    fn of(
        caller: &Caller,
        parts: &mut Parts,
        state: &AppState,
    ) -> impl Future<Output = Result<Self, ApiError>> + Send;

    /// Within what a caller's idempotency key names one request.
    fn key_scope(parts: &Parts) -> Vec<&str> {
        vec![parts.method.as_str(), parts.uri.path()]
    }
}

/// Everything about a submission but its body. Extracting it checks the caller's right first, so
/// that callers without it learn nothing about their bodies.
pub(crate) struct Submission<T> {
    /// What it is about.
    pub target: T,
    /// Whether the caller would wait for the job, and how long.
    pub prefer: Prefer,
    /// What the caller calls the request, distinct from other callers' and addresses' names.
    pub idempotency_key: Option<String>,
    /// Whom the token belongs to.
    pub subject: Option<String>,
    /// The trace that the job goes on with.
    pub trace: Option<String>,
}

impl<T: Target> FromRequestParts<AppState> for Submission<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let caller = Caller::from_request_parts(parts, state).await?;
        let target = T::of(&caller, parts, state).await?;
        let idempotency_key = idempotency_key(&parts.headers)?.map(|key| {
            let subject = caller.subject().unwrap_or_default();
            let mut named = T::key_scope(parts);
            named.extend([subject, key]);
            digest(&named)
        });
        Ok(Self {
            target,
            prefer: Prefer::from_headers(&parts.headers),
            idempotency_key,
            subject: caller.subject().map(str::to_owned),
            trace: traceparent(&parts.headers),
        })
    }
}

impl<T> Submission<T> {
    /// Enqueues `job` and answers with its result, or 202 when the wait runs out first.
    pub(crate) async fn run<J>(self, state: &AppState, job: J) -> Result<Response, ApiError>
    where
        J: Job<Refusal: Into<ApiError>>,
    {
        let job = NewJob {
            idempotency: self.idempotency(&job)?,
            trace: self.trace.clone(),
            ..job.new_job()?
        };
        let patience = self.patience(state).max(ENQUEUE_PATIENCE);
        let enqueued = timeout(patience, state.queues.enqueue(job)).await;
        let job = enqueued
            .map_err(|_| ApiError::Unavailable("the queue"))??
            .id;
        tracing::info!(%job, "enqueued");

        let answer = match self.wait(state, &job).await? {
            Some(finished) => {
                // As the job wrote it.
                let result: Box<RawValue> = outcome::<_, J::Refusal>(&job, finished)?;
                let result = String::from(Box::<str>::from(result));
                ([(CONTENT_TYPE, "application/json")], result).into_response()
            }
            None => accepted(&job),
        };
        Ok((self.applied(state), answer).into_response())
    }

    /// The end of a job, unless the caller's patience or the API's life ends first.
    pub(crate) async fn wait(
        &self,
        state: &AppState,
        job: &JobId,
    ) -> Result<Option<Finished>, ApiError> {
        let patience = self.patience(state);
        if patience.is_zero() {
            return Ok(None);
        }
        tokio::select! {
            finished = state.queues.wait(job, patience) => match finished {
                // It was there a moment ago: Valkey lost it, and no caller is to take that for an
                // answer about the user.
                Err(QueueError::NotFound(_)) => Err(ApiError::Unavailable("the queue")),
                finished => Ok(finished?),
            },
            () = state.shutdown.cancelled() => Ok(None),
        }
    }

    /// Names the preferences that were honoured.
    pub(crate) fn applied(
        &self,
        state: &AppState,
    ) -> Option<AppendHeaders<[(&'static str, String); 1]>> {
        let applied = self.prefer.applied(state.config.request_wait)?;
        Some(AppendHeaders([(PREFERENCE_APPLIED, applied)]))
    }

    fn patience(&self, state: &AppState) -> Duration {
        self.prefer.patience(state.config.request_wait)
    }

    /// Two requests are the same when they say the same, however they were written.
    fn idempotency(&self, request: &impl Serialize) -> Result<Option<Idempotency>, ApiError> {
        let Some(key) = self.idempotency_key.clone() else {
            return Ok(None);
        };
        let request = serde_json::to_string(request).map_err(|_| ApiError::Internal)?;
        Ok(Some(Idempotency {
            key,
            fingerprint: digest(&[&request]),
        }))
    }
}

/// 202: the job goes on.
pub(crate) fn accepted(job: &JobId) -> Response {
    let location = format!("/api/v1/jobs/{job}");
    let body = Accepted {
        job: job.to_string(),
    };
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(body)).into_response()
}

/// What a job answered that has ended.
pub(crate) fn outcome<A, R>(job: &JobId, finished: Finished) -> Result<A, ApiError>
where
    A: DeserializeOwned,
    R: DeserializeOwned + Into<ApiError>,
{
    match finished.parse::<A, R>() {
        Ok(Finished::Completed(answer)) => Ok(answer),
        Ok(Finished::Refused(refusal)) => Err(refusal.into()),
        Ok(Finished::Dead { message }) => Err(ApiError::JobFailed {
            job: job.clone(),
            message,
        }),
        Ok(Finished::Cancelled) => Err(ApiError::JobCancelled(job.clone())),
        Err(_) => {
            // Without the error, whose text could quote what the job holds.
            tracing::error!(%job, "the job ended in a way that this version does not know");
            Err(ApiError::Internal)
        }
    }
}

/// The key that a caller gives a request, so that sending it again does not make it twice.
fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    // What is not visible ASCII is as bad as nothing.
    check_key(IDEMPOTENCY_KEY, key.to_str().unwrap_or_default()).map(Some)
}

/// The rule for idempotency keys, wherever one comes in.
pub(crate) fn check_key<'a>(field: &str, key: &'a str) -> Result<&'a str, ApiError> {
    let is_visible = key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    Some(key)
        .filter(|key| is_visible && (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()))
        .ok_or_else(|| {
            ApiError::InvalidRequest(format!(
                "{field}: must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} printable ASCII characters"
            ))
        })
}

/// The caller's trace (W3C Trace Context), which the job goes on with.
fn traceparent(headers: &HeaderMap) -> Option<String> {
    headers
        .get("traceparent")
        .and_then(|value| value.to_str().ok())
        .filter(|trace| trace.len() == TRACEPARENT_BYTES)
        .filter(|trace| {
            trace
                .bytes()
                .all(|byte| byte.is_ascii_hexdigit() || byte == b'-')
        })
        .map(str::to_owned)
}

/// A short name for a sequence of strings; different sequences have different names.
pub(crate) fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    BASE64_URL_SAFE_NO_PAD.encode(hash.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_tell_apart_what_concatenation_would_not() {
        assert_ne!(digest(&["ab", "c"]), digest(&["a", "bc"]));
    }
}

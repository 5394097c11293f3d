//! A request that is a job: enqueue it, wait for it as long as the caller likes, answer with what
//! came of it.

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
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};
use sluice_jobs::{Job, Refusal};
use sluice_queue::{Finished, Idempotency, JobId, NewJob, QueueError};
use tokio::time::timeout;

use crate::answers::Accepted;
use crate::auth::MetaWriter;
use crate::prefer::Prefer;
use crate::{ApiError, AppState};

const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// How long enqueueing may take at least, however short the caller's patience. The job may be there
/// all the same: a repeated request finds it by its idempotency key.
const ENQUEUE_PATIENCE: Duration = Duration::from_secs(5);
const PREFERENCE_APPLIED: &str = "preference-applied";
/// `00-`, 32 digits of trace, 16 of span, 2 of flags.
const TRACEPARENT_BYTES: usize = 55;
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Everything about a job request but its body. Extracting it checks the token for `meta:write`
/// first, so that callers without it learn nothing about their bodies.
pub(crate) struct Call {
    prefer: Prefer,
    idempotency_key: Option<String>,
    trace: Option<String>,
}

impl FromRequestParts<AppState> for Call {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, ApiError> {
        let MetaWriter(caller) = MetaWriter::from_request_parts(parts, state).await?;
        // Keys of different callers and endpoints must not meet.
        let idempotency_key = idempotency_key(&parts.headers)?.map(|key| {
            let subject = caller.subject().unwrap_or_default();
            digest(&[parts.uri.path(), subject, key])
        });
        Ok(Self {
            prefer: Prefer::from_headers(&parts.headers),
            idempotency_key,
            trace: traceparent(&parts.headers),
        })
    }
}

impl Call {
    /// Enqueues `job` and answers with its result, or 202 when the wait runs out first.
    pub(crate) async fn run(self, state: &AppState, job: impl Job) -> Result<Response, ApiError> {
        let idempotency = self.idempotency(&job)?;
        let job = NewJob {
            idempotency,
            trace: self.trace,
            ..job.new_job()?
        };
        let longest = state.config.request_wait;
        let patience = self.prefer.patience(longest);
        let enqueuing = state.queues.enqueue(job);
        let job = in_time(patience, enqueuing).await??.id;
        tracing::info!(%job, "enqueued");

        let finished = wait(state, &job, patience).await?;
        let applied = preference_applied(self.prefer, longest);
        let answer = match finished {
            Some(finished) => answer(job, finished)?,
            None => accepted(&job),
        };
        Ok((applied, answer).into_response())
    }

    /// Two bodies are the same when they say the same, however they were written.
    fn idempotency(&self, body: &impl Serialize) -> Result<Option<Idempotency>, ApiError> {
        let Some(key) = self.idempotency_key.clone() else {
            return Ok(None);
        };
        let body = serde_json::to_string(body).map_err(|_| ApiError::Internal)?;
        Ok(Some(Idempotency {
            key,
            fingerprint: digest(&[&body]),
        }))
    }
}

/// Enqueueing, which takes as long as the caller's patience lasts, and some seconds at least.
pub(crate) async fn in_time<T>(
    patience: Duration,
    enqueuing: impl Future<Output = T>,
) -> Result<T, ApiError> {
    timeout(patience.max(ENQUEUE_PATIENCE), enqueuing)
        .await
        .map_err(|_| ApiError::Unavailable("the queue"))
}

/// Names the preferences that were honoured.
pub(crate) fn preference_applied(
    prefer: Prefer,
    longest: Duration,
) -> Option<AppendHeaders<[(&'static str, String); 1]>> {
    let applied = prefer.applied(longest)?;
    Some(AppendHeaders([(PREFERENCE_APPLIED, applied)]))
}

/// The end of a job, unless the caller's patience or the API's life ends first.
pub(crate) async fn wait(
    state: &AppState,
    job: &JobId,
    patience: Duration,
) -> Result<Option<Finished>, ApiError> {
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

/// 202: the job goes on.
pub(crate) fn accepted(job: &JobId) -> Response {
    let location = format!("/api/v1/jobs/{job}");
    let body = Accepted {
        job: job.to_string(),
    };
    (StatusCode::ACCEPTED, [(LOCATION, location)], Json(body)).into_response()
}

fn answer(job: JobId, finished: Finished) -> Result<Response, ApiError> {
    match finished.parse::<Box<RawValue>, Refusal>() {
        Ok(Finished::Completed(result)) => {
            let result = String::from(Box::<str>::from(result));
            Ok(([(CONTENT_TYPE, "application/json")], result).into_response())
        }
        Ok(Finished::Refused(refusal)) => Err(refusal.into()),
        Ok(Finished::Dead { message }) => Err(ApiError::JobFailed { job, message }),
        Ok(Finished::Cancelled) => Err(ApiError::JobCancelled(job)),
        Err(error) => {
            tracing::error!(%job, %error, "the job ended in a way that this version does not know");
            Err(ApiError::Internal)
        }
    }
}

/// The key that a caller gives a request, so that sending it again does not make it twice.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
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
pub(crate) fn traceparent(headers: &HeaderMap) -> Option<String> {
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

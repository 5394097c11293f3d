//! One call: attempts with time-outs, bounded retries, metrics.

use std::time::{Duration, Instant};

use bytes::Bytes;
use metrics::{counter, histogram};
use reqwest::header::CONTENT_TYPE;
use reqwest::{Method, Response};
use sluice_retry::Pauses;
use tokio::time::timeout;
use url::Url;

use super::{ConvexError, retry};

/// "The function failed", with the same body as a 200 that says so.
const FUNCTION_FAILED: u16 = 560;
/// As much as is read of the body of a refusal.
const MAX_ERROR_BODY: usize = 64 << 10;

/// One request, repeated while that makes sense. Only idempotent requests may be made with it.
pub(super) struct Call {
    pub http: reqwest::Client,
    pub endpoint: &'static str,
    pub method: Method,
    pub url: Url,
    pub body: Option<Bytes>,
    pub timeout: Duration,
    /// Attempts left after a failed one.
    pub retries: u32,
    pub failures: u32,
    pub pauses: Pauses,
}

/// A failed attempt, and how long the server asks to be left alone.
pub(super) struct Failure {
    error: ConvexError,
    retry_after: Option<Duration>,
}

impl From<ConvexError> for Failure {
    fn from(error: ConvexError) -> Failure {
        Failure {
            error,
            retry_after: None,
        }
    }
}

impl Call {
    /// Sends until an answer with a useful body begins.
    pub async fn send(&mut self) -> Result<Body, ConvexError> {
        loop {
            match self.attempt().await {
                Ok(body) => return Ok(body),
                Err(failure) => self.wait_after(failure).await?,
            }
        }
    }

    /// Sends until the whole of an answer is there; for small ones.
    pub async fn send_whole(mut self, limit: usize) -> Result<Vec<u8>, ConvexError> {
        loop {
            match self.send().await?.read(limit).await {
                Ok(whole) => return Ok(whole),
                Err(error) => self.wait_after(error.into()).await?,
            }
        }
    }

    /// Waits for the next attempt, or gives the error back when there should be none.
    pub async fn wait_after(&mut self, failure: Failure) -> Result<(), ConvexError> {
        self.failures += 1;
        if self.failures > self.retries || !failure.error.is_retryable() {
            return Err(failure.error);
        }
        let wait = retry::wait(&mut self.pauses, failure.retry_after);
        let (endpoint, error) = (self.endpoint, &failure.error);
        tracing::debug!(endpoint, %error, ?wait, "a call to Convex failed and is repeated");
        counter!("sluice_convex_retries_total", "endpoint" => self.endpoint).increment(1);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    async fn attempt(&self) -> Result<Body, Failure> {
        let mut request = self.http.request(self.method.clone(), self.url.clone());
        if let Some(body) = &self.body {
            request = request
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let started = Instant::now();
        let answer = timeout(self.timeout, request.send()).await;
        histogram!("sluice_convex_request_seconds", "endpoint" => self.endpoint)
            .record(started.elapsed());
        let error = match answer {
            Err(_) => ConvexError::Timeout("answer"),
            Ok(Err(error)) => ConvexError::from_transport(error),
            Ok(Ok(response)) => return self.accept(response).await,
        };
        count(self.endpoint, outcome(&error));
        Err(error.into())
    }

    async fn accept(&self, response: Response) -> Result<Body, Failure> {
        let status = response.status();
        let retry_after = retry::retry_after(response.headers());
        let mut body = Body {
            response,
            endpoint: self.endpoint,
            idle: self.timeout,
            outcome: "ok",
        };
        if status.is_success() || status == FUNCTION_FAILED {
            return Ok(body);
        }
        // The status says enough; a body that does not come changes nothing.
        let text = body.read(MAX_ERROR_BODY).await.unwrap_or_default();
        let error = ConvexError::from_status(status.as_u16(), &text);
        body.outcome = outcome(&error);
        Err(Failure { error, retry_after })
    }
}

/// An answer's body as it arrives. Counts its outcome when it is dropped.
pub(super) struct Body {
    response: Response,
    endpoint: &'static str,
    idle: Duration,
    outcome: &'static str,
}

impl Body {
    /// The next chunk; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, ConvexError> {
        let result = match timeout(self.idle, self.response.chunk()).await {
            Err(_) => Err(ConvexError::Timeout("go on sending")),
            Ok(chunk) => chunk.map_err(ConvexError::from_transport),
        };
        match &result {
            Ok(Some(chunk)) => {
                counter!("sluice_convex_bytes_total", "endpoint" => self.endpoint)
                    .increment(chunk.len() as u64);
            }
            Ok(None) => {}
            Err(error) => self.outcome = outcome(error),
        }
        result
    }

    async fn read(&mut self, limit: usize) -> Result<Vec<u8>, ConvexError> {
        let mut whole = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if whole.len() + chunk.len() > limit {
                return Err(ConvexError::Malformed(format!(
                    "an answer of more than {limit} bytes"
                )));
            }
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        count(self.endpoint, self.outcome);
    }
}

fn count(endpoint: &'static str, outcome: &'static str) {
    counter!("sluice_convex_requests_total", "endpoint" => endpoint, "outcome" => outcome)
        .increment(1);
}

fn outcome(error: &ConvexError) -> &'static str {
    match error {
        ConvexError::Timeout(_) => "timeout",
        ConvexError::Transport(_) => "transport",
        ConvexError::Status { status: 429, .. } => "rate_limited",
        ConvexError::Status { status: 500.., .. } => "server_error",
        _ => "refused",
    }
}

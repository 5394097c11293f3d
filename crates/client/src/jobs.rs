//! Jobs: what is submitted, watched to its end, and shown.

use std::time::Duration;

use eventsource_stream::Eventsource as _;
use futures_util::StreamExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Client;
use crate::client::Waiting;
use crate::error::ClientError;
use crate::types::{Accepted, JobView};

/// How long a stream of events may be open.
const STREAM_LIMIT: Duration = Duration::from_secs(24 * 3600);

/// What a request that is a job is answered with.
#[derive(Clone, Debug)]
pub enum Submitted {
    /// It is over already.
    Answer(Value),
    /// The id of the job.
    Job(String),
}

impl Client {
    /// Submits a request that is a job: to these segments behind `/api/v1`. `key` makes it one,
    /// however often it is sent.
    ///
    /// # Errors
    /// [`ClientError::Refused`], such as `limit_exceeded`; [`ClientError::Unreachable`].
    pub async fn submit(
        &self,
        segments: &[&str],
        key: &str,
        body: &impl Serialize,
    ) -> Result<Submitted, ClientError> {
        let body =
            serde_json::to_string(body).map_err(|error| ClientError::Config(error.to_string()))?;
        let request = || {
            self.request(Method::POST, segments)
                .header("prefer", "respond-async")
                .header("idempotency-key", key)
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone())
        };
        let answer = self.send(request).await?;
        let is_job = answer.status() == StatusCode::ACCEPTED;
        let body = answer
            .bytes()
            .await
            .map_err(|error| self.unreachable(error))?;
        let understood = |error: serde_json::Error| ClientError::Answer(error.to_string());
        if is_job {
            let Accepted { job } = serde_json::from_slice(&body).map_err(understood)?;
            return Ok(Submitted::Job(job));
        }
        Ok(Submitted::Answer(
            serde_json::from_slice(&body).map_err(understood)?,
        ))
    }

    /// Any call that may be sent twice, for what has no function of its own: to a path with its query,
    /// such as `/api/v1/queues`.
    ///
    /// # Errors
    /// [`ClientError::Config`] when that is no path; else as all calls.
    pub async fn call<T: DeserializeOwned>(
        &self,
        method: &Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<T, ClientError> {
        let url = self.api().join(path);
        let url = url.map_err(|error| ClientError::Config(format!("{path}: {error}")))?;
        self.json(|| {
            let request = self.request_to(method.clone(), url.clone());
            match body {
                Some(body) => request.json(body),
                None => request,
            }
        })
        .await
    }

    /// A job, as the API shows it.
    ///
    /// # Errors
    /// 404 when there is no such job.
    pub async fn job(&self, id: &str) -> Result<Box<RawValue>, ClientError> {
        self.json(|| self.request(Method::GET, &["jobs", id])).await
    }

    /// Watches a job to its end, and gives what it is then. `seen` is told each time it has changed. A
    /// stream that breaks off is taken up again.
    ///
    /// # Errors
    /// As [`Client::job`]; [`ClientError::Socket`] when no stream comes any more.
    pub async fn follow(
        &self,
        id: &str,
        mut seen: impl FnMut(&JobView),
    ) -> Result<JobView, ClientError> {
        let mut waiting = Waiting::new(self.attempts());
        loop {
            let request = || {
                self.request(Method::GET, &["jobs", id])
                    .header(ACCEPT, "text/event-stream")
                    .timeout(STREAM_LIMIT)
            };
            let answer = self.send(request).await?;
            let mut events = answer.bytes_stream().eventsource();
            while let Some(Ok(event)) = events.next().await {
                waiting.progressed();
                let job: JobView = serde_json::from_str(&event.data)
                    .map_err(|error| ClientError::Answer(error.to_string()))?;
                seen(&job);
                if job.is_over() {
                    return Ok(job);
                }
            }
            let lost = ClientError::Socket("the job's events broke off".to_owned());
            waiting.before_next(lost).await?;
        }
    }
}

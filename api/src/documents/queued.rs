//! Writes, made at once, or by jobs that are submitted and waited for.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sluice_jobs::documents::{
    self, DocumentHead, DocumentWrite, SubmitError, Submitter, as_written,
};
use sluice_queue::{Finished, JobId};
use sluice_store::documents::{Document, DocumentError};

use super::answer::answer;
use super::request::Writing;
use crate::call::{accepted, preference_applied, wait};
use crate::{ApiError, AppState};

/// The outcome of a write within the caller's patience.
enum Outcome {
    Made(Document),
    /// The job that will make it.
    Later(JobId),
}

impl Outcome {
    /// With `status` for a document.
    fn into_response(self, status: StatusCode) -> Response {
        match self {
            Self::Made(document) => answer(status, document),
            Self::Later(job) => accepted(&job),
        }
    }
}

/// Makes a write at once; through the queue when the caller or the service prefers that, or when
/// others wait there.
pub(super) async fn make(
    state: &AppState,
    writing: &Writing,
    write: DocumentWrite,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let service = &writing.service;
    let is_queued = state.config.queued_services.contains(service);
    if !is_queued && !writing.prefer.is_async() {
        let written = state
            .documents
            .write(service, &write.id, &write.write)
            .await;
        match written {
            Err(DocumentError::Waiting) => {}
            Err(error) => return Err(error.into()),
            Ok(document) => return Ok(answer(status, document)),
        }
    }

    state.documents.check_write(&write.write).await?;
    let longest = state.config.request_wait;
    let job = submit(state, writing, vec![write]).await?.pop();
    let job = job.unwrap_or(Err(ApiError::Internal))?;
    let outcome = match wait(state, &job, writing.prefer.patience(longest)).await? {
        Some(finished) => {
            let head = head(&job, finished)?;
            Outcome::Made(as_written(&state.documents, &head).await?)
        }
        None => Outcome::Later(job),
    };
    let applied = preference_applied(writing.prefer, longest);
    Ok((applied, outcome.into_response(status)).into_response())
}

/// Submits writes to documents of one service. Answers with the job of each, or why there is none.
pub(super) async fn submit(
    state: &AppState,
    writing: &Writing,
    writes: Vec<DocumentWrite>,
) -> Result<Vec<Result<JobId, ApiError>>, ApiError> {
    let submitter = Submitter {
        user: writing.subject.clone(),
        trace: writing.trace.clone(),
    };
    let (store, service) = (&state.documents, &writing.service);
    let submitted = documents::submit(store, &state.queues, service, &submitter, writes).await?;
    Ok(submitted
        .into_iter()
        .map(|job| job.map_err(ApiError::from))
        .collect())
}

impl From<SubmitError> for ApiError {
    fn from(error: SubmitError) -> Self {
        match error {
            SubmitError::Document(error) => error.into(),
            SubmitError::Queue(error) => error.into(),
            SubmitError::TimedOut => Self::Unavailable("the queue"),
        }
    }
}

/// What a job that made a write, or was to, has to say of it.
pub(super) fn head(job: &JobId, finished: Finished) -> Result<DocumentHead, ApiError> {
    match finished.parse::<DocumentHead, DocumentError>() {
        Ok(Finished::Completed(answer)) => Ok(answer),
        Ok(Finished::Refused(error)) => Err(error.into()),
        Ok(Finished::Dead { message }) => Err(ApiError::JobFailed {
            job: job.clone(),
            message,
        }),
        Ok(Finished::Cancelled) => Err(ApiError::JobCancelled(job.clone())),
        Err(_) => {
            // Without the error, whose text could quote the document.
            tracing::error!(%job, "the outcome of a job is malformed");
            Err(ApiError::Internal)
        }
    }
}

//! Writes, made at once, or by jobs that are submitted and waited for.

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use sluice_jobs::documents::{
    self, DocumentHead, DocumentWrite, SubmitError, Submitter, as_written,
};
use sluice_queue::{Finished, JobId};
use sluice_store::documents::DocumentError;

use super::answer::answer;
use super::request::Writing;
use crate::http::submission::{accepted, outcome};
use crate::{ApiError, AppState};

/// Makes a write at once; through the queue when the caller or the service prefers that, or when
/// others wait there.
pub(super) async fn make(
    state: &AppState,
    writing: &Writing,
    write: DocumentWrite,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let service = &writing.target.service;
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
    let job = submit(state, writing, vec![write]).await?.pop();
    let job = job.unwrap_or(Err(ApiError::Internal))?;
    let response = match writing.wait(state, &job).await? {
        Some(finished) => {
            let head = head(&job, finished)?;
            answer(status, as_written(&state.documents, &head).await?)
        }
        None => accepted(&job),
    };
    Ok((writing.applied(state), response).into_response())
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
    let (store, service) = (&state.documents, &writing.target.service);
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
    outcome::<DocumentHead, DocumentError>(job, finished)
}

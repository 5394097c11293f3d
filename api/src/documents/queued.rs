//! Writes, made at once or by jobs: accepted by the store, enqueued in the group of their document,
//! and waited for.

use std::time::Duration;

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use futures_util::future::{join_all, try_join_all};
use sluice_jobs::Job as _;
use sluice_jobs::documents::{DocumentHead, WriteDocument};
use sluice_queue::{Enqueued, Finished, JobId, NewJob, QueueError};
use sluice_store::documents::{Document, DocumentError, Version, Write};
use tracing::debug;

use super::answer::answer;
use super::request::Writing;
use crate::call::{accepted, in_time, preference_applied, wait};
use crate::{ApiError, AppState};

/// Longest that enqueueing may take: less than the minute after which the store lets others go
/// before an accepted write.
const ENQUEUE_LIMIT: Duration = Duration::from_secs(20);

/// A write to one document of a service.
pub(super) struct Asked {
    pub id: String,
    pub write: Write,
}

/// What became of a write within the caller's patience.
pub(super) enum Made {
    Now(Document),
    /// The job that will make it.
    Later(JobId),
}

impl Made {
    /// With `status` for a document.
    pub fn into_response(self, status: StatusCode) -> Response {
        match self {
            Self::Now(document) => answer(status, document),
            Self::Later(job) => accepted(&job),
        }
    }
}

/// Makes a write at once; through the queue when the caller or the service prefers that, or when
/// others wait there.
pub(super) async fn make(
    state: &AppState,
    writing: &Writing,
    asked: Asked,
    status: StatusCode,
) -> Result<Response, ApiError> {
    let service = &writing.service;
    let is_queued = state.config.queued_services.contains(service);
    if !is_queued && !writing.prefer.is_async() {
        let written = state
            .documents
            .write(service, &asked.id, &asked.write)
            .await;
        match written {
            Err(DocumentError::Waiting) => {}
            Err(error) => return Err(error.into()),
            Ok(document) => return Ok(Made::Now(document).into_response(status)),
        }
    }

    state.documents.check_write(&asked.write).await?;
    let (id, longest) = (asked.id.clone(), state.config.request_wait);
    let job = enqueue(state, writing, vec![asked]).await?.pop();
    let job = job.unwrap_or(Err(ApiError::Internal))?;
    let made = match wait(state, &job, writing.prefer.patience(longest)).await? {
        Some(finished) => {
            let answer = outcome(&job, finished)?;
            let version = Version {
                revision: answer.revision,
                created_at: Some(answer.created_at),
            };
            let kept = state.documents.at(service, &id, version).await?;
            Made::Now(kept.map_or_else(|| without_data(&answer), Ok)?)
        }
        None => Made::Later(job),
    };
    let applied = preference_applied(writing.prefer, longest);
    Ok((applied, made.into_response(status)).into_response())
}

/// The envelope that a job answered with, marked as one whose data is not kept any more.
fn without_data(answer: &DocumentHead) -> Result<Document, ApiError> {
    let mut envelope = serde_json::to_value(answer).map_err(|_| ApiError::Internal)?;
    envelope["dataOmitted"] = true.into();
    Ok(Document {
        revision: answer.revision,
        created_at: answer.created_at,
        deleted: answer.deleted,
        json: envelope.to_string(),
    })
}

/// Accepts and enqueues writes, those to one document in the order given. Answers with the job of
/// each, or why there is none.
pub(super) async fn enqueue(
    state: &AppState,
    writing: &Writing,
    asked: Vec<Asked>,
) -> Result<Vec<Result<JobId, ApiError>>, ApiError> {
    let service = writing.service.as_str();
    let accepting = asked.into_iter().map(async |Asked { id, write }| {
        match state.documents.accept(service, &id, &write).await {
            Ok(accepted) => Ok(Ok((id, write, accepted))),
            Err(error @ DocumentError::IdempotencyKeyReused) => Ok(Err(ApiError::from(error))),
            Err(error) => Err(ApiError::from(error)),
        }
    });
    let mut jobs = Vec::new();
    let mut answers = Vec::new();
    for accepted in try_join_all(accepting).await? {
        answers.push(match accepted {
            Err(error) => Err(error),
            Ok((id, write, accepted)) => {
                let request = WriteDocument {
                    service: service.to_owned(),
                    id: id.clone(),
                    token: accepted.token.clone(),
                    write,
                };
                jobs.push(NewJob {
                    user: writing.subject.clone(),
                    trace: writing.trace.clone(),
                    ..request.new_job()?
                });
                Ok((id, accepted))
            }
        });
    }
    let enqueuing = state.queues.enqueue_all(&jobs);
    let mut enqueued = in_time(ENQUEUE_LIMIT, enqueuing).await??.into_iter();

    let answers = answers.into_iter().map(|answer| {
        let answer = answer.map(|accepted| (accepted, enqueued.next()));
        async move {
            let ((id, accepted), enqueued) = answer?;
            let enqueued = enqueued.ok_or(ApiError::Internal)?;
            if accepted.is_new && is_over(state, &enqueued).await? {
                state
                    .documents
                    .let_go(service, &id, &accepted.token)
                    .await?;
            }
            let job = enqueued?.id;
            debug!(%job, "enqueued");
            Ok(job)
        }
    });
    Ok(join_all(answers).await)
}

/// Whether no job will make the write that was enqueued: its key led to one that has ended, or that
/// is of another write.
async fn is_over(
    state: &AppState,
    enqueued: &Result<Enqueued, QueueError>,
) -> Result<bool, ApiError> {
    match enqueued {
        Ok(Enqueued {
            existing: false, ..
        }) => Ok(false),
        Ok(Enqueued { id, .. }) => {
            let job = state.queues.get(id).await?;
            Ok(job.is_none_or(|job| job.state.is_final()))
        }
        Err(_) => Ok(true),
    }
}

/// What a job that made a write, or was to, has to say of it.
pub(super) fn outcome(job: &JobId, finished: Finished) -> Result<DocumentHead, ApiError> {
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

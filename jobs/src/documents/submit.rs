//! Submitting writes of documents: each is accepted by the store, so that nothing overtakes it, and
//! enqueued in the group of its document. One that no job will make is released again.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use sluice_queue::{Enqueued, JobId, NewJob, QueueError, Queues};
use sluice_store::documents::{Document, DocumentError, Documents, ENQUEUE_WINDOW, Version, Write};
use tokio::time::timeout;

use super::write::{DocumentHead, WriteDocument};
use crate::job::Job;

/// Longest that enqueueing may take: well within the time after which the store lets others go
/// before an accepted write.
const ENQUEUE_LIMIT: Duration = Duration::from_secs(ENQUEUE_WINDOW.as_secs() / 3);

/// A write to one document of a service.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentWrite {
    /// The document's id.
    pub id: String,
    /// What to do.
    pub write: Write,
}

/// Who submits writes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Submitter {
    /// The user, if it is one.
    pub user: Option<String>,
    /// The trace that the jobs go on with.
    pub trace: Option<String>,
}

/// Why a write did not become a job.
#[derive(Debug, thiserror::Error)]
pub enum SubmitError {
    /// The store did not accept it.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// The queue did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The queue did not answer in time. The job may be there all the same.
    #[error("the queue does not answer")]
    TimedOut,
}

/// Submits writes to documents of one service; those to one document are made in the order given.
/// Gives the job of each, or why there is none: its key was used with another write.
///
/// # Errors
/// When the store or the queue fails; any of the writes may have been submitted then.
pub async fn submit(
    documents: &Documents,
    queues: &Queues,
    service: &str,
    submitter: &Submitter,
    writes: Vec<DocumentWrite>,
) -> Result<Vec<Result<JobId, SubmitError>>, SubmitError> {
    let accepting = writes.into_iter().map(async |DocumentWrite { id, write }| {
        match documents.accept(service, &id, &write).await {
            Ok(accepted) => Ok(Ok((
                accepted.is_new,
                WriteDocument {
                    service: service.to_owned(),
                    id,
                    token: accepted.token,
                    write,
                },
            ))),
            Err(error @ DocumentError::IdempotencyKeyReused) => Ok(Err(error)),
            Err(error) => Err(error),
        }
    });
    let accepted = try_join_all(accepting).await?;

    let jobs = accepted.iter().flatten();
    let jobs = jobs.map(|(_, write)| new_job(write, submitter));
    let jobs: Vec<NewJob> = jobs.collect::<Result<_, _>>()?;
    let enqueued = timeout(ENQUEUE_LIMIT, queues.enqueue_all(&jobs)).await;
    let mut enqueued = enqueued.map_err(|_| SubmitError::TimedOut)??.into_iter();

    let submitted = accepted.into_iter().map(|accepted| {
        let accepted = accepted.map(|accepted| (accepted, enqueued.next()));
        async move {
            let ((is_new, write), enqueued) = accepted?;
            // There is an answer for each job.
            let enqueued = enqueued.ok_or(SubmitError::TimedOut)?;
            if is_new && is_over(queues, &enqueued).await? {
                let WriteDocument { id, token, .. } = &write;
                let released = documents.release(service, id, token).await;
                released.map_err(DocumentError::Store)?;
            }
            let job = enqueued?.id;
            tracing::debug!(%job, "enqueued");
            Ok(job)
        }
    });
    Ok(join_all(submitted).await)
}

fn new_job(write: &WriteDocument, submitter: &Submitter) -> Result<NewJob, QueueError> {
    let job = write.new_job()?;
    let label = match submitter.user {
        Some(_) => job.label,
        None => Some(write.viewers_of_nobodys()),
    };
    Ok(NewJob {
        user: submitter.user.clone(),
        trace: submitter.trace.clone(),
        label,
        ..job
    })
}

/// Whether no job will make the write that was enqueued: its key led to one that has ended, or that
/// is of another write.
async fn is_over(
    queues: &Queues,
    enqueued: &Result<Enqueued, QueueError>,
) -> Result<bool, QueueError> {
    match enqueued {
        Ok(Enqueued {
            existing: false, ..
        }) => Ok(false),
        Ok(Enqueued { id, .. }) => {
            let job = queues.get(id).await?;
            Ok(job.is_none_or(|job| job.state.is_final()))
        }
        Err(_) => Ok(true),
    }
}

/// The document as a write left it that a job has made. Without its data, and marked so, when that
/// is not kept any more.
///
/// # Errors
/// [`DocumentError::Malformed`], [`DocumentError::Store`].
pub async fn as_written(
    documents: &Documents,
    head: &DocumentHead,
) -> Result<Document, DocumentError> {
    let version = Version {
        revision: head.revision,
        created_at: Some(head.created_at),
    };
    if let Some(kept) = documents.at(&head.service, &head.id, version).await? {
        return Ok(kept);
    }
    let mut envelope = serde_json::to_value(head)?;
    envelope["dataOmitted"] = true.into();
    Ok(Document {
        revision: head.revision,
        created_at: head.created_at,
        deleted: head.deleted,
        json: envelope.to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sluice_store::documents::Change;

    use super::*;

    fn label(user: Option<&str>) -> String {
        let write = WriteDocument {
            service: "s".to_owned(),
            id: "a".to_owned(),
            token: "t".to_owned(),
            write: Write {
                change: Change::Delete,
                expected_revision: None,
                conditions: Default::default(),
                idempotency: None,
            },
        };
        let submitter = Submitter {
            user: user.map(str::to_owned),
            trace: None,
        };
        new_job(&write, &submitter).unwrap().label.unwrap()
    }

    #[test]
    fn a_write_that_is_nobodys_may_be_seen_by_writers_of_its_service_too() {
        assert_eq!(label(Some("u")), "docs:read");
        assert_eq!(label(None), "docs:write:s docs:write docs:read");
    }
}

//! Why a job did not do what it was asked to.

use sluice_convex::client::ConvexError;
use sluice_objects::ObjectsError;
use sluice_queue::{JobError, QueueError};
use sluice_store::StoreError;
use sluice_store::documents::DocumentError;
use sluice_store::filesync::FilesyncError;
use sluice_valkey::Fault;

use crate::refusal::Refusal;

/// Whatever ends a job early.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The answer is "no".
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// It was asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// Others go first; the job goes on from its checkpoint.
    #[error("to be continued")]
    Yield,
    /// A document could not be read or written.
    #[error(transparent)]
    Document(#[from] DocumentError),
    /// File sync refused what it was asked to do.
    #[error(transparent)]
    Filesync(FilesyncError),
    /// The cache failed.
    #[error(transparent)]
    Store(StoreError),
    /// Convex failed.
    #[error(transparent)]
    Convex(#[from] ConvexError),
    /// Contents of files could not be listed or removed.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// The queue failed.
    #[error(transparent)]
    Queue(#[from] QueueError),
    /// The request is of another version.
    #[error("the payload does not fit this version of the job: {0}")]
    Payload(QueueError),
}

impl From<StoreError> for Failure {
    /// A moved epoch means that an invalidate came in between, and an exceeded limit is an answer;
    /// all else is a fault.
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Superseded => Self::Refused(Refusal::Invalidated),
            StoreError::LimitExceeded { limit } => Self::Refused(Refusal::LimitExceeded { limit }),
            other => Self::Store(other),
        }
    }
}

impl From<FilesyncError> for Failure {
    fn from(error: FilesyncError) -> Self {
        match error {
            FilesyncError::Store(error) => error.into(),
            error => Self::Filesync(error),
        }
    }
}

impl Failure {
    /// What kept Valkey from doing what it was asked, if that ended the job.
    fn fault(&self) -> Option<Fault> {
        match self {
            Self::Store(error) | Self::Document(DocumentError::Store(error)) => error.fault(),
            Self::Queue(error) => error.fault(),
            _ => None,
        }
    }
}

impl From<Failure> for JobError {
    fn from(failure: Failure) -> Self {
        if failure.fault().is_some_and(Fault::is_brief) {
            return Self::Outage(failure.to_string());
        }
        let retryable = match &failure {
            Failure::Refused(refusal) => return Self::refuse(refusal),
            Failure::Document(error) if error.is_answer() => return Self::refuse(error),
            Failure::Document(DocumentError::Store(error)) => error.is_retryable(),
            // Writers at once make way for a job, and a missing module may be loaded.
            Failure::Document(DocumentError::Contended | DocumentError::NoJsonModule) => true,
            Failure::Document(_) | Failure::Filesync(_) => false,
            Failure::Cancelled => return Self::Cancelled,
            Failure::Yield => return Self::Yield,
            // The next attempt stages anew.
            Failure::Store(StoreError::StagingLost) => true,
            Failure::Store(error) => error.is_retryable(),
            // A refused key is the operator's to mend, and no reason to give up a deletion
            // meanwhile.
            Failure::Convex(ConvexError::Unauthorized { .. } | ConvexError::Forbidden { .. }) => {
                true
            }
            // The next attempt begins at a time that Convex still remembers.
            Failure::Convex(ConvexError::CursorExpired { .. }) => true,
            Failure::Convex(error) => error.is_retryable(),
            Failure::Objects(_) => true,
            Failure::Queue(_) => true,
            Failure::Payload(_) => false,
        };
        if retryable {
            Self::Retry(failure.to_string())
        } else {
            Self::Fatal(failure.to_string())
        }
    }
}

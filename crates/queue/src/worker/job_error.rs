//! What a handler may return.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use sluice_valkey::Fault;

use crate::QueueError;

/// What a handler returns: the job's result, whatever can be written as JSON of at most
/// [`RESULT_LIMIT`](crate::RESULT_LIMIT) bytes.
pub type HandlerResult<T = Box<RawValue>> = Result<T, JobError>;

/// How a run may end without a result.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JobError {
    /// Something went wrong that may be better next time: the job is tried again after a pause, as
    /// often as it may.
    #[error("{0}")]
    Retry(String),
    /// Valkey was away or busy: the job is tried again after a pause, and the attempt does not
    /// count, for the first [`OUTAGES`](crate::keys::OUTAGES) times.
    #[error("{0}")]
    Outage(String),
    /// The job ran and its answer is "no", for the given reason: it is completed and never tried
    /// again.
    #[error("refused: {0}")]
    Refuse(Box<RawValue>),
    /// It cannot ever succeed: straight to the dead letters.
    #[error("{0}")]
    Fatal(String),
    /// It has done a part and lets others go first: it joins the end of its line, and the attempt
    /// does not count. What the next run has to know is [saved](crate::Run::save_checkpoint)
    /// before.
    #[error("to be continued")]
    Yield,
    /// It ended because it was asked to.
    #[error("cancelled")]
    Cancelled,
}

impl JobError {
    /// [`JobError::Refuse`], for a reason that can be written as JSON.
    pub fn refuse(reason: &impl Serialize) -> Self {
        to_raw_value(reason).map_or_else(Self::unwritable, Self::Refuse)
    }

    /// The end of a run whose outcome cannot be written as JSON.
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
    pub(super) fn unwritable(error: serde_json::Error) -> Self {
        Self::Fatal(format!("its outcome is no JSON: {error}"))
    }
}

/// What a run's own calls of the queue fail with: [`JobError::Fatal`] what is kept of the job in
/// another shape, [`JobError::Outage`] a Valkey that is away or busy, [`JobError::Retry`] all else.
impl From<QueueError> for JobError {
    fn from(error: QueueError) -> Self {
        let message = error.to_string();
        match error {
            QueueError::Json(_) | QueueError::Malformed(_) => Self::Fatal(message),
            error if error.fault().is_some_and(Fault::is_brief) => Self::Outage(message),
            _ => Self::Retry(message),
        }
    }
}

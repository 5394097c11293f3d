//! What the script answers that adds jobs.

use redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use crate::job::Enqueued;
use crate::{BatchId, JobId, QueueError};

/// The script's answer for one job.
pub(crate) enum Added {
    New,
    Existing(String),
    Conflict(String),
    /// Its batch.
    Ended(String),
    /// The job before it in its chain was not added.
    Skipped,
    /// There is no room for it.
    Full,
}

impl Added {
    /// All that [`Added::outcome`] says.
    pub const OUTCOMES: [&'static str; 6] =
        ["new", "existing", "conflict", "ended", "skipped", "full"];

    pub fn of(self, id: &JobId) -> Result<Enqueued, QueueError> {
        let other = |job: &str| JobId::from_parts(id.queue(), job);
        match self {
            Self::New => Ok(Enqueued {
                id: id.clone(),
                existing: false,
            }),
            Self::Existing(job) => Ok(Enqueued {
                id: other(&job),
                existing: true,
            }),
            Self::Conflict(job) => Err(QueueError::IdempotencyKeyReused { first: other(&job) }),
            Self::Ended(batch) => {
                let batch = BatchId::from_parts(id.queue(), &batch);
                Err(QueueError::BatchEnded(batch))
            }
            Self::Skipped => Err(QueueError::NotFound(id.clone())),
            Self::Full => Err(QueueError::Full(id.queue().to_owned())),
        }
    }

    pub fn outcome(&self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Existing(_) => "existing",
            Self::Conflict(_) => "conflict",
            Self::Ended(_) => "ended",
            Self::Skipped => "skipped",
            Self::Full => "full",
        }
    }
}

impl FromRedisValue for Added {
    fn from_redis_value(answer: Value) -> Result<Self, ParsingError> {
        if answer == Value::Int(1) {
            return Ok(Self::New);
        }
        let (outcome, job): (String, String) = from_redis_value(answer)?;
        match outcome.as_str() {
            "existing" => Ok(Self::Existing(job)),
            "conflict" => Ok(Self::Conflict(job)),
            "ended" => Ok(Self::Ended(job)),
            "skipped" => Ok(Self::Skipped),
            "full" => Ok(Self::Full),
            _ => Err(format!("outcome {outcome:?}").into()),
        }
    }
}

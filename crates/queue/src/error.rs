//! What can go wrong when talking to a queue.

use sluice_valkey::Fault;

/// An error of a queue operation.
#[derive(Debug, thiserror::Error)]
pub enum QueueError {
    /// Valkey did not answer, or refused. The operation may have happened.
    #[error("Valkey: {0}")]
    Valkey(#[from] redis::RedisError),
    /// The user may not subscribe to the events of queues.
    #[error("Valkey refuses the subscription to events; the user needs the channels sq1:*:events")]
    SubscriptionRefused,
    /// The address of Valkey cannot be used.
    #[error(transparent)]
    Address(#[from] sluice_valkey::AddressError),
    /// Something took longer than it may.
    #[error("no answer in time from {0}")]
    Timeout(&'static str),
    /// The thread that extends leases could not be started.
    #[error("cannot start the heartbeat: {0}")]
    Heartbeat(std::io::Error),
    /// There is no such job (any more).
    #[error("no job {0}")]
    NotFound(crate::JobId),
    /// The idempotency key was used before for another request.
    #[error("the idempotency key was used for another request, whose job is {first}")]
    IdempotencyKeyReused {
        /// The job of the first request.
        first: crate::JobId,
    },
    /// The batch has ended and takes no more jobs, or is gone.
    #[error("batch {0} has ended")]
    BatchEnded(crate::BatchId),
    /// The queue has as many jobs that have not ended as it [may](crate::QueueConfig::backlog_limit).
    /// The job was not added; it can be when others have ended.
    #[error("the queue {0} is full")]
    Full(String),
    /// Something is larger than a queue keeps.
    #[error("{what} has {bytes} bytes, the limit is {limit}")]
    TooLarge {
        /// What: "payload", "result", "checkpoint", "progress", "group"…
        what: &'static str,
        /// Its size.
        bytes: usize,
        /// The limit.
        limit: usize,
    },
    /// A setting is out of its bounds.
    #[error("{what} {rule}")]
    Invalid {
        /// Which: "backoff.growth"…
        what: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A queue name has other characters than `a-z`, `0-9` and `-`, is empty or longer than 64
    /// characters.
    #[error("invalid queue name {0:?}")]
    InvalidQueue(String),
    /// A job id has another shape than `<queue>_<ulid>`.
    #[error("invalid job id {0:?}")]
    InvalidId(String),
    /// The lease on the job was lost: another worker runs it, or has ended it.
    #[error("the lease on job {0} is lost")]
    LeaseLost(crate::JobId),
    /// A value could not be written as or read from JSON.
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// A stored job has a shape that this version does not know.
    #[error("malformed job: {0}")]
    Malformed(String),
}

impl QueueError {
    /// What kept Valkey from doing what it was asked; none when it is not Valkey that failed.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            Self::Valkey(error) => Some(Fault::of(error)),
            Self::Timeout(_) => Some(Fault::Outage),
            Self::SubscriptionRefused => Some(Fault::AccessDenied),
            _ => None,
        }
    }

    /// Whether a key holds another kind of value than the queue keeps there.
    pub fn is_damage(&self) -> bool {
        let Self::Valkey(error) = self else {
            return false;
        };
        // A script passes the error on in its own.
        let detail = error.detail().unwrap_or_default();
        error.code() == Some("WRONGTYPE") || detail.contains("WRONGTYPE")
    }

    /// Whether Valkey is away or busy, which the log says once for the whole process.
    pub fn is_outage(&self) -> bool {
        matches!(self.fault(), Some(Fault::Outage | Fault::Busy))
    }
}

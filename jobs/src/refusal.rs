//! The "no" of a job.

use serde::{Deserialize, Serialize};

/// The answer of a job about metadata when the answer is "no": final, not worth a retry, and not
/// the operator's concern.
///
/// Serialized as `{"error":"limit_exceeded","limit":n}` and the like; the contract fixes the
/// `error` names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum Refusal {
    /// The files exceed the limit and the type allows no skipping. Nothing was changed.
    #[error("the files exceed the limit of {limit} bytes; nothing was synced")]
    LimitExceeded {
        /// The limit in bytes of id plus serialized entry, summed.
        limit: u64,
    },
    /// Convex holds no file of this user, and the cache holds none either.
    #[error("the user has no files")]
    UserNotFound,
    /// The user's entries were invalidated while the job ran, so it did not put them back.
    #[error("the user's entries were invalidated while the job ran")]
    Invalidated,
}

/// The "no" of jobs that never say it.
#[derive(Debug, Deserialize)]
pub enum NoRefusal {}

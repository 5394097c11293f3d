//! What a caller asks for, the job that each request becomes, and the refusals it may answer with.

use serde::{Deserialize, Serialize};
use sluice_queue::{Idempotency, NewJob, QueueError, Unique};
use sluice_store::documents::Write;

use crate::document::WriteDocument;
use crate::invalidate::Invalidate;
use crate::job::Job;
use crate::prefetch::{Prefetch, PrefetchWork};
use crate::sync::Sync;

/// Which files a sync loads, and what happens when they do not fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum SyncType {
    /// All of the user's files, or none when they exceed the limit.
    AllOne,
    /// As many of the user's files as fit, the rest counted as skipped.
    AllTwo,
    /// The most active files as one group, or none when the group exceeds the limit.
    MostOne,
    /// As many of the most active files as fit, the rest counted as skipped.
    MostTwo,
}

impl SyncType {
    /// All types, in the order in which the contract lists them.
    pub const ALL: [Self; 4] = [Self::AllOne, Self::AllTwo, Self::MostOne, Self::MostTwo];

    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::AllOne => "allOne",
            Self::AllTwo => "allTwo",
            Self::MostOne => "mostOne",
            Self::MostTwo => "mostTwo",
        }
    }
}

/// The body of `POST /api/v1/e/meta/sync`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncRequest {
    /// The owner of the files.
    pub user: String,
    /// Which files, and what happens over the limit.
    #[serde(rename = "type")]
    pub kind: SyncType,
}

/// The body of `POST /api/v1/e/meta/prefetch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrefetchRequest {
    /// The owner of the files.
    pub user: String,
    /// How many of the most frequently read files, at least 1.
    pub limit: u32,
}

/// Why entries are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum InvalidateType {
    /// The user logged out: entries leave Valkey, Convex is untouched.
    Out,
    /// The account was deleted: entries leave Valkey and documents leave Convex.
    Del,
}

impl InvalidateType {
    /// The name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Out => "OUT",
            Self::Del => "DEL",
        }
    }
}

/// The body of `POST /api/v1/e/meta/invalidate`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InvalidateRequest {
    /// The owner of the files.
    pub user: String,
    /// Log-out or deletion.
    #[serde(rename = "type")]
    pub kind: InvalidateType,
}

/// Where work stands in line that no caller waits for: behind what callers ask for.
pub(crate) const BATCH_PRIORITY: u8 = 9;

/// Where deletions of accounts stand in line: behind log-outs, which are quick, and before batch
/// work.
const DELETION_PRIORITY: u8 = 7;

/// The queue of accepted writes to documents.
pub const DOCUMENTS_QUEUE: &str = WriteDocument::QUEUE;

/// A write to a document that was accepted and is to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DocumentRequest {
    /// The service that the document belongs to.
    pub service: String,
    /// Its id.
    pub id: String,
    /// The name under which the store has accepted the write.
    pub token: String,
    /// What to do.
    pub write: Write,
}

impl DocumentRequest {
    /// The job that makes this write, in the group of its document, for `user`.
    ///
    /// # Errors
    /// When the request cannot be written as JSON.
    pub fn into_job(self, user: Option<String>) -> Result<NewJob, QueueError> {
        let idempotency = self.write.idempotency.clone().map(|it| Idempotency {
            key: format!("{}:{}:{}", self.service, self.id, it.key),
            fingerprint: it.fingerprint,
        });
        Ok(NewJob {
            group: Some(format!("{}:{}", self.service, self.id)),
            user,
            // Services take turns, however many users write to them.
            turn: Some(format!("service:{}", self.service)),
            idempotency,
            ..WriteDocument::new_job(&self)?
        })
    }
}

/// A job's answer when the answer is "no": final, not worth a retry, and not the operator's
/// concern.
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

/// A request that is served by a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Replace the user's cached entries by one bulk set.
    Sync(SyncRequest),
    /// Refresh the user's most frequently read entries.
    Prefetch(PrefetchRequest),
    /// Drop the user's entries.
    Invalidate(InvalidateRequest),
}

impl Request {
    /// The job that serves this request.
    ///
    /// Requests that may share one run carry a unique key: syncs of one user and type, prefetches
    /// of one user and limit, deletions of one user. A log-out never shares: an earlier one that
    /// still runs may already have passed the entries that this caller wants gone.
    ///
    /// # Errors
    /// When the request cannot be written as JSON.
    pub fn into_job(self, idempotency: Option<Idempotency>) -> Result<NewJob, QueueError> {
        let (user, job) = match self {
            Self::Sync(request) => {
                let job = NewJob {
                    unique: Some(Unique::by_key(format!(
                        "{}:{}",
                        request.kind.as_str(),
                        request.user
                    ))),
                    group: Some(request.user.clone()),
                    ..Sync::new_job(&request)?
                };
                (request.user, job)
            }
            Self::Prefetch(request) => {
                let work = PrefetchWork {
                    request,
                    read_at: None,
                };
                let PrefetchRequest { user, limit } = &work.request;
                let job = NewJob {
                    unique: Some(Unique::by_key(format!("{limit}:{user}"))),
                    ..Prefetch::new_job(&work)?
                };
                (work.request.user, job)
            }
            Self::Invalidate(request) => {
                let job = NewJob {
                    frees_memory: true,
                    ..Invalidate::new_job(&request)?
                };
                let job = match request.kind {
                    InvalidateType::Out => job,
                    // A deletion is never given up, however long Convex is away.
                    InvalidateType::Del => NewJob {
                        unique: Some(Unique::by_key(format!("DEL:{}", request.user))),
                        max_attempts: None,
                        priority: DELETION_PRIORITY,
                        ..job
                    },
                };
                (request.user, job)
            }
        };
        Ok(NewJob {
            user: Some(user),
            idempotency,
            ..job
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_deletion_is_never_given_up_and_a_log_out_is() {
        let attempts = |kind| {
            let user = "u".to_owned();
            let request = Request::Invalidate(InvalidateRequest { user, kind });
            request.into_job(None).unwrap().max_attempts
        };
        assert_eq!(attempts(InvalidateType::Del), None);
        assert!(attempts(InvalidateType::Out).is_some());
    }
}

use serde::{Deserialize, Serialize};

use super::Version;
use crate::StoreError;

/// Why a document could not be read or written. Nothing has changed then.
///
/// Those that are an answer, not a fault, can be written as JSON,
/// `{"error":"revision_conflict",…}`, and read again.
#[derive(Debug, Serialize, Deserialize, thiserror::Error)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum DocumentError {
    /// There is no such document, or it is deleted or has expired.
    #[error("there is no such document")]
    NotFound,
    /// A document to be created is there already, perhaps deleted.
    #[error("there is a document of this id, or a deleted one that can be restored")]
    AlreadyExists,
    /// A document to be restored is not deleted.
    #[error("the document is not deleted")]
    NotDeleted,
    /// The document is at another revision than the writer expected.
    #[error("the document is at revision {current}, not at the expected {expected}")]
    RevisionConflict {
        /// What the writer expected.
        expected: Version,
        /// What the document is at; with its time of creation when the writer named one.
        current: Version,
    },
    /// The document is in a state that the request's `If-Match` or `If-None-Match` rules out, or is
    /// not there.
    #[error(
        "the document {} the request's condition does not allow",
        current.map_or("is not there, which".to_owned(), |it| format!("is at revision {it}, which"))
    )]
    ConditionFailed {
        /// The first revision that `If-Match` names, if any.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        /// What the document is at, if it is there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        current: Option<u64>,
    },
    /// Writes that were accepted before have to be made first.
    #[error("writes that were accepted before are still to be made")]
    #[serde(skip)]
    Waiting,
    /// An accepted write was made long ago, or is too old to be made.
    #[error("the write was made, or given up, too long ago to tell")]
    #[serde(skip)]
    NotAccepted,
    /// Writers without an expected revision came in between for too long.
    #[error("the document is written too often")]
    #[serde(skip)]
    Contended,
    /// A mutation names a place that does not exist, or does not fit what is there.
    #[error("mutations[{index}]: {reason}")]
    #[serde(rename = "invalid_mutation")]
    Mutation {
        /// Its place in the list, from 0.
        index: usize,
        /// What is wrong with it.
        reason: String,
    },
    /// More mutations than one call may bring.
    #[error("mutations: there may be at most {limit} in one call")]
    TooManyMutations {
        /// The most of them.
        limit: usize,
    },
    /// The document would be too large.
    #[error(
        "{}data: the document would be larger than {limit} bytes",
        place(mutation)
    )]
    #[serde(rename = "document_too_large")]
    TooLarge {
        /// The most bytes of `data`, as compact JSON.
        limit: usize,
        /// The mutation that would make it so, from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mutation: Option<usize>,
    },
    /// The document would be nested too deep.
    #[error(
        "{}data: the document would be nested deeper than {limit} levels",
        place(mutation)
    )]
    #[serde(rename = "document_too_deep")]
    TooDeep {
        /// The most levels, `data` itself being the first.
        limit: usize,
        /// The mutation that would make it so, from 0.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mutation: Option<usize>,
    },
    /// The time at which the document is to expire has come already.
    #[error("expiresAt: must be in the future, in milliseconds since 1970")]
    AlreadyExpired,
    /// The idempotency key came with another request before.
    #[error("the idempotency key was used with another request")]
    IdempotencyKeyReused,
    /// The server has no JSON module.
    #[error("the Valkey server has no JSON module loaded")]
    #[serde(skip)]
    NoJsonModule,
    /// What Valkey holds under a document's key is not a document.
    #[error("a stored document is malformed: {0}")]
    #[serde(skip)]
    Malformed(#[from] serde_json::Error),
    /// The store failed.
    #[error(transparent)]
    #[serde(skip)]
    Store(#[from] StoreError),
}

impl DocumentError {
    /// Whether this is the answer to what was asked, rather than a fault that may be over the next
    /// time.
    pub fn is_answer(&self) -> bool {
        use DocumentError::*;
        match self {
            NotFound
            | AlreadyExists
            | NotDeleted
            | RevisionConflict { .. }
            | ConditionFailed { .. }
            | Mutation { .. }
            | TooManyMutations { .. }
            | TooLarge { .. }
            | TooDeep { .. }
            | AlreadyExpired
            | IdempotencyKeyReused => true,
            Waiting | NotAccepted | Contended | NoJsonModule | Malformed(_) | Store(_) => false,
        }
    }
}

/// Where the mutation is in its list, before what is wrong.
fn place(mutation: &Option<usize>) -> String {
    mutation.map_or_else(String::new, |index| format!("mutations[{index}]: "))
}

impl From<redis::RedisError> for DocumentError {
    fn from(error: redis::RedisError) -> Self {
        StoreError::from(error).into()
    }
}

//! What a write makes of a document.

use serde::{Deserialize, Serialize};

use super::budget::{Budget, size};
use super::envelope::Envelope;
use super::mutation::{Mutation, apply, merge};
use super::{Conditions, Data, DocumentError, DocumentsConfig, Version};

/// A change to a document, and what must hold for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// What to change.
    pub change: Change,
    /// The revision that the document must be at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<Version>,
    /// What else must hold of the document.
    #[serde(default, skip_serializing_if = "Conditions::is_empty")]
    pub conditions: Conditions,
    /// What the caller calls this write, so that sending it again does not make it twice.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency: Option<Idempotency>,
}

/// What a write makes of a document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// A new document.
    Create(Data, Expiry),
    /// All data is replaced.
    Replace(Data, Expiry),
    /// Data is merged in (RFC 7396): fields that are null are taken away.
    Merge(Data, Expiry),
    /// Mutations in order, all or none.
    Mutate(Vec<Mutation>, Expiry),
    /// The document is deleted, and can be restored for some time.
    Delete,
    /// The deleted document is back.
    Restore,
}

/// When a document is to be gone, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expiry {
    /// When it was before; never, for a new document.
    #[default]
    Keep,
    /// Never.
    Never,
    /// From this millisecond on.
    At(ExpiryTime),
}

/// Milliseconds since 1970, within what Valkey takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct ExpiryTime(u64);

/// A time that is beyond what Valkey takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be null, or at most {}, in milliseconds since 1970",
    ExpiryTime::MAX
)]
pub struct BeyondTime;

impl ExpiryTime {
    /// The greatest one.
    pub const MAX: u64 = i64::MAX as u64;
}

impl TryFrom<u64> for ExpiryTime {
    type Error = BeyondTime;

    fn try_from(ms: u64) -> Result<ExpiryTime, BeyondTime> {
        match ms {
            0..=ExpiryTime::MAX => Ok(ExpiryTime(ms)),
            _ => Err(BeyondTime),
        }
    }
}

impl From<ExpiryTime> for u64 {
    fn from(ExpiryTime(ms): ExpiryTime) -> u64 {
        ms
    }
}

/// A write's name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Idempotency {
    /// Unique to the caller and the kind of write; remembered for 24 hours.
    pub key: String,
    /// Differs between requests that ask for different things.
    pub fingerprint: String,
}

impl Change {
    /// Whether the data may come to be other than it was.
    pub(super) fn is_of_data(&self) -> bool {
        !matches!(self, Change::Delete | Change::Restore)
    }
}

/// What a write is computed from.
pub(super) struct Base {
    /// The server's time, in milliseconds since 1970.
    pub now: u64,
    /// The document, deleted or not.
    pub current: Option<Envelope>,
    /// About how long the document's data is as JSON, in bytes.
    pub bytes: usize,
    /// Behind which revision a new document begins; 0 when no former one of its id is remembered.
    pub begins_behind: u64,
}

impl Base {
    /// The document as the write would leave it.
    pub fn next(self, write: &Write, config: &DocumentsConfig) -> Result<Envelope, DocumentError> {
        let there = self.current.as_ref();
        let there = there.filter(|it| !it.deleted || write.change == Change::Restore);
        write.conditions.check(there.map(Envelope::version))?;
        let mut next = match (self.current, &write.change) {
            (None, Change::Create(..)) => Envelope::new(self.begins_behind, self.now),
            (Some(_), Change::Create(..)) => return Err(DocumentError::AlreadyExists),
            (Some(current), Change::Restore) if current.deleted => current,
            (Some(_), Change::Restore) => return Err(DocumentError::NotDeleted),
            (Some(current), _) if !current.deleted => current,
            _ => return Err(DocumentError::NotFound),
        };
        if let Some(expected) = write.expected_revision
            && !expected.names(next.version())
        {
            let current = Version {
                created_at: expected.created_at.and(Some(next.created_at)),
                ..next.version()
            };
            return Err(DocumentError::RevisionConflict { expected, current });
        }
        let mut budget = Budget::new(config, self.bytes);
        let expiry = match &write.change {
            Change::Create(data, expiry) | Change::Replace(data, expiry) => {
                next.data = data.clone();
                *expiry
            }
            Change::Merge(patch, expiry) => {
                budget
                    .spend(&mut next.data, size, |data, budget| {
                        merge(data, patch, 1, budget)
                    })
                    .map_err(|refusal| refusal.into_error(config, None))?;
                *expiry
            }
            Change::Mutate(mutations, expiry) => {
                next.data = apply(next.data, mutations, config, &mut budget)?;
                *expiry
            }
            Change::Delete => {
                next.deleted = true;
                Expiry::Keep
            }
            Change::Restore => {
                next.deleted = false;
                Expiry::Keep
            }
        };
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => next.expires_at = None,
            Expiry::At(ExpiryTime(at)) if at > self.now => next.expires_at = Some(at),
            Expiry::At(_) => return Err(DocumentError::AlreadyExpired),
        }
        next.revision += 1;
        Ok(next)
    }
}

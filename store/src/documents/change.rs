//! What a write makes of a document.

use serde::{Deserialize, Serialize};

use super::envelope::Envelope;
use super::mutation::{Mutation, apply, merge};
use super::{Data, DocumentError};

/// A change to a document, and what must hold for it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Write {
    /// What to change.
    pub change: Change,
    /// The revision that the document must be at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_revision: Option<u64>,
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
    At(u64),
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
}

impl Base {
    /// The document as the write would leave it.
    pub fn next(self, write: &Write) -> Result<Envelope, DocumentError> {
        let Base { now, current } = self;
        let mut next = match (current, &write.change) {
            (None, Change::Create(..)) => Envelope {
                revision: 0,
                data: Data::new(),
                created_at: now,
                updated_at: now,
                deleted: false,
                expires_at: None,
            },
            (Some(_), Change::Create(..)) => return Err(DocumentError::AlreadyExists),
            (Some(current), Change::Restore) if current.deleted => current,
            (Some(_), Change::Restore) => return Err(DocumentError::NotDeleted),
            (Some(current), _) if !current.deleted => current,
            _ => return Err(DocumentError::NotFound),
        };
        let current = next.revision;
        if let Some(expected) = write.expected_revision.filter(|&it| it != current) {
            return Err(DocumentError::RevisionConflict { expected, current });
        }
        let expiry = match &write.change {
            Change::Create(data, expiry) | Change::Replace(data, expiry) => {
                next.data = data.clone();
                *expiry
            }
            Change::Merge(patch, expiry) => {
                merge(&mut next.data, patch);
                *expiry
            }
            Change::Mutate(mutations, expiry) => {
                next.data = apply(next.data, mutations)?;
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
            Expiry::At(at) if at > now => next.expires_at = Some(at),
            Expiry::At(_) => return Err(DocumentError::AlreadyExpired),
        }
        next.revision += 1;
        Ok(next)
    }
}

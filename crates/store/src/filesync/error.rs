use redis::RedisError;

use super::shares::MAX_GRANTS;
use super::{ChangeFault, Interrupted};
use crate::StoreError;

/// Why a call of file sync was not done.
#[derive(Debug, thiserror::Error)]
pub enum FilesyncError {
    /// There is no such thing, or the caller may not know that there is.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// The caller may read the share, but not do this.
    #[error("the share may be read, but this needs more rights")]
    Forbidden,
    /// The owner of a share has all rights, which nobody can change.
    #[error("the owner of a share has all rights already")]
    OwnerGrant,
    /// A share has as many grants as it may.
    #[error("a share has {MAX_GRANTS} grants at most")]
    TooManyGrants,
    /// A user has 100 devices at most.
    #[error("a user has {} devices at most", super::MAX_DEVICES)]
    TooManyDevices,
    /// The device is switched off, or has not been seen for long.
    #[error("the device is inactive")]
    DeviceInactive,
    /// A position that the log does not lead on from.
    #[error("{}", .0.message())]
    CursorInvalid(CursorFault),
    /// What was sent breaks a rule.
    #[error("{}", .0.detail)]
    Change(ChangeFault),
    /// A change ended its batch.
    #[error("change {} ended the batch", .0.index)]
    Interrupted(Box<Interrupted>),
    /// The conflict was resolved by another strategy, which is named.
    #[error("the conflict was resolved by {0}")]
    ResolvedOtherwise(String),
    /// The length of an upload does not fit below the share's quota.
    #[error("the share has no room for so many bytes")]
    QuotaExceeded,
    /// The name is of an upload of another file or length.
    #[error("the upload of this name is of another file or length")]
    UploadReused,
    /// The upload is to be gone on with from another offset, which is named.
    #[error("the upload goes on at byte {0}")]
    UploadElsewhere(u64),
    /// Another request has taken the upload over.
    #[error("another request goes on with the upload")]
    UploadOutrun,
    /// Valkey did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What is wrong with a cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CursorFault {
    /// Entries that the client has read are not those of the log: the server has lost some, or it
    /// began anew. The client takes a snapshot.
    HistoryChanged,
    /// The log does not reach back to it. The client takes a snapshot.
    Expired,
}

impl CursorFault {
    /// As callers are told.
    pub fn reason(self) -> &'static str {
        match self {
            Self::HistoryChanged => "history_changed",
            Self::Expired => "expired",
        }
    }

    fn message(self) -> &'static str {
        match self {
            Self::HistoryChanged => "the cursor is of a history that is not there any more",
            Self::Expired => "the log does not reach back to the cursor",
        }
    }
}

impl From<RedisError> for FilesyncError {
    fn from(error: RedisError) -> Self {
        Self::Store(error.into())
    }
}

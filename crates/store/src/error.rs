use redis::RedisError;
use sluice_valkey::Fault;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Valkey refused a command, or the connection failed and stayed away through all attempts.
    #[error("Valkey: {0}")]
    Valkey(#[from] RedisError),
    /// An entry did not fit below the limit, and the policy was to refuse. Nothing readers see has
    /// changed.
    #[error("the set would exceed {limit} bytes")]
    LimitExceeded {
        /// The limit in bytes of ids and serialized entries, summed.
        limit: u64,
    },
    /// What this was begun with no longer holds: the user's cache was invalidated in the meantime.
    #[error("superseded in the meantime")]
    Superseded,
    /// The staging set expired, was lost or evicted, or another attempt has put its own in its
    /// place.
    #[error(
        "the staging set is gone: another attempt took its place, or Valkey lost or evicted it"
    )]
    StagingLost,
    /// Valkey has not what was written there before: it came back without its last writes, or
    /// without any.
    #[error("Valkey lost data")]
    DataLost,
    /// The set which a list cursor belongs to has been replaced; the list must be begun anew.
    #[error("the list has changed since the cursor was made")]
    CursorExpired,
    /// What Valkey holds is not what was put there.
    #[error("{0} in Valkey cannot be read")]
    Corrupt(&'static str),
    /// A setting is not acceptable.
    #[error("configuration: {0}")]
    Config(String),
}

impl StoreError {
    /// Whether the same call may succeed later: all that is not known to fail each time.
    pub fn is_retryable(&self) -> bool {
        self.fault().is_some_and(|fault| !fault.is_final())
    }

    /// What kept Valkey from doing what it was asked; none when it is not Valkey that failed.
    pub fn fault(&self) -> Option<Fault> {
        match self {
            StoreError::Valkey(error) => Some(Fault::of(error)),
            _ => None,
        }
    }
}

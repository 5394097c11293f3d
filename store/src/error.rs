use deadpool_redis::PoolError;
use redis::RedisError;

/// Why a call to the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Valkey refused a command, or the connection failed and stayed away through all attempts.
    #[error("Valkey: {0}")]
    Valkey(#[from] RedisError),
    /// No connection could be had from the pool in time.
    #[error("Valkey connection pool: {0}")]
    Pool(#[from] PoolError),
    /// An entry did not fit below the limit, and the policy was to refuse. Nothing readers see has changed.
    #[error("the set would exceed {limit} bytes")]
    LimitExceeded {
        /// The limit in bytes of ids and serialized entries, summed.
        limit: u64,
    },
    /// What this was begun with no longer holds: the user's cache was invalidated in the meantime, the staging set expired, or
    /// somebody else got the lease.
    #[error("superseded in the meantime, or expired")]
    Superseded,
    /// Valkey has not what was written there before: it came back without its last writes, or without any.
    #[error("Valkey lost data")]
    DataLost,
    /// The set which a list cursor belongs to has been replaced; the list must be begun anew.
    #[error("the list has changed since the cursor was made")]
    CursorExpired,
    /// A list cursor that this store never made.
    #[error("malformed cursor")]
    InvalidCursor,
    /// What Valkey holds is not what was put there.
    #[error("{0} in Valkey cannot be read")]
    Corrupt(&'static str),
    /// A setting is not acceptable.
    #[error("configuration: {0}")]
    Config(String),
}

impl StoreError {
    /// Whether the same call may succeed a little later: the connection failed, or the server is starting or busy.
    pub fn is_retryable(&self) -> bool {
        match self {
            StoreError::Valkey(error) => is_transient(error),
            StoreError::Pool(PoolError::Backend(error)) => is_transient(error),
            StoreError::Pool(error) => matches!(error, PoolError::Timeout(_)),
            _ => false,
        }
    }
}

fn is_transient(error: &RedisError) -> bool {
    use redis::{ErrorKind, ServerErrorKind};
    error.is_io_error()
        || error.is_connection_dropped()
        || error.is_timeout()
        || matches!(
            error.kind(),
            ErrorKind::Server(
                ServerErrorKind::BusyLoading
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::ReadOnly
            )
        )
}

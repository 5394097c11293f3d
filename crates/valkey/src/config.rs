//! How connections to Valkey are used: time-outs and sizes.

use std::time::Duration;

use redis::AsyncConnectionConfig;

/// Settings of the connections of one process.
#[derive(Debug, Clone)]
pub struct ValkeyConfig {
    /// Longest wait for the answer to one command, 10 s unless it is set. No function runs for
    /// long; this is for a server that is gone or hangs.
    pub response_timeout: Duration,
    /// Longest wait for a new connection, and for a free one of a pool. 5 s unless it is set.
    pub connect_timeout: Duration,
    /// Most connections that a pool holds, to each node. 32 unless it is set.
    pub pool_size: usize,
}

impl Default for ValkeyConfig {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
            pool_size: 32,
        }
    }
}

impl ValkeyConfig {
    /// As the client library takes it, whose own default of 500 ms is shorter than a busy server
    /// may need.
    pub(crate) fn connection(&self) -> AsyncConnectionConfig {
        AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.connect_timeout))
            .set_response_timeout(Some(self.response_timeout))
    }
}

//! What can be set about the tail.

use std::time::Duration;

use sluice_convex::History;

/// How the tail follows Convex.
#[derive(Debug, Clone)]
pub struct TailConfig {
    /// What it follows.
    pub history: History,
    /// The tenant of file sync whose users the owners of files are; none to leave file sync alone.
    pub tenant: Option<String>,
    /// How long it waits, when it knows all there is, before it asks again.
    pub interval: Duration,
    /// How often the ledger is compared with the whole table, to find what went unsaid; `None`:
    /// only when there is a reason.
    pub compare_every: Option<Duration>,
}

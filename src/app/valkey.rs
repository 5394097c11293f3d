//! The way to Valkey. Nothing else in this crate opens one.

use sluice_valkey::{Address, Valkey, ValkeyConfig};

/// The way of a process, with so many connections to a node at most for what may not be held up.
pub fn open_valkey(address: Address, connections: usize) -> Valkey {
    let config = ValkeyConfig {
        pool_size: connections,
        ..ValkeyConfig::default()
    };
    Valkey::open(address, config)
}

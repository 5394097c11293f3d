//! The ways to Valkey. Nothing else in this crate opens one.

use sluice_queue::{QueueConfig, QueueError, Queues};
use sluice_store::{StoreError, Valkey};
use sluice_valkey::Address;

/// The way of the store, with so many connections at most.
pub fn open_store(address: &Address, connections: usize) -> Result<Valkey, StoreError> {
    Valkey::open_at(address, connections)
}

/// The way of the queues.
pub async fn connect_queues(address: &Address, config: QueueConfig) -> Result<Queues, QueueError> {
    Queues::connect_to(address.clone(), config).await
}

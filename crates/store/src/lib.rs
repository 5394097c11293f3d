//! Everything Sluice keeps in Valkey: one module per thing kept, its keys, and the scripts that
//! change it in atomic steps.
//!
//! No other crate but the queue knows a Valkey key or script.

pub mod board;
pub mod cache;
pub mod documents;
mod error;
mod lanes;
mod script;
pub mod tail;
mod telemetry;
mod valkey;

pub use error::StoreError;
pub use script::Script;
pub use telemetry::describe_metrics;
pub use valkey::{ServerInfo, Valkey};

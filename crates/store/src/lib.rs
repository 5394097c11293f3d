//! Everything Sluice keeps in Valkey: one module per thing kept, its keys, and the functions
//! that change it in atomic steps.
//!
//! No other crate but the queue knows a key or a function.

pub mod board;
pub mod cache;
pub mod documents;
mod error;
pub mod filesync;
mod library;
mod spread;
pub mod tail;
mod telemetry;

pub use error::StoreError;
pub use telemetry::describe_metrics;

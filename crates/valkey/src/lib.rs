//! The one way to Valkey: where it is, which node has which key, the connections that tasks share,
//! functions, notifications, and what an error of the server means.

mod address;
mod call;
mod config;
mod fault;
mod hub;
mod library;
pub mod log;
mod node;
pub mod reach;
mod server;
mod slot;
mod status;
mod telemetry;
mod topology;
mod valkey;

pub use address::{Address, AddressError, TlsFiles};
pub use call::{Repeat, Spec};
pub use config::ValkeyConfig;
pub use fault::Fault;
pub use hub::{Hub, Notice, Subscription, Waiter};
pub use library::{Function, Library};
pub use server::ServerInfo;
pub use slot::slot_of;
pub use telemetry::describe_metrics;
pub use valkey::{Metrics, Valkey};

//! The way to Valkey: where it is, the connections that tasks share, and what an error of the
//! server means.

mod address;
mod fault;
mod node;
pub mod reach;

pub use address::{Address, AddressError, TlsFiles};
pub use fault::Fault;
pub use node::{Node, is_broken};

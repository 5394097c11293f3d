//! The way to Valkey, against a real one.
#![allow(clippy::unwrap_used)]

mod cluster;
mod faults;
mod sentinel;
mod server;
mod tls;

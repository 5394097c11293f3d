//! The way to Valkey, against a real one.
#![allow(clippy::unwrap_used)]

mod faults;
mod tls;

//! End to end: real processes of the `sluice` binary, a real Valkey, real HTTP, a real browser.
//!
//! Every test has its own processes on free ports and its own data folder, so that all run side by
//! side and leave nothing behind.
#![allow(clippy::unwrap_used, missing_docs)]

mod faults;
mod harness;

mod auth;
mod board;
mod cluster;
mod connections;
mod crashes;
mod dev;
mod documents;
mod filesync;
mod idempotency;
mod interplay;
mod invalidate;
mod metrics;
mod mirror;
mod names;
mod nudges;
mod operators;
mod prefetch;
mod reading;
mod sentinel;
mod settings;
mod sync;
mod tail;
mod transfers;
mod validation;
mod watchers;

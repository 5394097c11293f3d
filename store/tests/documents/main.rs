//! Documents against a real Valkey with the JSON module.
#![allow(clippy::unwrap_used)]

mod accepted;
mod concurrency;
mod events;
mod faults;
mod list;
mod model;
mod mutations;
mod numbers;
mod purge;
mod support;
mod writes;

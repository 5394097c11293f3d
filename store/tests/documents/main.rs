//! Documents against a real Valkey with the JSON module.
#![allow(clippy::unwrap_used)]

mod list;
mod mutations;
mod support;
mod writes;

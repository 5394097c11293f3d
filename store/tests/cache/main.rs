//! The metadata cache against a real Valkey.
#![allow(clippy::unwrap_used)]

mod support;

mod staging;

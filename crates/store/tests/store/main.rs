//! What is kept in Valkey, against a real one.
#![allow(clippy::unwrap_used)]

mod board;
mod cache;
mod documents;
mod filesync;
mod tail;

//! The metadata cache against a real Valkey.
#![allow(clippy::unwrap_used)]

mod activity;
mod amend;
mod faults;
mod invalidate;
mod keys;
mod list;
mod model;
mod read_through;
mod single;
mod staging;
mod support;

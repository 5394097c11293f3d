//! The metadata cache against a real Valkey.

mod activity;
mod amend;
mod faults;
mod invalidate;
mod keys;
mod list;
mod many;
mod model;
mod read_through;
mod single;
mod staging;
mod support;

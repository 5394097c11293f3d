//! The client against a store, or against a server that answers badly; and the store itself.
#![allow(clippy::unwrap_used)]

mod deployment;
mod embedded;
mod files;
mod history;
mod scripted;
mod transport;

//! The API over real parts: Valkey, the queue, the cache, and an embedded Convex behind HTTP. Where
//! a test needs a job to end in some way, it runs the worker itself.
#![allow(clippy::unwrap_used)]

mod app;
mod backlog;
mod board;
mod document_events;
mod document_jobs;
mod document_sockets;
mod documents;
mod entry_batches;
mod filesync;
mod jobs;
mod operation;
mod operators;
mod reads;
mod requests;
mod sockets;

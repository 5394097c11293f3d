//! Jobs over real parts: Valkey, the queue, and a Convex-compatible store behind HTTP.
#![allow(clippy::unwrap_used)]

mod tail;
mod transfers;

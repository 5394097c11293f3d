//! Convex from both sides of the wire: a client for a deployment's streaming export, streaming
//! import and functions, and an embedded store that answers as a deployment does.
//!
//! [`Client`] speaks HTTP to either. [`files()`] gives the `files` table through it as a [`Files`]:
//! by indexed Convex functions where they are deployed, by the streaming export where not.

pub mod client;
pub mod embedded;
pub mod files;
mod telemetry;

pub use client::{Client, ClientConfig, ConvexError, Secret};
pub use files::history::History;
pub use files::{File, FileChange, Files, FilesVia, files};
pub use telemetry::describe_metrics;

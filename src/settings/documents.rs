//! What documents may be like, and how long deleted ones can be restored.

use std::time::Duration;

use clap::Args;
use sluice_queue::PAYLOAD_LIMIT;
use sluice_store::documents::DocumentsConfig;

use super::help::HEADING;
use super::values::{between, seconds};

/// Limits of documents.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct DocumentSettings {
    /// The most that a document's data may be long, in bytes of compact JSON (1 to 67108864)
    #[arg(
        long,
        value_name = "BYTES",
        env = "SLUICE_DOCUMENT_LIMIT_BYTES",
        default_value = "1048576",
        value_parser = between::<1, 67_108_864, usize>
    )]
    pub document_limit_bytes: usize,

    /// How deep a document's data may be nested, itself included (1 to 100)
    #[arg(
        long,
        value_name = "LEVELS",
        env = "SLUICE_DOCUMENT_LIMIT_DEPTH",
        default_value = "64",
        value_parser = between::<1, 100, usize>
    )]
    pub document_limit_depth: usize,

    /// How many mutations one call may bring (1 to 100000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_DOCUMENT_LIMIT_MUTATIONS",
        default_value = "1000",
        value_parser = between::<1, 100_000, usize>
    )]
    pub document_limit_mutations: usize,

    /// How long a deleted document can be restored, in seconds; then it goes
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_DOCUMENT_RETENTION_SECS",
        default_value = "2592000",
        value_parser = seconds
    )]
    pub document_retention_secs: u64,
}

impl DocumentSettings {
    /// The largest job that a write may become, in bytes: as long as a body may be, and what goes
    /// with it.
    pub fn payload_limit(&self) -> usize {
        PAYLOAD_LIMIT.max(3 * self.document_limit_bytes + 64 * 1024)
    }

    /// As the store takes them.
    pub fn config(&self) -> DocumentsConfig {
        DocumentsConfig {
            max_bytes: self.document_limit_bytes,
            max_depth: self.document_limit_depth,
            max_mutations: self.document_limit_mutations,
            retention: Duration::from_secs(self.document_retention_secs),
        }
    }
}

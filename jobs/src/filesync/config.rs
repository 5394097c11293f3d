//! What can be set about contents of files.

use sluice_objects::Objects;
use sluice_store::filesync::Retention;

/// Where contents are kept, and what is taken of them.
#[derive(Debug, Clone)]
pub struct ContentsConfig {
    /// Where they are.
    pub objects: Objects,
    /// The longest content that is taken, in bytes.
    pub max_bytes: u64,
    /// How many uploads a process takes at a time.
    pub uploads: usize,
}

/// Where contents are kept, and for how long.
#[derive(Debug, Clone, Default)]
pub struct SweepConfig {
    /// Where they are, if they are kept anywhere.
    pub objects: Option<Objects>,
    /// What is kept of shares.
    pub retention: Retention,
}

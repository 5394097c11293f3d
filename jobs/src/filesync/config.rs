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

/// Where contents are kept, and when those that nothing needs are removed.
#[derive(Debug, Clone, Default)]
pub struct SweepConfig {
    /// Where they are, if they are kept anywhere.
    pub objects: Option<Objects>,
    /// When uploads and versions that were given up are removed, as a cron expression with seconds
    /// in UTC; `None`: never.
    pub sweep_schedule: Option<String>,
    /// When contents that nothing knows of are looked for, likewise.
    pub orphans_schedule: Option<String>,
    /// When the logs of shares are trimmed, likewise.
    pub trim_schedule: Option<String>,
    /// What is kept then.
    pub retention: Retention,
}

//! What the API and the workers both stand on.

use clap::Args;

use super::cache::CacheSettings;
use super::connections::{ConvexSettings, FilesSettings, PoolSettings, ValkeySettings};
use super::objects::ObjectSettings;
use super::queues::QueueSettings;

/// Valkey with its queues, Convex and the cache between them, and where contents of files are kept.
#[derive(Args, Clone, Debug)]
pub struct BackendSettings {
    #[command(flatten)]
    pub valkey: ValkeySettings,
    #[command(flatten)]
    pub pool: PoolSettings,
    #[command(flatten)]
    pub convex: ConvexSettings,
    #[command(flatten)]
    pub files: FilesSettings,
    #[command(flatten)]
    pub cache: CacheSettings,
    #[command(flatten)]
    pub objects: ObjectSettings,
    #[command(flatten)]
    pub queues: QueueSettings,
}

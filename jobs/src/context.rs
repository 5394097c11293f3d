//! What every job is given.

use std::sync::Arc;
use std::time::Duration;

use sluice_convex::files::Files;
use sluice_objects::Objects;
use sluice_queue::Queues;
use sluice_store::cache::Cache;
use sluice_store::documents::Documents;
use sluice_store::filesync::{Filesync, Retention};

/// The parts that jobs work with. Cheap to clone.
#[derive(Clone)]
pub struct Context {
    /// The metadata cache in Valkey.
    pub cache: Cache,
    /// The documents in Valkey.
    pub documents: Documents,
    /// File sync in Valkey.
    pub filesync: Filesync,
    /// How long a device may not be seen before it is put to sleep.
    pub device_idle: Duration,
    /// What file sync keeps.
    pub retention: Retention,
    /// Where the contents of files are, if they are kept anywhere.
    pub objects: Option<Objects>,
    /// The users' files in Convex.
    pub files: Arc<dyn Files>,
    /// The queues, for jobs that enqueue others.
    pub queues: Queues,
}

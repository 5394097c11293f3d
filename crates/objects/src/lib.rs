//! The content of files, in a folder of this machine, in S3, in Google Cloud Storage or in Azure.
//!
//! A content is kept in parts, each an object of its own: `<tenant>/<share>/<version>/<part>`. A
//! part is durable once it is written, so an upload that is cut off goes on behind its last part, in
//! any process. Which parts a content has is its [`Layout`], which is kept with what else is known of
//! it. This crate knows bytes and their names; who may read them, and which of them are still
//! needed, is known elsewhere.

mod attempts;
mod check;
mod delete;
mod error;
mod hash;
mod layout;
mod list;
mod name;
mod open;
mod read;
mod telemetry;
mod write;

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;

pub use error::ObjectsError;
pub use hash::{ContentHash, hex};
pub use layout::{Layout, LayoutError, PART_BYTES};
pub use name::ContentName;
pub use telemetry::describe_metrics;
pub use write::{Progress, Writer, Written};

/// Where contents are kept. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Objects {
    store: Arc<dyn ObjectStore>,
    /// The folder that holds all of it, where it is one of this machine.
    folder: Option<Arc<Path>>,
}

/// A content that is there as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// Its name.
    pub name: ContentName,
    /// Its length in bytes.
    pub size: u64,
    /// Its parts.
    pub layout: Layout,
}

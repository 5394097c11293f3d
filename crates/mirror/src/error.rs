//! What a mirror can stop with.

use std::io;
use std::path::PathBuf;

use sluice_client::ClientError;

/// Why a mirror has stopped, or has to be tried again.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The server refuses, or is not there.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The state cannot be kept.
    #[error("cannot use the mirror's state: {0}")]
    State(String),
    /// The folder cannot be used.
    #[error("cannot use {path}")]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Nothing is left in the folder, though something was.
    #[error("{path} is empty, and {nodes} files and folders were in it: is it mounted?")]
    Emptied {
        /// The folder.
        path: PathBuf,
        /// How many nodes were here.
        nodes: usize,
    },
    /// Much would be deleted.
    #[error("{deletions} of {nodes} files and folders were deleted here")]
    ManyDeletions {
        /// How many nodes would be deleted on the server.
        deletions: u64,
        /// How many nodes are in step.
        nodes: usize,
    },
    /// The share holds the deletions back.
    #[error("the share does not allow so many deletions within an hour")]
    HeldBack,
    /// The server does not take changes of this device.
    #[error("the server takes no changes of this device: its user may have switched it off")]
    Undelivered,
    /// Another process keeps this folder.
    #[error("another process keeps {0} in step")]
    Busy(PathBuf),
    /// The state is of another share.
    #[error("{path} is a mirror of the share {share}")]
    OtherShare {
        /// The folder.
        path: PathBuf,
        /// The share that it is in step with.
        share: String,
    },
}

impl MirrorError {
    /// Whether the same may succeed later although nothing else changes.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Client(error) if error.is_transient())
    }
}

impl From<rusqlite::Error> for MirrorError {
    fn from(error: rusqlite::Error) -> Self {
        Self::State(error.to_string())
    }
}

impl From<serde_json::Error> for MirrorError {
    fn from(error: serde_json::Error) -> Self {
        Self::State(error.to_string())
    }
}

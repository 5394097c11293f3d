//! File sync: shares with trees of files and folders, and the log of what changed in them.
//!
//! Each step is one function in the slot of its tenant, which changes the state, appends to the log
//! and publishes the nudge together. `keys` lists what is kept.

mod apply;
mod caller;
mod change;
mod changes;
mod conflicts;
mod contents;
mod cursors;
mod devices;
mod error;
mod follow;
mod functions;
mod ids;
mod keys;
mod live;
mod names;
mod preferences;
mod retention;
mod shares;
mod uploads;
mod versions;

use std::sync::Arc;

use sluice_valkey::Valkey;

use crate::library::METRICS;

pub use apply::{Applied, Batch, Interrupted, Interruption};
pub use caller::{Caller, Grantee, Level};
pub use change::{Change, ChangeFault, ChangeType, ResourceType, Strategy};
pub use changes::{ChangePage, SnapshotPage};
pub use conflicts::Conflict;
pub use contents::Garbage;
pub use cursors::{DeviceCursor, DeviceStatus};
pub use devices::{Device, DeviceChange, DeviceName, MAX_DEVICES, NewDevice, Platform};
pub use error::{CursorFault, FilesyncError};
pub use follow::{Followed, Happened, share_of};
pub use ids::{ROOT, is_id, new_id};
pub use live::{Event, Listener, Listening, Nudge};
pub use names::{Name, NameError, parse_path};
pub use preferences::{KeptPreference, Preference};
pub use retention::Retention;
pub use shares::{NewShare, Share, ShareChange, ShareSettings};
pub use uploads::{NewUpload, Opened, Upload, UploadState, UploadedVersion};
pub use versions::{KeptVersion, MAX_VERSIONS, Version};

use keys::Keys;
use live::Live;

/// File sync of all tenants. Cheap to clone.
#[derive(Clone)]
pub struct Filesync {
    valkey: Valkey,
    live: Arc<Live>,
}

impl Filesync {
    /// File sync kept in `valkey`.
    pub fn new(valkey: &Valkey) -> Self {
        Self {
            valkey: valkey.shared().measured(METRICS),
            live: Arc::default(),
        }
    }

    fn keys(caller: &Caller) -> Keys {
        Keys::new(&caller.tenant)
    }
}

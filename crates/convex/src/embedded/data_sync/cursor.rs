//! Where a sync is.

use std::collections::BTreeSet;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::Targets;
use crate::embedded::error::RequestError;

/// Where a sync is. It has captured every document of the synced tables, and those of the current
/// one up to where it is walked, in their revisions at `ts`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::embedded) struct SyncCursor {
    /// The sync's name.
    pub sync: String,
    /// In ns since the epoch.
    pub ts: i64,
    /// Tables that were walked to the end.
    pub synced: BTreeSet<u128>,
    pub current: Option<Walk>,
    /// Documents given out since the sync began, each revision counted.
    pub documents: u64,
}

/// How far a table is walked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(in crate::embedded) struct Walk {
    pub tablet: u128,
    /// The last document. No document has the internal id 0.
    pub after: u128,
    pub documents: u64,
}

impl SyncCursor {
    pub fn start(sync: String, ts: i64) -> SyncCursor {
        SyncCursor {
            sync,
            ts,
            synced: BTreeSet::new(),
            current: None,
            documents: 0,
        }
    }

    /// Error: 400 `InvalidDataSyncCursor`.
    pub fn parse(text: &str) -> Result<SyncCursor, RequestError> {
        let json = URL_SAFE_NO_PAD.decode(text).ok();
        json.and_then(|json| serde_json::from_slice(&json).ok())
            .ok_or_else(|| invalid("The cursor is not one that this server gave out."))
    }

    pub fn text(&self) -> Result<String, RequestError> {
        Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(self)?))
    }

    /// Forgets the tables that are no longer to be synced, and starts on one that is new.
    pub fn reconcile(&mut self, targets: &Targets) {
        self.synced.retain(|tablet| targets.contains_key(tablet));
        if self
            .current
            .is_none_or(|walk| !targets.contains_key(&walk.tablet))
        {
            self.start_next_table(targets);
        }
    }

    pub fn start_next_table(&mut self, targets: &Targets) {
        let next = targets.keys().find(|tablet| !self.synced.contains(tablet));
        self.current = next.map(|tablet| Walk {
            tablet: *tablet,
            after: 0,
            documents: 0,
        });
    }

    /// The tables of which something was given out, or was about to be.
    pub fn tablets(&self) -> BTreeSet<u128> {
        let current = self.current.map(|walk| walk.tablet);
        self.synced.iter().copied().chain(current).collect()
    }

    pub fn tracks(&self, tablet: u128) -> bool {
        self.synced.contains(&tablet) || self.current.is_some_and(|walk| walk.tablet == tablet)
    }

    /// Whether later revisions of this document have to be given out.
    pub fn captures(&self, tablet: u128, internal_id: u128) -> bool {
        let walked = |walk: Walk| walk.tablet == tablet && internal_id <= walk.after;
        self.synced.contains(&tablet) || self.current.is_some_and(walked)
    }
}

pub(super) fn invalid(message: &str) -> RequestError {
    RequestError::bad_request("InvalidDataSyncCursor", message)
}

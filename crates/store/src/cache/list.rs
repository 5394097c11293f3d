//! A user's entries, page by page.

use bytes::Bytes;

use super::functions::FUNCTIONS;
use super::{CHUNK_ENTRIES, Cache};
use crate::StoreError;

/// What the script returns: status, epoch, generation, total, next phase, next position, entries.
type Reply = (Status, u64, u64, u64, String, u64, Vec<Bytes>);

sluice_valkey::statuses! {
    /// What a list has.
    enum Status {
        Page = "page",
        /// Nothing: the epoch or the generation is another one than the cursor's.
        Changed = "changed",
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Serialized entries.
    pub entries: Vec<Bytes>,
    /// What to ask for the next page with; `None` on the last.
    pub cursor: Option<ListCursor>,
    /// Entries cached in all, in the bulk set and single.
    pub total: u64,
    /// The state of the bulk set that the list shows; 0 when there is none.
    pub generation: u64,
}

/// Where a list goes on, and the state of the cache it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListCursor {
    /// What is listed next.
    pub phase: ListPhase,
    /// The user's epoch.
    pub epoch: u64,
    /// The state of the bulk set.
    pub generation: u64,
    /// In the bulk set an index of its order; among single entries the expiry of the last one seen,
    /// in µs.
    pub position: u64,
}

/// What a list shows one after the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListPhase {
    /// The bulk set.
    Live,
    /// The entries cached one by one.
    Single,
}

impl Cache {
    /// One page of at most `limit` (1 to 1,000) entries: the bulk set in rank order as of its sync,
    /// then the single entries by expiry. All pages of a list show one state of the bulk set.
    /// Single entries come and go meanwhile, and one that is written anew may appear again.
    ///
    /// A page is short of `limit`, rarely, where many entries in a row were removed from the set;
    /// only a missing cursor ends the list.
    ///
    /// # Errors
    /// [`StoreError::CursorExpired`] when a sync or an invalidate has replaced that state.
    pub async fn list(
        &self,
        user: &str,
        cursor: Option<ListCursor>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let keys = self.keys(user);
        let mut all_keys = vec![&*keys.epoch];
        all_keys.extend(keys.readable());
        let mut cmd = FUNCTIONS.list.read_only_command(&all_keys);
        cmd.arg(limit.clamp(1, CHUNK_ENTRIES));
        match cursor {
            Some(ListCursor {
                phase,
                epoch,
                generation,
                position,
            }) => cmd
                .arg(phase.name())
                .arg(position)
                .arg(epoch)
                .arg(generation),
            None => cmd.arg(ListPhase::Live.name()).arg(0).arg("").arg(""),
        };
        let (status, epoch, generation, total, phase, position, entries): Reply =
            FUNCTIONS.list.run(&self.valkey, &cmd).await?;
        if status == Status::Changed {
            return Err(StoreError::CursorExpired);
        }
        let next = ListPhase::parse(&phase).map(|phase| ListCursor {
            phase,
            epoch,
            generation,
            position,
        });
        Ok(ListPage {
            entries,
            cursor: next,
            total,
            generation,
        })
    }
}

impl ListPhase {
    fn name(self) -> &'static str {
        match self {
            ListPhase::Live => "live",
            ListPhase::Single => "single",
        }
    }

    fn parse(name: &str) -> Option<ListPhase> {
        match name {
            "live" => Some(ListPhase::Live),
            "single" => Some(ListPhase::Single),
            _ => None,
        }
    }
}

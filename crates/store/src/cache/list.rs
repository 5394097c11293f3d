//! A user's entries, page by page.

use std::fmt;

use bytes::Bytes;

use super::functions::FUNCTIONS;
use super::{CHUNK_ENTRIES, Cache};
use crate::StoreError;

/// What the script returns: status, epoch, generation, total, next phase, next position, entries.
type Reply = (u8, u64, u64, u64, String, u64, Vec<Bytes>);

/// One page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPage {
    /// Serialized entries.
    pub entries: Vec<Bytes>,
    /// What to ask for the next page with; `None` on the last.
    pub cursor: Option<String>,
    /// Entries cached in all, in the bulk set and single.
    pub total: u64,
    /// The state of the bulk set that the list shows; 0 when there is none.
    pub generation: u64,
}

/// Where a list goes on, and the state of the cache it belongs to. As text:
/// `<phase>-<epoch>-<generation>-<position>`.
struct Cursor {
    phase: Phase,
    epoch: u64,
    generation: u64,
    /// In the bulk set an index of its order; among single entries the expiry of the last one seen,
    /// in µs.
    position: u64,
}

#[derive(Clone, Copy)]
enum Phase {
    Live,
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
    /// [`StoreError::CursorExpired`] when a sync or an invalidate has replaced that state;
    /// [`StoreError::InvalidCursor`].
    pub async fn list(
        &self,
        user: &str,
        cursor: Option<&str>,
        limit: usize,
    ) -> Result<ListPage, StoreError> {
        let cursor = cursor.map(Cursor::parse).transpose()?;
        let keys = self.keys(user);
        let mut all_keys = vec![&*keys.epoch];
        all_keys.extend(keys.readable());
        let mut cmd = FUNCTIONS.list.read_only_command(&all_keys);
        cmd.arg(limit.clamp(1, CHUNK_ENTRIES));
        match cursor {
            Some(Cursor {
                phase,
                epoch,
                generation,
                position,
            }) => cmd
                .arg(phase.name())
                .arg(position)
                .arg(epoch)
                .arg(generation),
            None => cmd.arg(Phase::Live.name()).arg(0).arg("").arg(""),
        };
        let (status, epoch, generation, total, phase, position, entries): Reply =
            FUNCTIONS.list.run(&self.valkey, &cmd).await?;
        if status != 0 {
            return Err(StoreError::CursorExpired);
        }
        let next = Phase::parse(&phase).map(|phase| Cursor {
            phase,
            epoch,
            generation,
            position,
        });
        Ok(ListPage {
            entries,
            cursor: next.as_ref().map(Cursor::to_string),
            total,
            generation,
        })
    }
}

impl Cursor {
    fn parse(text: &str) -> Result<Cursor, StoreError> {
        let mut parts = text.split('-');
        let phase = parts.next().and_then(Phase::parse);
        let mut number = || parts.next()?.parse().ok();
        let cursor = (|| {
            Some(Cursor {
                phase: phase?,
                epoch: number()?,
                generation: number()?,
                position: number()?,
            })
        })();
        match (cursor, parts.next()) {
            (Some(cursor), None) => Ok(cursor),
            _ => Err(StoreError::InvalidCursor),
        }
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Cursor {
            phase,
            epoch,
            generation,
            position,
        } = self;
        write!(out, "{}-{epoch}-{generation}-{position}", phase.name())
    }
}

impl Phase {
    fn name(self) -> &'static str {
        match self {
            Phase::Live => "live",
            Phase::Single => "single",
        }
    }

    fn parse(name: &str) -> Option<Phase> {
        match name {
            "live" => Some(Phase::Live),
            "single" => Some(Phase::Single),
            _ => None,
        }
    }
}

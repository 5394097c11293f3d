//! Later revisions and removals, applied to what is cached.

use std::sync::LazyLock;

use redis::{Cmd, Pipeline};

use super::{Cache, Change, ChangeKind, chunks};
use crate::{Script, StoreError};

static AMEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("amend", include_str!("../../../lua/cache/amend.lua")));

impl Cache {
    /// Brings whatever is cached of `user` up to date with changes in Convex, in whichever order and however often they
    /// arrive. In the bulk set the later of two changes of one document holds; a single entry is dropped, and fetched anew
    /// when it is read, unless it is just the revision that a change brought. What is not cached stays so, except that a complete set (`allOne` or `allTwo` without skips) gains
    /// new files, at the end of its order. A revision that would take the set above the limit leaves it and is read through
    /// from then on.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn amend(&self, user: &str, changes: &[Change]) -> Result<(), StoreError> {
        for chunk in chunks(changes, Change::bytes) {
            let cmd = self.amendment(user, chunk);
            AMEND.run::<()>(&self.valkey, &cmd).await?;
        }
        Ok(())
    }

    /// As [`Cache::amend`], of many users in one round trip. Returns how many cached entries were touched.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn amend_all<U: AsRef<str>>(
        &self,
        changes: &[(U, Vec<Change>)],
    ) -> Result<u64, StoreError> {
        let mut pipeline = Pipeline::new();
        for (user, changes) in changes {
            for chunk in chunks(changes, Change::bytes) {
                pipeline.add_command(self.amendment(user.as_ref(), chunk));
            }
        }
        if pipeline.is_empty() {
            return Ok(0);
        }
        let touched: Vec<u64> = AMEND.run_all(&self.valkey, &pipeline).await?;
        Ok(touched.iter().sum())
    }

    fn amendment(&self, user: &str, changes: &[Change]) -> Cmd {
        let keys = self.keys(user);
        let leases: Vec<String> = changes
            .iter()
            .map(|change| keys.lease(change.id_in_flight()))
            .collect();
        let mut all_keys = keys.readable().to_vec();
        all_keys.extend(leases.iter().map(String::as_str));
        let bytes = changes.iter().map(Change::bytes).sum();
        let mut cmd = AMEND.command_with_capacity(&all_keys, 1 + 4 * changes.len(), bytes);
        cmd.arg(self.config.limit_bytes);
        for change in changes {
            let (id, json) = match &change.kind {
                ChangeKind::Put(entry) => (&*entry.id, &entry.json[..]),
                ChangeKind::Remove { id } => (id.as_deref().unwrap_or_default(), &b""[..]),
            };
            cmd.arg(&*change.doc_id).arg(id).arg(json).arg(change.ts);
        }
        cmd
    }
}

impl Change {
    /// The id that readers may be fetching, as far as it is known.
    fn id_in_flight(&self) -> &str {
        match &self.kind {
            ChangeKind::Put(entry) => &entry.id,
            ChangeKind::Remove { id } => id.as_deref().unwrap_or(&self.doc_id),
        }
    }

    /// Bytes it takes to send.
    pub(super) fn bytes(&self) -> usize {
        self.doc_id.len()
            + match &self.kind {
                ChangeKind::Put(entry) => entry.id.len() + entry.json.len(),
                ChangeKind::Remove { id } => id.as_deref().map_or(0, str::len),
            }
    }
}

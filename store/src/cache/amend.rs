//! Later revisions and removals, applied to what is cached.

use std::sync::LazyLock;

use redis::Cmd;

use super::{Cache, Change, chunks};
use crate::{Script, StoreError};

static AMEND: LazyLock<Script> =
    LazyLock::new(|| Script::new("amend", include_str!("../../../lua/cache/amend.lua")));

impl Cache {
    /// Applies later revisions and removals to whatever is cached of `user`, in the bulk set and among the single entries.
    /// What is not cached stays so, except that a complete set (`allOne` or `allTwo` without skips) gains new files, at the
    /// end of its order. A revision that would take the set above the limit leaves it and is read through from then on.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn amend(&self, user: &str, changes: &[Change]) -> Result<(), StoreError> {
        let keys = self.keys(user);
        for chunk in chunks(changes, Change::bytes) {
            let leases: Vec<String> = chunk.iter().map(|change| keys.lease(change.id())).collect();
            let mut all_keys = vec![
                &*keys.live.info,
                &keys.live.entries,
                &keys.live.order,
                &keys.live.docs,
                &keys.single_entries,
                &keys.single_expiry,
                &keys.single_docs,
            ];
            all_keys.extend(leases.iter().map(String::as_str));
            let bytes = chunk.iter().map(Change::bytes).sum();
            let mut cmd = AMEND.command_with_capacity(&all_keys, 1 + 3 * chunk.len(), bytes);
            cmd.arg(self.config.limit_bytes);
            for change in chunk {
                change.append_to(&mut cmd);
            }
            AMEND.run::<()>(&self.valkey, &cmd).await?;
        }
        Ok(())
    }
}

impl Change {
    /// The id that readers may be fetching; of a removal only the Convex `_id` is known.
    fn id(&self) -> &str {
        match self {
            Change::Put(entry) => &entry.id,
            Change::Remove { doc_id } => doc_id,
        }
    }

    /// Bytes it takes to send.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Change::Put(entry) => entry.doc_id.len() + entry.id.len() + entry.json.len(),
            Change::Remove { doc_id } => doc_id.len(),
        }
    }

    /// Appends Convex `_id`, id and JSON; the last two are empty for a removal.
    pub(super) fn append_to(&self, cmd: &mut Cmd) {
        match self {
            Change::Put(entry) => cmd.arg(&*entry.doc_id).arg(&*entry.id).arg(&entry.json[..]),
            Change::Remove { doc_id } => cmd.arg(&**doc_id).arg("").arg(""),
        };
    }
}

//! Writing a transaction's changes to the database.

use std::collections::HashMap;

use rusqlite::params;

use super::{Place, Transaction};
use crate::embedded::error::RequestError;
use crate::embedded::housekeeping::fill_index;
use crate::embedded::store::{State, id_bytes};

/// Documents that an index gets with the transaction that adds it. Those of a small table are all
/// of them.
const FILLED_AT_ONCE: usize = 4096;

impl Transaction<'_> {
    /// Writes the documents and their index entries, and returns the state this leaves. The caller
    /// saves that and commits.
    pub fn flush(mut self) -> Result<State, RequestError> {
        let seqs = self.flush_documents()?;
        self.flush_entries(&seqs)?;
        for sync in &self.syncs {
            self.db
                .prepare_cached("DELETE FROM syncs WHERE updated < ?1")?
                .execute([sync.forget_before])?;
            self.db
                .prepare_cached("INSERT OR REPLACE INTO syncs VALUES (?1, ?2, ?3)")?
                .execute(params![sync.id, sync.updated, sync.status])?;
        }
        for (tablet, index) in std::mem::take(&mut self.added_indexes) {
            fill_index(
                self.db,
                &mut self.state.catalog,
                tablet,
                index,
                FILLED_AT_ONCE,
            )?;
        }
        Ok(self.state)
    }

    /// Appends the revisions to the log, in the order of their ids. Returns where each one went.
    fn flush_documents(&mut self) -> Result<HashMap<Place, i64>, RequestError> {
        self.documents
            .retain(|_, write| write.existed || write.stored.is_some());
        let mut seqs = HashMap::with_capacity(self.documents.len());
        let mut insert = self.db.prepare_cached(
            "INSERT INTO revisions (ts, tablet, id, tagged, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (place, write) in &self.documents {
            let (internal_id, tablet) = *place;
            let (tagged, body) = match &write.stored {
                Some(stored) => (stored.tagged, Some(&stored.text)),
                None => (false, None),
            };
            let seq = insert.insert(params![
                self.state.ts,
                tablet,
                id_bytes(internal_id),
                tagged,
                body
            ])?;
            if seqs.is_empty() {
                self.db
                    .prepare_cached("INSERT INTO commits VALUES (?1, ?2)")?
                    .execute(params![self.state.ts, seq])?;
            }
            seqs.insert(*place, seq);
        }
        Ok(seqs)
    }

    fn flush_entries(&self, seqs: &HashMap<Place, i64>) -> Result<(), RequestError> {
        let mut put = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
        let mut remove = self
            .db
            .prepare_cached("DELETE FROM entries WHERE key = ?1")?;
        for (key, document) in &self.entries {
            match document.and_then(|place| seqs.get(&place)) {
                Some(seq) => put.execute(params![key, seq])?,
                None => remove.execute([key])?,
            };
        }
        Ok(())
    }
}

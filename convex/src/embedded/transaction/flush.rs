//! Writing a transaction's changes to the database.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::{OptionalExtension, params};

use super::{Current, Transaction};
use crate::embedded::catalog::{Index, TabletId};
use crate::embedded::document::Stored;
use crate::embedded::error::RequestError;
use crate::embedded::index_key;
use crate::embedded::store::{State, id_bytes, read_id};

impl Transaction<'_> {
    /// Writes everything to the database and returns the state it leaves. The caller commits.
    pub fn flush(mut self) -> Result<State, RequestError> {
        let seqs = self.flush_documents()?;
        self.flush_entries(&seqs)?;
        for (tablet, index) in std::mem::take(&mut self.backfills) {
            self.backfill(tablet, &index)?;
        }
        self.flush_catalog()?;
        self.db
            .prepare_cached("INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2)")?
            .execute(params![self.state.ts, self.state.creation_time])?;
        Ok(self.state)
    }

    /// Appends the revisions to the log, in the order of their ids. Returns where each one went.
    fn flush_documents(&mut self) -> Result<HashMap<u128, i64>, RequestError> {
        self.documents
            .retain(|_, write| write.existed || write.stored.is_some());
        let mut seqs = HashMap::with_capacity(self.documents.len());
        let mut insert = self.db.prepare_cached(
            "INSERT INTO revisions (ts, tablet, id, tagged, body) VALUES (?1, ?2, ?3, ?4, ?5)",
        )?;
        for (internal_id, write) in &self.documents {
            let (tagged, body) = match &write.stored {
                Some(stored) => (stored.tagged, Some(&stored.text)),
                None => (false, None),
            };
            let seq = insert.insert(params![
                self.state.ts,
                write.tablet,
                id_bytes(*internal_id),
                tagged,
                body
            ])?;
            if seqs.is_empty() {
                self.db
                    .prepare_cached("INSERT INTO commits VALUES (?1, ?2)")?
                    .execute(params![self.state.ts, seq])?;
            }
            seqs.insert(*internal_id, seq);
        }
        Ok(seqs)
    }

    fn flush_entries(&self, seqs: &HashMap<u128, i64>) -> Result<(), RequestError> {
        let mut put = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
        let mut remove = self
            .db
            .prepare_cached("DELETE FROM entries WHERE key = ?1")?;
        for (key, document) in &self.entries {
            match document.and_then(|id| seqs.get(&id)) {
                Some(seq) => put.execute(params![key, seq])?,
                None => remove.execute([key])?,
            };
        }
        for index in &self.dropped_indexes {
            let start = index_key::prefix(*index, []);
            self.db
                .prepare_cached("DELETE FROM entries WHERE key >= ?1 AND key < ?2")?
                .execute(params![start, index_key::end_of(&start)])?;
        }
        Ok(())
    }

    fn backfill(&self, tablet: TabletId, index: &Index) -> Result<(), RequestError> {
        let mut put = self
            .db
            .prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
        // With max(), SQLite takes the other columns from the row that has the maximum: the current revision.
        let mut query = self
            .db
            .prepare("SELECT id, max(ts), seq FROM revisions WHERE tablet = ?1 GROUP BY id")?;
        let mut body = self.db.prepare_cached(
            "SELECT body, tagged FROM revisions WHERE seq = ?1 AND body IS NOT NULL",
        )?;
        let mut rows = query.query([tablet])?;
        while let Some(row) = rows.next()? {
            let seq: i64 = row.get(2)?;
            let stored = body
                .query_row([seq], |row| {
                    Ok(Stored {
                        text: row.get(0)?,
                        tagged: row.get(1)?,
                    })
                })
                .optional()?;
            if let Some(stored) = stored {
                let current = Current {
                    internal_id: read_id(row, 0)?,
                    fields: stored.fields()?,
                    bytes: stored.text.len(),
                };
                let key = index_key::key(
                    index,
                    &current.fields,
                    current.creation_time(),
                    current.internal_id,
                );
                put.execute(params![key, seq])?;
            }
        }
        Ok(())
    }

    fn flush_catalog(&self) -> Result<(), RequestError> {
        for (id, tablet) in &self.state.catalog.tablets {
            let unchanged = self
                .before
                .tablets
                .get(id)
                .is_some_and(|before| Arc::ptr_eq(before, tablet));
            if !unchanged {
                self.db
                    .prepare_cached("INSERT OR REPLACE INTO tablets VALUES (?1, ?2)")?
                    .execute(params![id, serde_json::to_string(tablet.as_ref())?])?;
            }
        }
        Ok(())
    }
}

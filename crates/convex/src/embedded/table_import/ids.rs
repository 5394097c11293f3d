//! What the ids of an import have to be among themselves, checked before the first document is
//! written.

use rusqlite::Connection;

use super::Document;
use crate::embedded::error::RequestError;
use crate::embedded::id::DocumentId;
use crate::embedded::store::id_bytes;

/// The ids met so far. They are all of one table, and each is there once.
#[derive(Default)]
pub(in crate::embedded) struct ImportedIds {
    met: Option<Met>,
}

struct Met {
    table: u32,
    /// A temporary database, which goes to the disk when it is large: an import may be of any
    /// length.
    ids: Connection,
}

impl ImportedIds {
    /// The table number of the ids, if there are any.
    pub fn table(&self) -> Option<u32> {
        self.met.as_ref().map(|met| met.table)
    }

    /// Error: 400 `ImportConflict`.
    pub fn add(&mut self, documents: &[Document]) -> Result<(), RequestError> {
        for id in documents.iter().filter_map(|document| document.id) {
            let met = match &mut self.met {
                Some(met) => met,
                none => none.insert(Met::new(id)?),
            };
            if id.table != met.table {
                return Err(RequestError::bad_request(
                    "ImportConflict",
                    format!("The id {id} is of another table than those before it."),
                ));
            }
            let mut insert = met
                .ids
                .prepare_cached("INSERT OR IGNORE INTO ids VALUES (?1)")?;
            if insert.execute([id_bytes(id.internal)])? == 0 {
                return Err(RequestError::bad_request(
                    "ImportConflict",
                    format!("The id {id} is there twice."),
                ));
            }
        }
        Ok(())
    }
}

impl Met {
    fn new(first: DocumentId) -> Result<Met, RequestError> {
        let ids = Connection::open("")?;
        // Nothing of it is ever read again: no journal, and one transaction that is never
        // committed.
        ids.execute_batch(
            "PRAGMA journal_mode = OFF; CREATE TABLE ids (id BLOB PRIMARY KEY) WITHOUT ROWID; BEGIN",
        )?;
        Ok(Met {
            table: first.table,
            ids,
        })
    }
}

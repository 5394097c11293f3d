//! A transaction: what one write request does to the database, all or nothing.
//!
//! Changes are gathered in memory and written when the request has succeeded, so a request that is
//! refused half-way has changed nothing. A document that is written more than once leaves one
//! revision.

mod flush;
mod tables;

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::embedded::catalog::{Catalog, Index, TabletId};
use crate::embedded::data_sync::SyncRecord;
use crate::embedded::document::{Draft, Stored};
use crate::embedded::error::RequestError;
use crate::embedded::id::DocumentId;
use crate::embedded::index_key;
use crate::embedded::store::{State, current_revision};
use crate::embedded::value::{Object, Value};

/// The smallest step between two creation times (ms). Floats of this size keep it exactly.
const CREATION_STEP: f64 = 1.0 / 1024.0;

/// A running transaction. Its timestamp is later than that of all before it.
pub(super) struct Transaction<'a> {
    db: &'a Connection,
    state: State,
    documents: BTreeMap<Place, Write>,
    /// Index keys that changed: the document they lead to now, or none.
    entries: BTreeMap<Vec<u8>, Option<Place>>,
    syncs: Vec<SyncRecord>,
    /// Indexes that were added, to be filled.
    added_indexes: Vec<(TabletId, u32)>,
}

/// Where a document is: by internal id first, for that is the order of the log within a
/// transaction. An id alone would not do: those that an import brings may be in several tables.
type Place = (u128, TabletId);

struct Write {
    /// `None`: deleted.
    stored: Option<Stored>,
    /// Whether the database has an earlier revision of it.
    existed: bool,
}

/// A document as the transaction sees it.
pub(super) struct Current {
    pub internal_id: u128,
    pub fields: Object,
    /// The length of its stored text.
    pub bytes: usize,
}

impl Current {
    pub fn creation_time(&self) -> f64 {
        match self.fields.get("_creationTime") {
            Some(Value::Float64(time)) => *time,
            _ => 0.0,
        }
    }

    /// The fields without the system's.
    pub fn own_fields(&self) -> Object {
        let mut fields = self.fields.clone();
        fields.retain(|name, _| !name.starts_with('_'));
        fields
    }
}

impl<'a> Transaction<'a> {
    /// Starts a transaction on top of `state`; `now` is the wall clock (ns since the epoch).
    pub fn new(db: &'a Connection, state: State, now: i64) -> Transaction<'a> {
        let ts = now.max(state.ts + 1);
        Transaction {
            db,
            state: State { ts, ..state },
            documents: BTreeMap::new(),
            entries: BTreeMap::new(),
            syncs: Vec::new(),
            added_indexes: Vec::new(),
        }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.state.catalog
    }

    /// The first document (oldest first) whose indexed fields have these values.
    pub fn find(
        &self,
        tablet: TabletId,
        index: &Index,
        values: &[&Value],
    ) -> Result<Option<Current>, RequestError> {
        let start = index_key::prefix(index.id, values.iter().map(|value| Some(*value)));
        let end = index_key::end_of(&start);
        let mut query = self
            .db
            .prepare_cached("SELECT key FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key")?;
        let mut rows = query.query(params![start, end])?;
        let mut found: Option<Vec<u8>> = None;
        while let Some(row) = rows.next()? {
            let key = row.get_ref(0)?.as_blob().map_err(rusqlite::Error::from)?;
            if !self.entries.contains_key(key) {
                found = Some(key.to_vec());
                break;
            }
        }
        let pending = self.entries.range(start..end).find(|(_, id)| id.is_some());
        if let Some((key, _)) = pending
            && found.as_ref().is_none_or(|found| key < found)
        {
            found = Some(key.clone());
        }
        match found.as_deref().and_then(internal_id_of) {
            Some(id) => self.get(tablet, id),
            None => Ok(None),
        }
    }

    /// Some of the documents between two index keys, in their order, with their keys. Only for
    /// transactions that have not written to the table.
    pub fn page(
        &self,
        tablet: TabletId,
        start: &[u8],
        end: &[u8],
        documents: usize,
    ) -> Result<Vec<(Vec<u8>, Current)>, RequestError> {
        let mut query = self.db.prepare_cached(
            "SELECT key FROM entries WHERE key >= ?1 AND key < ?2 ORDER BY key LIMIT ?3",
        )?;
        let keys = query.query_map(params![start, end, documents as i64], |row| row.get(0))?;
        let mut found = Vec::new();
        for key in keys {
            let key: Vec<u8> = key?;
            if let Some(id) = internal_id_of(&key)
                && let Some(current) = self.get(tablet, id)?
            {
                found.push((key, current));
            }
        }
        Ok(found)
    }

    /// The document with this internal id.
    pub fn get(
        &self,
        tablet: TabletId,
        internal_id: u128,
    ) -> Result<Option<Current>, RequestError> {
        let current = |stored: &Stored| {
            Ok(Current {
                internal_id,
                fields: stored.fields()?,
                bytes: stored.text.len(),
            })
        };
        match self.documents.get(&(internal_id, tablet)) {
            Some(write) => write.stored.as_ref().map(current).transpose(),
            None => current_revision(self.db, tablet, internal_id)?
                .map(|(text, tagged)| current(&Stored { text, tagged }))
                .transpose(),
        }
    }

    /// Adds a document.
    pub fn insert(&mut self, tablet: TabletId, draft: &Draft) {
        let creation_time = self.next_creation_time();
        let internal_id = new_internal_id(creation_time);
        self.put(tablet, internal_id, creation_time, draft, false);
    }

    /// Adds a document with the id and the creation time that it had elsewhere, as far as it had
    /// them. Error: 400 `ImportConflict` when the id is not one of the table's, or is that of a
    /// document that is there.
    pub fn restore(
        &mut self,
        tablet: TabletId,
        draft: &Draft,
        id: Option<DocumentId>,
        creation_time: Option<f64>,
    ) -> Result<(), RequestError> {
        let creation_time = creation_time.unwrap_or_else(|| self.next_creation_time());
        let Some(id) = id else {
            let internal_id = new_internal_id(creation_time);
            self.put(tablet, internal_id, creation_time, draft, false);
            return Ok(());
        };
        let target = self.catalog().tablets.get(&tablet);
        if target.is_none_or(|target| target.number != id.table)
            || self.get(tablet, id.internal)?.is_some()
        {
            return Err(id.conflict());
        }
        self.put(tablet, id.internal, creation_time, draft, false);
        Ok(())
    }

    fn next_creation_time(&mut self) -> f64 {
        let now = self.state.ts as f64 / 1e6;
        let creation_time = now.max(self.state.creation_time + CREATION_STEP);
        self.state.creation_time = creation_time;
        creation_time
    }

    /// Gives a document other fields; its id and creation time stay.
    pub fn replace(&mut self, tablet: TabletId, current: &Current, draft: &Draft) {
        self.unlink(tablet, current);
        self.put(
            tablet,
            current.internal_id,
            current.creation_time(),
            draft,
            true,
        );
    }

    /// Deletes a document.
    pub fn delete(&mut self, tablet: TabletId, current: &Current) {
        self.unlink(tablet, current);
        self.write(tablet, current.internal_id, None, true);
    }

    /// Writes down how far a data sync is.
    pub fn record_sync(&mut self, record: SyncRecord) {
        self.syncs.push(record);
    }

    fn put(
        &mut self,
        tablet: TabletId,
        internal_id: u128,
        creation_time: f64,
        draft: &Draft,
        existed: bool,
    ) {
        let Some(target) = self.state.catalog.tablet_mut(tablet) else {
            return;
        };
        target.shape.count_document(&draft.fields, 1);
        for index in &target.indexes {
            let key = index_key::key(index, &draft.fields, creation_time, internal_id);
            self.entries.insert(key, Some((internal_id, tablet)));
        }
        let id = DocumentId {
            table: target.number,
            internal: internal_id,
        };
        let stored = draft.finish(&id.to_string(), creation_time);
        self.write(tablet, internal_id, Some(stored), existed);
    }

    fn unlink(&mut self, tablet: TabletId, current: &Current) {
        let Some(target) = self.state.catalog.tablet_mut(tablet) else {
            return;
        };
        target.shape.count_document(&current.own_fields(), -1);
        for index in &target.indexes {
            let key = index_key::key(
                index,
                &current.fields,
                current.creation_time(),
                current.internal_id,
            );
            self.entries.insert(key, None);
        }
    }

    fn write(
        &mut self,
        tablet: TabletId,
        internal_id: u128,
        stored: Option<Stored>,
        existed: bool,
    ) {
        let place = (internal_id, tablet);
        let existed = match self.documents.get(&place) {
            Some(earlier) => earlier.existed,
            None => existed,
        };
        self.documents.insert(place, Write { stored, existed });
    }
}

/// Ids start with their time, so that what is created together is kept together.
fn new_internal_id(creation_time: f64) -> u128 {
    (creation_time as u128) << 80 | rand::random::<u128>() >> 48
}

fn internal_id_of(key: &[u8]) -> Option<u128> {
    key.last_chunk().map(|bytes| u128::from_be_bytes(*bytes))
}

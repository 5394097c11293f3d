//! A transaction: what one write request does to the database, all or nothing.
//!
//! Changes are gathered in memory and written when the request has succeeded, so a request that is refused half-way has changed
//! nothing. A document that is written more than once leaves one revision.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::{Catalog, FieldPath, Index, ROOT, Tablet, TabletId, built_in_indexes};
use super::document::{Draft, Stored};
use super::error::RequestError;
use super::id::DocumentId;
use super::index_key;
use super::store::{State, current_revision, id_bytes};
use super::value::{Object, Value};

/// The smallest step between two creation times (ms). Floats of this size keep it exactly.
const CREATION_STEP: f64 = 1.0 / 1024.0;

/// A running transaction. Its timestamp is later than that of all before it.
pub(super) struct Transaction<'a> {
    db: &'a Connection,
    state: State,
    before: Catalog,
    documents: BTreeMap<u128, Write>,
    /// Index keys that changed: the document they lead to now, or none.
    entries: BTreeMap<Vec<u8>, Option<u128>>,
    backfills: Vec<(TabletId, Index)>,
    dropped_indexes: Vec<u32>,
}

struct Write {
    tablet: TabletId,
    /// `None`: deleted.
    stored: Option<Stored>,
    /// Whether the database has an earlier revision of it.
    existed: bool,
}

/// A document as the transaction sees it.
pub(super) struct Current {
    pub internal_id: u128,
    pub fields: Object,
}

impl Current {
    fn creation_time(&self) -> f64 {
        match self.fields.get("_creationTime") {
            Some(Value::Float64(time)) => *time,
            _ => 0.0,
        }
    }

    /// The fields without the system's.
    fn own_fields(&self) -> Object {
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
            before: state.catalog.clone(),
            state: State { ts, ..state },
            documents: BTreeMap::new(),
            entries: BTreeMap::new(),
            backfills: Vec::new(),
            dropped_indexes: Vec::new(),
        }
    }

    pub fn catalog(&self) -> &Catalog {
        &self.state.catalog
    }

    /// The table's tablet; an empty table is created if there is none.
    pub fn table(&mut self, name: &str) -> TabletId {
        if let Some(tablet) = self.catalog().table(ROOT, name) {
            return tablet.id;
        }
        let number = self.catalog().next_table_number();
        self.create_tablet(name, number, built_in_indexes(ROOT, name))
    }

    /// Puts an empty tablet in the place of the table's present one. Indexes stay; a missing table is created.
    pub fn clear_table(&mut self, name: &str) {
        let Some(old) = self.catalog().table(ROOT, name).cloned() else {
            self.table(name);
            return;
        };
        if let Some(tablet) = self.state.catalog.tablet_mut(old.id) {
            tablet.dropped = Some(self.state.ts);
        }
        self.dropped_indexes
            .extend(old.indexes.iter().map(|index| index.id));
        let indexes = old
            .indexes
            .iter()
            .map(|index| (index.name.as_str(), index.fields.clone()));
        self.create_tablet(name, old.number, indexes.collect());
    }

    fn create_tablet(
        &mut self,
        name: &str,
        number: u32,
        indexes: Vec<(&str, Vec<FieldPath>)>,
    ) -> TabletId {
        let first_index = self.catalog().next_index_id();
        let indexes = (first_index..)
            .zip(indexes)
            .map(|(id, (name, fields))| Index {
                id,
                name: name.to_owned(),
                fields,
            });
        let tablet = Tablet {
            id: self.catalog().next_tablet_id(),
            public_id: rand::random(),
            component: ROOT.to_owned(),
            name: name.to_owned(),
            number,
            created: self.state.ts,
            dropped: None,
            indexes: indexes.collect(),
            shape: Default::default(),
        };
        let id = tablet.id;
        self.state.catalog.put(tablet);
        id
    }

    /// Gives the table an index, filled from the documents it has. One of the same name and fields stays as it is; with other
    /// fields it is replaced.
    pub fn add_index(&mut self, table: &str, name: &str, fields: Vec<FieldPath>) {
        let tablet = self.table(table);
        let index = Index {
            id: self.catalog().next_index_id(),
            name: name.to_owned(),
            fields,
        };
        let Some(tablet) = self.state.catalog.tablet_mut(tablet) else {
            return;
        };
        if let Some(old) = tablet.index(name) {
            if old.fields == index.fields {
                return;
            }
            self.dropped_indexes.push(old.id);
            tablet.indexes.retain(|old| old.name != name);
        }
        tablet.indexes.push(index.clone());
        self.backfills.push((tablet.id, index));
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

    /// The document with this internal id.
    pub fn get(
        &self,
        tablet: TabletId,
        internal_id: u128,
    ) -> Result<Option<Current>, RequestError> {
        let stored = match self.documents.get(&internal_id) {
            Some(write) => write.stored.as_ref().map(Stored::fields).transpose()?,
            None => current_revision(self.db, tablet, internal_id)?
                .map(|(text, tagged)| Stored { text, tagged }.fields())
                .transpose()?,
        };
        Ok(stored.map(|fields| Current {
            internal_id,
            fields,
        }))
    }

    /// Adds a document.
    pub fn insert(&mut self, tablet: TabletId, draft: &Draft) {
        let now = self.state.ts as f64 / 1e6;
        let creation_time = now.max(self.state.creation_time + CREATION_STEP);
        self.state.creation_time = creation_time;
        // Ids start with their time, so that what is created together is kept together.
        let internal_id = (creation_time as u128) << 80 | rand::random::<u128>() >> 48;
        self.put(tablet, internal_id, creation_time, draft, false);
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
        target.shape.count_object(&draft.fields, 1);
        for index in &target.indexes {
            let key = index_key::key(index, &draft.fields, creation_time, internal_id);
            self.entries.insert(key, Some(internal_id));
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
        target.shape.count_object(&current.own_fields(), -1);
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
        let existed = match self.documents.get(&internal_id) {
            Some(earlier) => earlier.existed,
            None => existed,
        };
        self.documents.insert(
            internal_id,
            Write {
                tablet,
                stored,
                existed,
            },
        );
    }

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
                    internal_id: super::store::read_id(row, 0)?,
                    fields: stored.fields()?,
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

fn internal_id_of(key: &[u8]) -> Option<u128> {
    key.last_chunk().map(|bytes| u128::from_be_bytes(*bytes))
}

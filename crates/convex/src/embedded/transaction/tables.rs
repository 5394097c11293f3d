//! Creating and clearing tables, and giving them indexes.

use super::Transaction;
use crate::embedded::catalog::{FieldPath, Index, ROOT, Tablet, TabletId, built_in_indexes};
use crate::embedded::error::RequestError;
use crate::embedded::names::{FieldOrigins, StreamName};

const MAX_TABLES: usize = 10_000;

impl Transaction<'_> {
    /// The table's tablet; an empty table is created if there is none. Error: 400 `TooManyTables`.
    pub fn table(&mut self, component: &str, name: &str) -> Result<TabletId, RequestError> {
        if let Some(tablet) = self.catalog().table(component, name) {
            return Ok(tablet.id);
        }
        if self.catalog().table_count() >= MAX_TABLES {
            return Err(RequestError::bad_request(
                "TooManyTables",
                format!("There cannot be more than {MAX_TABLES} tables."),
            ));
        }
        let number = self.catalog().next_table_number();
        let indexes = built_in_indexes(component, name);
        Ok(self.create_tablet(component, name, number, indexes))
    }

    /// The tablet of the table that a stream goes into, created if there is none. A stream whose
    /// name was repaired to the table's has the table to itself, and gets none that is there by
    /// that very name. Errors: 400 `TooManyTables`, `InvalidTableName`.
    pub fn stream_table(&mut self, stream: &StreamName) -> Result<TabletId, RequestError> {
        if let Some(tablet) = self.catalog().table(ROOT, &stream.table) {
            stream.check(tablet.stream.as_ref().unwrap_or(&tablet.name))?;
            return Ok(tablet.id);
        }
        let id = self.table(ROOT, &stream.table)?;
        if let Some(tablet) = self.state.catalog.tablet_mut(id) {
            tablet.stream = stream.repaired_from().map(str::to_owned);
        }
        Ok(id)
    }

    /// Notes what the names of a table's fields were. Error: 400 `InvalidFieldName` when two would
    /// be one, or there are too many.
    pub fn note_origins(
        &mut self,
        tablet: TabletId,
        origins: &FieldOrigins,
    ) -> Result<(), RequestError> {
        let known = self.catalog().tablets.get(&tablet);
        if known.is_some_and(|tablet| tablet.origins.contains(origins)) {
            return Ok(());
        }
        match self.state.catalog.tablet_mut(tablet) {
            Some(tablet) => tablet.origins.note_all(origins),
            None => Ok(()),
        }
    }

    /// Puts an empty tablet in the place of the table that a stream goes into. Errors: as above.
    pub fn clear_stream(&mut self, stream: &StreamName) -> Result<(), RequestError> {
        self.stream_table(stream)?;
        self.clear_table(ROOT, &stream.table)
    }

    /// Sees to it that a table has the number that its documents' ids have; it is created if there
    /// is none. An empty table that has the number gets another. Errors: 400 `TooManyTables`;
    /// `ImportConflict` when the table has documents and another number; `TableConflict` when
    /// another table of the component has the number and documents.
    pub fn number_table(
        &mut self,
        component: &str,
        name: &str,
        number: u32,
    ) -> Result<(), RequestError> {
        let id = self.table(component, name)?;
        let refuse = |code, message| Err(RequestError::bad_request(code, message));
        let tablet = self.catalog().tablets.get(&id).cloned();
        if tablet
            .as_ref()
            .is_some_and(|tablet| tablet.number == number)
        {
            return Ok(());
        }
        if tablet.is_some_and(|tablet| tablet.shape.count > 0) {
            let message =
                format!("The ids are not those of the table {name:?}, which has documents.");
            return refuse("ImportConflict", message);
        }
        let mut others = self.catalog().live_in(component);
        let other = others.find(|other| other.number == number).cloned();
        drop(others);
        if let Some(other) = other {
            if other.shape.count > 0 {
                let message = format!("The ids are those of the table {:?}.", other.name);
                return refuse("TableConflict", message);
            }
            let free = self.catalog().next_table_number();
            self.renumber(component, &other.name, free)?;
        }
        self.renumber(component, name, number)
    }

    /// Gives an empty table another number. The tombstones of its present tablet keep theirs.
    fn renumber(&mut self, component: &str, name: &str, number: u32) -> Result<(), RequestError> {
        self.clear_table(component, name)?;
        let id = self.table(component, name)?;
        if let Some(tablet) = self.state.catalog.tablet_mut(id) {
            tablet.number = number;
        }
        Ok(())
    }

    /// Puts an empty tablet in the place of the table's present one. Indexes stay; a missing table
    /// is created.
    pub fn clear_table(&mut self, component: &str, name: &str) -> Result<(), RequestError> {
        let Some(old) = self.catalog().table(component, name).cloned() else {
            return self.table(component, name).map(|_| ());
        };
        if let Some(tablet) = self.state.catalog.tablet_mut(old.id) {
            tablet.dropped = Some(self.state.ts);
            tablet.indexes.clear();
        }
        let dropped = old.indexes.iter().map(|index| index.id);
        self.state.catalog.dropped_indexes.extend(dropped);
        let indexes = old
            .indexes
            .iter()
            .map(|index| (index.name.as_str(), index.fields.clone()));
        let id = self.create_tablet(component, name, old.number, indexes.collect());
        if let Some(tablet) = self.state.catalog.tablet_mut(id) {
            tablet.stream = old.stream.clone();
        }
        Ok(())
    }

    fn create_tablet(
        &mut self,
        component: &str,
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
                filled_to: None,
            });
        let tablet = Tablet {
            id: self.catalog().next_tablet_id(),
            public_id: rand::random(),
            component: component.to_owned(),
            name: name.to_owned(),
            number,
            created: self.state.ts,
            dropped: None,
            stream: None,
            origins: FieldOrigins::default(),
            indexes: indexes.collect(),
            shape: Default::default(),
        };
        let id = tablet.id;
        self.state.catalog.put(tablet);
        id
    }

    /// Gives a table an index. One of the same name and fields stays as it is; with other fields it
    /// is replaced. It is filled at once if the table is small, else by and by (see
    /// [`Index::is_ready`]).
    pub fn add_index(&mut self, tablet: TabletId, name: &str, fields: Vec<FieldPath>) {
        let index = Index {
            id: self.catalog().next_index_id(),
            name: name.to_owned(),
            fields,
            // No document has this internal id.
            filled_to: Some(0),
        };
        let Some(target) = self.state.catalog.tablet_mut(tablet) else {
            return;
        };
        let old = target.index(name).map(|old| (old.id, &old.fields));
        if let Some((old, fields)) = old {
            if *fields == index.fields {
                return;
            }
            target.indexes.retain(|index| index.id != old);
            self.state.catalog.dropped_indexes.insert(old);
        }
        self.added_indexes.push((tablet, index.id));
        if let Some(target) = self.state.catalog.tablet_mut(tablet) {
            target.indexes.push(index);
        }
    }
}

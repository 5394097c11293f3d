//! The streaming import (section 13 of the wire contract): records come in, documents are appended,
//! replaced or deleted.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::catalog::{FieldPath, Index, PRIMARY_KEY, ROOT, TabletId};
use super::document::{CheckedFields, Draft};
use super::error::RequestError;
use super::index_key::field;
use super::names::{FieldOrigins, StreamName, is_identifier, repair_field_names};
use super::transaction::Transaction;
use super::value::Value;

/// What one transaction of an import may write, in documents and in bytes of them.
const TRANSACTION_DOCUMENTS: usize = 16_000;
const TRANSACTION_BYTES: usize = 16 << 20;
const MAX_INDEX_FIELDS: usize = 16;

/// The body of `import_airbyte_records`.
#[derive(Deserialize)]
pub(super) struct ImportBody {
    tables: BTreeMap<String, Stream>,
    messages: Vec<Message>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stream {
    #[serde(default)]
    primary_key: Option<Vec<FieldPath>>,
    /// Has to be there, and is not looked at.
    #[serde(rename = "jsonSchema")]
    _json_schema: IgnoredAny,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Message {
    table_name: String,
    data: Value,
}

/// Where the records of a stream go.
struct Target {
    name: StreamName,
    primary_key: Option<Vec<FieldPath>>,
}

/// One record, its names repaired.
struct Record {
    target: Arc<Target>,
    fields: CheckedFields,
    deleted: bool,
}

/// The records of one request, all of them checked before the first is written.
pub(super) struct Import {
    /// Those that have records. They are checked by the first transaction.
    targets: Vec<(Arc<Target>, FieldOrigins)>,
    records: std::vec::IntoIter<Record>,
    /// The row that did not fit into the last transaction.
    pending: Option<Row>,
}

impl Import {
    /// Errors: 400 `MissingStream`, `MissingPrimaryKeyValue`, `EmptyPrimaryKey`,
    /// `InvalidTableName`, `InvalidFieldName` or one of the document limits; 500 for data that is
    /// no object.
    pub fn new(body: ImportBody) -> Result<Import, RequestError> {
        let mut targets: BTreeMap<String, Arc<Target>> = BTreeMap::new();
        let mut tables: BTreeMap<String, String> = BTreeMap::new();
        for (stream, Stream { primary_key, .. }) in body.tables {
            check_stream_key(primary_key.as_deref())?;
            let name = StreamName::new(&stream)?;
            if let Some(other) = tables.insert(name.table.clone(), stream.clone()) {
                name.check(&other)?;
            }
            targets.insert(stream, Arc::new(Target { name, primary_key }));
        }
        let mut used: BTreeMap<String, FieldOrigins> = BTreeMap::new();
        let mut records = Vec::with_capacity(body.messages.len());
        for message in body.messages {
            let Some(target) = targets.get(&message.table_name) else {
                let stream = &message.table_name;
                return Err(RequestError::bad_request(
                    "MissingStream",
                    format!("There is a record for {stream:?}, which is not in tables."),
                ));
            };
            let origins = match used.get_mut(&message.table_name) {
                Some(origins) => origins,
                None => used.entry(message.table_name).or_default(),
            };
            records.push(Record::new(target.clone(), message.data, origins)?);
        }
        let used = used.into_iter();
        let targets =
            used.filter_map(|(stream, origins)| Some((targets.remove(&stream)?, origins)));
        Ok(Import {
            targets: targets.collect(),
            records: records.into_iter(),
            pending: None,
        })
    }

    /// The records of the next transaction. `None`: there are no more.
    pub fn next_chunk(&mut self) -> Option<Chunk> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some(row) = self.next_row() {
            let full =
                rows.len() == TRANSACTION_DOCUMENTS || bytes + row.draft.size() > TRANSACTION_BYTES;
            if full && !rows.is_empty() {
                self.pending = Some(row);
                break;
            }
            bytes += row.draft.size();
            rows.push(row);
        }
        let targets = std::mem::take(&mut self.targets);
        (!rows.is_empty()).then_some(Chunk { targets, rows })
    }

    fn next_row(&mut self) -> Option<Row> {
        self.pending.take().or_else(|| {
            let record = self.records.next()?;
            Some(Row {
                target: record.target,
                draft: record.fields.into(),
                deleted: record.deleted,
            })
        })
    }
}

impl Record {
    fn new(
        target: Arc<Target>,
        data: Value,
        origins: &mut FieldOrigins,
    ) -> Result<Record, RequestError> {
        let Value::Object(mut fields) = data else {
            return Err(RequestError::internal(
                "The data of a record has to be an object.",
            ));
        };
        let deleted = fields
            .get("_ab_cdc_deleted_at")
            .is_some_and(|at| *at != Value::Null);
        fields.retain(|name, _| !name.starts_with("_ab_cdc"));
        let fields = repair_field_names(fields, origins)?;
        let mut key = target.primary_key.iter().flatten();
        if let Some(path) = key.find(|path| field(&fields, path).is_none()) {
            return Err(RequestError::bad_request(
                "MissingPrimaryKeyValue",
                format!(
                    "A record for {:?} has no value at {}.",
                    target.name.table,
                    path.join(".")
                ),
            ));
        }
        Ok(Record {
            target,
            fields: CheckedFields::new(fields)?,
            deleted,
        })
    }
}

/// The records of one transaction.
pub(super) struct Chunk {
    /// All that the import writes to, with its first transaction.
    targets: Vec<(Arc<Target>, FieldOrigins)>,
    rows: Vec<Row>,
}

struct Row {
    target: Arc<Target>,
    draft: Draft,
    deleted: bool,
}

impl Chunk {
    pub fn apply(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        for (target, origins) in &self.targets {
            target.check(origins, transaction)?;
        }
        self.rows.iter().try_for_each(|row| row.apply(transaction))
    }
}

impl Target {
    /// Checks that records can be written to it. Errors: 400 `IndexNotFoundError`,
    /// `IndexBackfillingError`, `TooManyTables`, `InvalidTableName`, `InvalidFieldName`.
    fn check(
        &self,
        origins: &FieldOrigins,
        transaction: &mut Transaction,
    ) -> Result<(), RequestError> {
        if let Some(key) = &self.primary_key {
            self.indexed(key, transaction)?;
        }
        let tablet = transaction.stream_table(&self.name)?;
        transaction.note_origins(tablet, origins)
    }

    /// The tablet, and its index on the primary key.
    fn indexed(
        &self,
        key: &[FieldPath],
        transaction: &Transaction,
    ) -> Result<(TabletId, Index), RequestError> {
        let table = &self.name.table;
        let tablet = transaction.catalog().table(ROOT, table);
        let index = tablet.and_then(|tablet| tablet.index(PRIMARY_KEY));
        let (Some(tablet), Some(index)) = (tablet, index.filter(|index| index.fields == *key))
        else {
            return Err(RequestError::bad_request(
                "IndexNotFoundError",
                format!("The table {table:?} has no index on its primary key."),
            ));
        };
        index.check_ready(table)?;
        Ok((tablet.id, index.clone()))
    }
}

impl Row {
    /// Without a primary key the record is appended. With one it replaces the document with the
    /// same key, or deletes it when the record says so; a record that meets no document is inserted
    /// either way.
    fn apply(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let Some(key) = &self.target.primary_key else {
            let tablet = transaction.table(ROOT, &self.target.name.table)?;
            transaction.insert(tablet, &self.draft);
            return Ok(());
        };
        let (tablet, index) = self.target.indexed(key, transaction)?;
        let values: Vec<&Value> = key
            .iter()
            .filter_map(|path| field(&self.draft.fields, path))
            .collect();
        match transaction.find(tablet, &index, &values)? {
            Some(current) if self.deleted => transaction.delete(tablet, &current),
            Some(current) => transaction.replace(tablet, &current, &self.draft),
            None => transaction.insert(tablet, &self.draft),
        }
        Ok(())
    }
}

fn check_stream_key(key: Option<&[FieldPath]>) -> Result<(), RequestError> {
    let Some(key) = key else { return Ok(()) };
    if key.is_empty() {
        return Err(RequestError::bad_request(
            "EmptyPrimaryKey",
            "A primary key needs at least one field.",
        ));
    }
    // Convex has no code for this one.
    if key
        .iter()
        .any(|path| path.is_empty() || !path.iter().all(|name| is_identifier(name)))
    {
        return Err(RequestError::internal(
            "A field of a primary key is not an identifier.",
        ));
    }
    Ok(())
}

/// The body of `add_primary_key_indexes`.
#[derive(Deserialize)]
pub(super) struct IndexesBody {
    indexes: BTreeMap<String, Vec<FieldPath>>,
}

impl IndexesBody {
    /// The tables and their keys, checked.
    pub fn check(self) -> Result<Vec<(StreamName, Vec<FieldPath>)>, RequestError> {
        let tables = self.indexes.into_iter().map(|(table, key)| {
            check_new_key(&key)?;
            Ok((StreamName::new(&table)?, key))
        });
        tables.collect()
    }
}

fn check_new_key(key: &[FieldPath]) -> Result<(), RequestError> {
    let invalid = |message: &str| Err(RequestError::bad_request("InvalidPrimaryKey", message));
    let mut seen = HashSet::new();
    if key.is_empty() || key.len() > MAX_INDEX_FIELDS {
        return invalid("A primary key has 1 to 16 fields.");
    }
    for path in key {
        if path.is_empty() || !path.iter().all(|name| is_identifier(name)) {
            return invalid("A field of a primary key has to be an identifier.");
        }
        if !seen.insert(path) {
            return invalid("A primary key names a field twice.");
        }
        match path[0].as_str() {
            "_id" => return invalid("_id cannot be part of a primary key."),
            "_creationTime" => {
                return Err(RequestError::bad_request(
                    "IndexFieldsContainCreationTime",
                    "_creationTime is part of every index already.",
                ));
            }
            name if name.starts_with('_') => {
                return Err(RequestError::bad_request(
                    "IndexFieldNameReserved",
                    format!("The field {name:?} is reserved."),
                ));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The body of `primary_key_indexes_ready`.
#[derive(Deserialize)]
pub(super) struct ReadyBody {
    pub tables: Vec<String>,
}

/// The body of `clear_tables`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ClearBody {
    pub table_names: Vec<String>,
}

/// The body of `replace_tables`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ReplaceBody {
    #[serde(rename = "tableNames")]
    pub _table_names: BTreeMap<String, String>,
}

//! The streaming import (section 13 of the wire contract): records come in, documents are appended, replaced or deleted.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::catalog::{FieldPath, PRIMARY_KEY, ROOT};
use super::document::Draft;
use super::error::RequestError;
use super::index_key::field;
use super::names::{is_identifier, repair_field_names, repair_table_name};
use super::transaction::Transaction;
use super::value::{Object, Value};

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

/// One record, its names repaired.
struct Record {
    table: String,
    fields: Object,
    deleted: bool,
}

/// The records of one request, all of them understood before the first is written.
pub(super) struct Import {
    primary_keys: BTreeMap<String, Option<Vec<FieldPath>>>,
    records: std::vec::IntoIter<Record>,
    /// The record that did not fit into the last transaction.
    pending: Option<(Record, Draft)>,
}

impl Import {
    pub fn new(body: ImportBody) -> Result<Import, RequestError> {
        let mut primary_keys = BTreeMap::new();
        for (name, stream) in body.tables {
            check_stream_key(stream.primary_key.as_deref())?;
            primary_keys.insert(repair_table_name(&name)?, stream.primary_key);
        }
        let mut records = Vec::with_capacity(body.messages.len());
        for message in body.messages {
            let record = Record::new(message)?;
            let key = primary_keys.get(&record.table).ok_or_else(|| {
                let table = &record.table;
                RequestError::bad_request(
                    "MissingStream",
                    format!("There is a record for {table:?}, which is not in tables."),
                )
            })?;
            let missing = key
                .iter()
                .flatten()
                .find(|path| field(&record.fields, path).is_none());
            if let Some(path) = missing {
                return Err(RequestError::bad_request(
                    "MissingPrimaryKeyValue",
                    format!(
                        "A record for {:?} has no value at {}.",
                        record.table,
                        path.join(".")
                    ),
                ));
            }
            records.push(record);
        }
        Ok(Import {
            primary_keys,
            records: records.into_iter(),
            pending: None,
        })
    }

    /// The records of the next transaction. `None`: there are no more. Errors: the 400s of the document limits.
    pub fn next_chunk(&mut self) -> Result<Option<Chunk>, RequestError> {
        let mut rows = Vec::new();
        let mut bytes = 0;
        while let Some((record, draft)) = self.next_record()? {
            let full =
                rows.len() == TRANSACTION_DOCUMENTS || bytes + draft.size() > TRANSACTION_BYTES;
            if full && !rows.is_empty() {
                self.pending = Some((record, draft));
                break;
            }
            bytes += draft.size();
            let primary_key = self.primary_keys.get(&record.table).cloned().flatten();
            rows.push(Row {
                table: record.table,
                primary_key,
                draft,
                deleted: record.deleted,
            });
        }
        Ok((!rows.is_empty()).then_some(Chunk { rows }))
    }

    fn next_record(&mut self) -> Result<Option<(Record, Draft)>, RequestError> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        let Some(mut record) = self.records.next() else {
            return Ok(None);
        };
        let draft = Draft::new(std::mem::take(&mut record.fields))?;
        Ok(Some((record, draft)))
    }
}

impl Record {
    fn new(message: Message) -> Result<Record, RequestError> {
        let Value::Object(mut fields) = message.data else {
            return Err(RequestError::internal(
                "The data of a record has to be an object.",
            ));
        };
        let deleted = fields
            .get("_ab_cdc_deleted_at")
            .is_some_and(|at| *at != Value::Null);
        fields.retain(|name, _| !name.starts_with("_ab_cdc"));
        Ok(Record {
            table: repair_table_name(&message.table_name)?,
            fields: repair_field_names(fields)?,
            deleted,
        })
    }
}

/// The records of one transaction.
pub(super) struct Chunk {
    rows: Vec<Row>,
}

struct Row {
    table: String,
    primary_key: Option<Vec<FieldPath>>,
    draft: Draft,
    deleted: bool,
}

impl Chunk {
    pub fn apply(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        self.rows.iter().try_for_each(|row| row.apply(transaction))
    }
}

impl Row {
    /// Without a primary key the record is appended. With one it replaces the document with the same key, or deletes it when the
    /// record says so; a record that meets no document is inserted either way.
    fn apply(&self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let Some(key) = &self.primary_key else {
            let tablet = transaction.table(ROOT, &self.table)?;
            transaction.insert(tablet, &self.draft);
            return Ok(());
        };
        let tablet = transaction.catalog().table(ROOT, &self.table).cloned();
        let index = tablet.as_ref().and_then(|tablet| tablet.index(PRIMARY_KEY));
        let (Some(tablet), Some(index)) = (&tablet, index.filter(|index| index.fields == *key))
        else {
            return Err(RequestError::bad_request(
                "IndexNotFoundError",
                format!(
                    "The table {:?} has no index on its primary key.",
                    self.table
                ),
            ));
        };
        index.check_ready(&self.table)?;
        let values: Vec<&Value> = key
            .iter()
            .filter_map(|path| field(&self.draft.fields, path))
            .collect();
        match transaction.find(tablet.id, index, &values)? {
            Some(current) if self.deleted => transaction.delete(tablet.id, &current),
            Some(current) => transaction.replace(tablet.id, &current, &self.draft),
            None => transaction.insert(tablet.id, &self.draft),
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
    pub fn check(self) -> Result<Vec<(String, Vec<FieldPath>)>, RequestError> {
        let tables = self.indexes.into_iter().map(|(table, key)| {
            check_new_key(&key)?;
            Ok((repair_table_name(&table)?, key))
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

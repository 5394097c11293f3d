//! What Fivetran's destination connector asks for (end of section 13 of the wire contract). Rows are in the tagged encoding.

use std::collections::BTreeSet;

use axum::http::StatusCode;
use serde::{Deserialize, Deserializer};

use super::catalog::{FieldPath, Index, ROOT};
use super::document::Draft;
use super::error::RequestError;
use super::index_key::{end_of, field, prefix};
use super::names::{is_field_name, is_identifier};
use super::transaction::{Current, Transaction};
use super::value::{Object, Value};

/// By the fields of the primary key; with soft deletion, those that are deleted are kept apart by a first field.
const PRIMARY_KEY: &str = "_fivetran_by_primary_key";
/// By the time of the last sync; with soft deletion, again after whether it is deleted.
const SYNCED: &str = "_fivetran_by_synced";
/// The object that holds what Fivetran itself knows of a row.
const METADATA: &str = "fivetran";
const DELETED: [&str; 2] = [METADATA, "deleted"];
const LAST_SYNCED: [&str; 2] = [METADATA, "synced"];
/// Documents that one transaction of a truncation deletes.
const TRUNCATED_AT_ONCE: usize = 4096;
const MAX_INDEXES: usize = 64;
const MAX_INDEX_FIELDS: usize = 16;

/// One of the operations of `apply_fivetran_operations`.
#[derive(Deserialize)]
pub(super) struct Operation {
    table: String,
    operation: OperationKind,
    #[serde(deserialize_with = "tagged_object")]
    row: Object,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
enum OperationKind {
    Upsert,
    Update,
    HardDelete,
}

fn tagged_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
    match Value::deserialize(deserializer)?.untag() {
        Some(Value::Object(fields)) if has_field_names(&fields) => Ok(fields),
        _ => Err(serde::de::Error::custom(
            "a row has to be an object of Convex values",
        )),
    }
}

fn has_field_names(fields: &Object) -> bool {
    let mut fields = fields.iter();
    fields.all(|(name, value)| is_field_name(name) && is_well_named(value))
}

fn is_well_named(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().all(is_well_named),
        Value::Object(fields) => has_field_names(fields),
        _ => true,
    }
}

/// Applies operations in their order, all or none.
///
/// Errors: 400 `MissingFivetranPrimaryKeyIndex`, `MissingValueForFivetranPrimaryKeyIndex`, `IndexBackfillingError` or one of the
/// document limits, 404 `FivetranMissingUpdatedRow`, 500 for a table that cannot exist.
pub(super) fn apply(
    operations: Vec<Operation>,
    transaction: &mut Transaction,
) -> Result<(), RequestError> {
    operations
        .into_iter()
        .try_for_each(|operation| operation.apply(transaction))
}

impl Operation {
    fn apply(self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let table = &self.table;
        if !is_identifier(table) {
            let message = format!("{table:?} cannot be the name of a table.");
            return Err(RequestError::internal(message));
        }
        let tablet = transaction.catalog().table(ROOT, table).cloned();
        let index = tablet.as_ref().and_then(|tablet| tablet.index(PRIMARY_KEY));
        let (Some(tablet), Some(index)) = (&tablet, index) else {
            return Err(RequestError::bad_request(
                "MissingFivetranPrimaryKeyIndex",
                format!(
                    "The table {table:?} has no index {PRIMARY_KEY}: it was not created by fivetran_create_table."
                ),
            ));
        };
        index.check_ready(table)?;
        let current = transaction.find(tablet.id, index, &self.key(index)?)?;
        match (self.operation, current) {
            (OperationKind::Upsert, None) => transaction.insert(tablet.id, &self.draft()?),
            (OperationKind::Upsert, Some(current)) => {
                transaction.replace(tablet.id, &current, &self.draft()?);
            }
            (OperationKind::Update, Some(current)) => {
                let patched = Draft::new(patch(current.own_fields(), self.row))?;
                transaction.replace(tablet.id, &current, &patched);
            }
            (OperationKind::Update, None) => {
                return Err(RequestError {
                    status: StatusCode::NOT_FOUND,
                    code: "FivetranMissingUpdatedRow",
                    message: format!("The table {table:?} has no row to update."),
                });
            }
            (OperationKind::HardDelete, Some(current)) => transaction.delete(tablet.id, &current),
            (OperationKind::HardDelete, None) => {}
        }
        Ok(())
    }

    fn draft(self) -> Result<Draft, RequestError> {
        Draft::new(self.row)
    }

    /// The values to look the row up by. Rows that are softly deleted are not found.
    fn key<'a>(&'a self, index: &Index) -> Result<Vec<&'a Value>, RequestError> {
        let values = index.fields.iter().map(|path| {
            if *path == DELETED {
                return Ok(&Value::Bool(false));
            }
            field(&self.row, path).ok_or_else(|| {
                RequestError::bad_request(
                    "MissingValueForFivetranPrimaryKeyIndex",
                    format!(
                        "A row of {:?} has no value at {}.",
                        self.table,
                        path.join(".")
                    ),
                )
            })
        });
        values.collect()
    }
}

/// The document with the row's fields in place of its own; of Fivetran's metadata each by itself.
fn patch(mut fields: Object, row: Object) -> Object {
    for (name, value) in row {
        match (fields.get_mut(&name), value) {
            (Some(Value::Object(known)), Value::Object(new)) if name == METADATA => {
                known.extend(new);
            }
            (_, value) => {
                fields.insert(name, value);
            }
        }
    }
    fields
}

/// The body of `fivetran_truncate_table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TruncateBody {
    pub table_name: String,
    #[serde(default, deserialize_with = "timestamp")]
    delete_before: Option<f64>,
    delete_type: DeleteType,
}

#[derive(Clone, Copy, PartialEq, Deserialize)]
enum DeleteType {
    SoftDelete,
    HardDelete,
}

/// Reads an RFC 3339 time into whole ms since the epoch.
fn timestamp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let text: Option<String> = Deserialize::deserialize(deserializer)?;
    let time = text.map(|text| chrono::DateTime::parse_from_rfc3339(&text));
    let time = time.transpose().map_err(serde::de::Error::custom)?;
    Ok(time.map(|time| time.timestamp_millis() as f64))
}

impl TruncateBody {
    /// Whether all there is goes, so that the table can be cleared as a whole.
    pub fn is_everything(&self) -> bool {
        self.delete_before.is_none() && self.delete_type == DeleteType::HardDelete
    }

    /// Deletes some of the rows that were synced before the given time, after `place` in the index. Returns where to go on, unless
    /// there are no more.
    ///
    /// Errors: 400 `MissingFivetranSyncedIndex`, `WrongFieldsInFivetranSyncedIndex` or `IndexBackfillingError`.
    pub fn apply(
        &self,
        table: &str,
        place: Option<&[u8]>,
        transaction: &mut Transaction,
    ) -> Result<Option<Vec<u8>>, RequestError> {
        let tablet = transaction.catalog().table(ROOT, table).cloned();
        let index = tablet.as_ref().and_then(|tablet| tablet.index(SYNCED));
        let (Some(tablet), Some(index)) = (&tablet, index) else {
            return Err(RequestError::bad_request(
                "MissingFivetranSyncedIndex",
                format!(
                    "The table {table:?} has no index {SYNCED}: it was not created by fivetran_create_table."
                ),
            ));
        };
        index.check_ready(table)?;
        let (start, end) = self.range(table, index)?;
        let start = place.map_or(start, end_of);
        let found = transaction.page(tablet.id, &start, &end, TRUNCATED_AT_ONCE)?;
        for (_, current) in &found {
            match self.delete_type {
                DeleteType::HardDelete => transaction.delete(tablet.id, current),
                DeleteType::SoftDelete => {
                    let marked = Draft::new(marked_deleted(current))?;
                    transaction.replace(tablet.id, current, &marked);
                }
            }
        }
        let full = found.len() == TRUNCATED_AT_ONCE;
        Ok(found
            .into_iter()
            .next_back()
            .filter(|_| full)
            .map(|(key, _)| key))
    }

    /// The part of the index that holds the rows that are not softly deleted and were synced before the given time.
    fn range(&self, table: &str, index: &Index) -> Result<(Vec<u8>, Vec<u8>), RequestError> {
        let fields: Vec<Vec<&str>> = index
            .fields
            .iter()
            .map(|path| path.iter().map(String::as_str).collect())
            .collect();
        let of_kind = match fields.as_slice() {
            [synced] if *synced == LAST_SYNCED => prefix(index.id, []),
            [deleted, synced] if *deleted == DELETED && *synced == LAST_SYNCED => {
                prefix(index.id, [Some(&Value::Bool(false))])
            }
            _ => {
                return Err(RequestError::bad_request(
                    "WrongFieldsInFivetranSyncedIndex",
                    format!(
                        "The index {SYNCED} of the table {table:?} has other fields than fivetran.synced, with or without fivetran.deleted before it."
                    ),
                ));
            }
        };
        let end = match self.delete_before {
            None => end_of(&of_kind),
            Some(time) => {
                let mut end = of_kind.clone();
                end.extend_from_slice(&prefix(0, [Some(&Value::Float64(time))])[4..]);
                end
            }
        };
        Ok((of_kind, end))
    }
}

fn marked_deleted(current: &Current) -> Object {
    let mark = Object::from([(DELETED[1].to_owned(), Value::Bool(true))]);
    let mut fields = current.own_fields();
    match fields.get_mut(METADATA) {
        Some(Value::Object(known)) => known.extend(mark),
        _ => {
            fields.insert(METADATA.to_owned(), Value::Object(mark));
        }
    }
    fields
}

/// The body of `fivetran_create_table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreateBody {
    table_definition: TableDefinition,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableDefinition {
    table_name: String,
    indexes: Vec<IndexDefinition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IndexDefinition {
    index_descriptor: String,
    /// Paths of fields, their names joined by dots.
    fields: Vec<String>,
}

/// A table to create, its indexes checked.
pub(super) struct NewTable {
    name: String,
    indexes: Vec<(String, Vec<FieldPath>)>,
}

impl CreateBody {
    /// Errors: the 400s for names and indexes that cannot be.
    pub fn check(self) -> Result<NewTable, RequestError> {
        let TableDefinition {
            table_name: name,
            indexes,
        } = self.table_definition;
        let refuse = |code, what: String| Err(RequestError::bad_request(code, what));
        if !is_identifier(&name) {
            return refuse(
                "InvalidTableName",
                format!("{name:?} cannot be the name of a table."),
            );
        }
        if name.starts_with('_') {
            return refuse(
                "TableNameReserved",
                format!("The table name {name:?} is reserved."),
            );
        }
        if indexes.len() > MAX_INDEXES {
            return refuse(
                "TooManyIndexes",
                format!("A table has at most {MAX_INDEXES} indexes."),
            );
        }
        let (mut names, mut fields) = (BTreeSet::new(), BTreeSet::new());
        for index in &indexes {
            let descriptor = &index.index_descriptor;
            if !names.insert(descriptor) {
                return refuse(
                    "IndexNamesNotUnique",
                    format!("There are two indexes {descriptor:?}."),
                );
            }
            if !fields.insert(&index.fields) {
                return refuse(
                    "IndexNotUnique",
                    format!("The index {descriptor:?} has the fields of another."),
                );
            }
        }
        let indexes = indexes.iter().map(IndexDefinition::check);
        Ok(NewTable {
            indexes: indexes.collect::<Result<_, _>>()?,
            name,
        })
    }
}

impl IndexDefinition {
    fn check(&self) -> Result<(String, Vec<FieldPath>), RequestError> {
        let name = &self.index_descriptor;
        let refuse = |code, what: &str| {
            let message = format!("The index {name:?} {what}.");
            Err(RequestError::bad_request(code, message))
        };
        if !is_identifier(name) {
            return refuse("InvalidIndexName", "has a name that is no identifier");
        }
        let reserved = name.starts_with('_') || name == "by_id" || name == "by_creation_time";
        if reserved && !name.starts_with("_fivetran") {
            return refuse("IndexNameReserved", "has a reserved name");
        }
        let mut fields = self.fields.as_slice();
        // It is part of every index, said or not.
        if let Some((last, rest)) = fields.split_last()
            && last == "_creationTime"
        {
            fields = rest;
        }
        if fields.is_empty() {
            return refuse("EmptyIndex", "has no fields");
        }
        if fields.len() > MAX_INDEX_FIELDS {
            return refuse("IndexTooManyFields", "has too many fields");
        }
        let paths: Vec<FieldPath> = fields
            .iter()
            .map(|path| path.split('.').map(str::to_owned).collect())
            .collect();
        for path in &paths {
            if !path.iter().all(|name| is_identifier(name)) {
                return refuse("InvalidIndexField", "has a field that is no identifier");
            }
            match path[0].as_str() {
                "_id" => return refuse("IndexFieldsContainId", "has the field _id"),
                "_creationTime" => {
                    return refuse(
                        "IndexFieldsContainCreationTime",
                        "has the field _creationTime",
                    );
                }
                name if name.starts_with('_') => {
                    return refuse("IndexFieldNameReserved", "has a reserved field");
                }
                _ => {}
            }
        }
        if paths.iter().collect::<BTreeSet<_>>().len() < paths.len() {
            return refuse("FieldsNotUniqueWithinIndex", "has a field twice");
        }
        Ok((name.clone(), paths))
    }
}

impl NewTable {
    /// Creates the table if it is not there, and gives it its indexes.
    pub fn create(self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let tablet = transaction.table(ROOT, &self.name)?;
        for (name, fields) in self.indexes {
            transaction.add_index(tablet, &name, fields);
        }
        Ok(())
    }
}

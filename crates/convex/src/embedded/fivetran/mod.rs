//! What Fivetran's destination connector asks for (end of section 13 of the wire contract). Rows
//! are in the tagged encoding.

mod create;
mod truncate;

use axum::http::StatusCode;
use serde::de::Error;
use serde::{Deserialize, Deserializer};

pub(super) use self::create::CreateBody;
pub(super) use self::truncate::TruncateBody;

use super::catalog::{Index, ROOT};
use super::document::Draft;
use super::error::RequestError;
use super::index_key::field;
use super::names::{check_field_names, is_identifier};
use super::transaction::Transaction;
use super::value::{Object, Value};

/// By the fields of the primary key; with soft deletion, those that are deleted are kept apart by a
/// first field.
const PRIMARY_KEY: &str = "_fivetran_by_primary_key";
/// The object that holds what Fivetran itself knows of a row.
const METADATA: &str = "fivetran";
const DELETED: [&str; 2] = [METADATA, "deleted"];

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
    let Some(Value::Object(fields)) = Value::deserialize(deserializer)?.untag() else {
        return Err(D::Error::custom(
            "a row has to be an object of Convex values",
        ));
    };
    check_field_names(&fields).map_err(D::Error::custom)?;
    Ok(fields)
}

/// Applies operations in their order, all or none.
///
/// Errors: 400 `MissingFivetranPrimaryKeyIndex`, `MissingValueForFivetranPrimaryKeyIndex`,
/// `IndexBackfillingError` or one of the document limits, 404 `FivetranMissingUpdatedRow`, 500 for
/// a table that cannot exist.
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

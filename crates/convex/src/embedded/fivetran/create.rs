//! Creating tables with the indexes that the connector looks rows up by.

use std::collections::BTreeSet;

use serde::Deserialize;

use crate::embedded::catalog::FieldPath;
use crate::embedded::error::RequestError;
use crate::embedded::names::{StreamName, is_identifier};
use crate::embedded::transaction::Transaction;

const MAX_INDEXES: usize = 64;
const MAX_INDEX_FIELDS: usize = 16;

/// The body of `fivetran_create_table`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::embedded) struct CreateBody {
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
pub(in crate::embedded) struct NewTable {
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
    /// Creates the table if it is not there, and gives it its indexes. Errors: 400 `TooManyTables`,
    /// `InvalidTableName`.
    pub fn create(self, transaction: &mut Transaction) -> Result<(), RequestError> {
        let tablet = transaction.stream_table(&StreamName::new(&self.name)?)?;
        for (name, fields) in self.indexes {
            transaction.add_index(tablet, &name, fields);
        }
        Ok(())
    }
}

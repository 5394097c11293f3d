//! Which names tables and fields may have, and how the streaming import repairs those that may not
//! be used.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use slugify::slugify;

use super::error::RequestError;
use super::value::{Object, Value};

const MAX_IDENTIFIER: usize = 64;
const MAX_FIELD_NAME: usize = 1024;
/// Names of a table's fields whose origins are kept.
const MAX_REPAIRED_FIELDS: usize = 4096;
/// What repaired names begin with.
const REPAIRED: &str = "source_";

/// Whether `name` may name a table (or a column of a primary key): `[A-Za-z_][A-Za-z0-9_]*`, at
/// most 64 bytes, not only underscores.
pub(super) fn is_identifier(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well
        && name.len() <= MAX_IDENTIFIER
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().any(|byte| byte != b'_')
}

/// Whether this may be the path of a component: names of letters, digits and underscores, joined by
/// slashes. The root's is empty.
pub(super) fn is_component_path(path: &str) -> bool {
    path.is_empty() || path.split('/').all(is_identifier)
}

/// Checks the names of fields, at any depth, that are taken as they are. The error names the one
/// that cannot be.
pub(super) fn check_field_names(fields: &Object) -> Result<(), String> {
    for (name, value) in fields {
        if !is_field_name(name) {
            return Err(format!("{name:?} cannot be the name of a field"));
        }
        check_names_in(value)?;
    }
    Ok(())
}

fn check_names_in(value: &Value) -> Result<(), String> {
    match value {
        Value::Array(items) => items.iter().try_for_each(check_names_in),
        Value::Object(fields) => check_field_names(fields),
        _ => Ok(()),
    }
}

/// Whether `name` may name a field: printable ASCII, at most 1024 bytes, not starting with `$`.
fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= MAX_FIELD_NAME
        && !name.starts_with('$')
        && name
            .bytes()
            .all(|byte| byte.is_ascii() && !byte.is_ascii_control())
}

/// The name of an imported stream, and of the table it goes into.
#[derive(Clone, Debug)]
pub(super) struct StreamName {
    stream: String,
    pub table: String,
}

impl StreamName {
    /// Repairs the name of a stream. Error: 400 `InvalidTableName` when no repair helps.
    pub fn new(stream: &str) -> Result<StreamName, RequestError> {
        let table = repair(stream, is_identifier).ok_or_else(|| {
            RequestError::bad_request(
                "InvalidTableName",
                format!("The stream name {stream:?} cannot be repaired to the name of a table."),
            )
        })?;
        Ok(StreamName {
            stream: stream.to_owned(),
            table,
        })
    }

    /// The name before its repair, if it needed one.
    pub fn repaired_from(&self) -> Option<&str> {
        (self.stream != self.table).then_some(&self.stream)
    }

    /// Refuses a table that is another stream's.
    pub fn check(&self, other: &str) -> Result<(), RequestError> {
        let (stream, table) = (&self.stream, &self.table);
        if other == stream {
            return Ok(());
        }
        Err(RequestError::bad_request(
            "InvalidTableName",
            format!(
                "The streams {other:?} and {stream:?} would both be the table {table:?}. Rename one of them."
            ),
        ))
    }
}

/// What the names of a table's fields were that a repair may have made: two names are never one
/// column, be it in one record or in different ones, at whatever depth.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FieldOrigins(BTreeMap<String, String>);

impl FieldOrigins {
    /// Notes what a field's name was. Error: 400 `InvalidFieldName` when another name has become
    /// the same, or a table has too many such names.
    fn note(&mut self, repaired: &str, name: &str) -> Result<(), RequestError> {
        let refuse = |message| Err(RequestError::bad_request("InvalidFieldName", message));
        match self.0.get(repaired) {
            Some(origin) if origin == name => Ok(()),
            Some(origin) => refuse(format!(
                "The fields {origin:?} and {name:?} would both be named {repaired:?}. Rename one of them."
            )),
            None if self.0.len() >= MAX_REPAIRED_FIELDS => refuse(format!(
                "The field name {name:?} cannot be repaired: a table has at most {MAX_REPAIRED_FIELDS} names of that kind."
            )),
            None => {
                self.0.insert(repaired.to_owned(), name.to_owned());
                Ok(())
            }
        }
    }

    /// Whether all of `others` are noted here.
    pub fn contains(&self, others: &FieldOrigins) -> bool {
        others
            .0
            .iter()
            .all(|(new, name)| self.0.get(new) == Some(name))
    }

    /// Notes all of `others`. Error: as for one.
    pub fn note_all(&mut self, others: &FieldOrigins) -> Result<(), RequestError> {
        others
            .0
            .iter()
            .try_for_each(|(new, name)| self.note(new, name))
    }
}

/// Repairs the names of an imported record's fields, at any depth. A repaired name depends on
/// nothing but the name it was, so that a column is the same in every record. Error: 400
/// `InvalidFieldName` when no repair helps, or as `origins` says.
pub(super) fn repair_field_names(
    fields: Object,
    origins: &mut FieldOrigins,
) -> Result<Object, RequestError> {
    // Nearly all records are as they should be, and need not be built anew.
    if is_kept_whole(&fields) {
        return Ok(fields);
    }
    repair_fields(fields, origins)
}

/// Whether there is no name that needs a repair, or that a repair could make.
fn is_kept_whole(fields: &Object) -> bool {
    fields.iter().all(|(name, value)| {
        is_kept(name, is_field_name) && !name.starts_with(REPAIRED) && is_value_kept(value)
    })
}

fn is_value_kept(value: &Value) -> bool {
    match value {
        Value::Object(fields) => is_kept_whole(fields),
        Value::Array(items) => items.iter().all(is_value_kept),
        _ => true,
    }
}

fn repair_fields(fields: Object, origins: &mut FieldOrigins) -> Result<Object, RequestError> {
    let mut repaired = Object::new();
    for (name, value) in fields {
        let new = repair(&name, is_field_name).ok_or_else(|| {
            let message = format!("The field name {name:?} cannot be repaired.");
            RequestError::bad_request("InvalidFieldName", message)
        })?;
        if new.starts_with(REPAIRED) {
            origins.note(&new, &name)?;
        }
        repaired.insert(new, repair_value(value, origins)?);
    }
    Ok(repaired)
}

fn repair_value(value: Value, origins: &mut FieldOrigins) -> Result<Value, RequestError> {
    match value {
        Value::Object(fields) => repair_fields(fields, origins).map(Value::Object),
        Value::Array(items) => {
            let items = items.into_iter().map(|item| repair_value(item, origins));
            items.collect::<Result<_, _>>().map(Value::Array)
        }
        other => Ok(other),
    }
}

fn is_kept(name: &str, is_valid: fn(&str) -> bool) -> bool {
    is_valid(name) && !name.starts_with('_')
}

/// `source_` and the name in ASCII letters, digits and underscores, as Convex makes it. Of a name
/// that has nothing to be written so, its digest. `None`: that is no valid name either.
fn repair(name: &str, is_valid: fn(&str) -> bool) -> Option<String> {
    if is_kept(name, is_valid) {
        return Some(name.to_owned());
    }
    let slug = match slugify(name, "", "_", None) {
        slug if slug.is_empty() => digest(name),
        slug => slug,
    };
    Some(format!("{REPAIRED}{slug}")).filter(|repaired| is_valid(repaired))
}

/// 8 hexadecimal digits.
fn digest(name: &str) -> String {
    let digest = Sha256::digest(name.as_bytes());
    digest[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

//! Which names tables and fields may have, and how the streaming import repairs those that may not be used.

use super::error::RequestError;
use super::value::{Object, Value};

const MAX_IDENTIFIER: usize = 64;
const MAX_FIELD_NAME: usize = 1024;

/// Whether `name` may name a table (or a column of a primary key): `[A-Za-z_][A-Za-z0-9_]*`, at most 64 bytes, not only
/// underscores.
pub(super) fn is_identifier(name: &str) -> bool {
    let starts_well = name.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_');
    starts_well
        && name.len() <= MAX_IDENTIFIER
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && name.bytes().any(|byte| byte != b'_')
}

/// Whether this may be the path of a component: names of letters, digits and underscores, joined by slashes. The root's is empty.
pub(super) fn is_component_path(path: &str) -> bool {
    path.is_empty() || path.split('/').all(is_identifier)
}

/// Checks the names of fields, at any depth, that are taken as they are. The error names the one that cannot be.
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

/// The table a stream is imported into. Error: 500 when no repair helps.
pub(super) fn repair_table_name(name: &str) -> Result<String, RequestError> {
    repair(name, is_identifier)
}

/// Repairs the names of an imported record's fields, at any depth. A name that a repair would give to two fields gets `source_`
/// in front again, up to three times. Error: 500 when no repair helps.
pub(super) fn repair_field_names(fields: Object) -> Result<Object, RequestError> {
    // Nearly all records are as they should be, and need not be built anew.
    if is_kept_whole(&fields) {
        return Ok(fields);
    }
    repair_fields(fields)
}

fn is_kept_whole(fields: &Object) -> bool {
    let mut fields = fields.iter();
    fields.all(|(name, value)| is_kept(name, is_field_name) && is_value_kept(value))
}

fn is_value_kept(value: &Value) -> bool {
    match value {
        Value::Object(fields) => is_kept_whole(fields),
        Value::Array(items) => items.iter().all(is_value_kept),
        _ => true,
    }
}

fn repair_fields(fields: Object) -> Result<Object, RequestError> {
    let mut repaired = Object::new();
    let (kept, broken): (Vec<_>, Vec<_>) = fields
        .into_iter()
        .partition(|(name, _)| is_kept(name, is_field_name));
    for (name, value) in kept {
        repaired.insert(name, repair_value(value)?);
    }
    for (name, value) in broken {
        let mut candidate = repair(&name, is_field_name)?;
        let mut tries = 0;
        while repaired.contains_key(&candidate) {
            tries += 1;
            candidate = format!("source_{candidate}");
            if tries > 3 || !is_field_name(&candidate) {
                return Err(RequestError::internal(format!(
                    "The field name {name:?} cannot be repaired."
                )));
            }
        }
        repaired.insert(candidate, repair_value(value)?);
    }
    Ok(repaired)
}

fn repair_value(value: Value) -> Result<Value, RequestError> {
    match value {
        Value::Object(fields) => repair_fields(fields).map(Value::Object),
        Value::Array(items) => {
            let items: Result<Vec<Value>, RequestError> =
                items.into_iter().map(repair_value).collect();
            items.map(Value::Array)
        }
        other => Ok(other),
    }
}

fn is_kept(name: &str, is_valid: fn(&str) -> bool) -> bool {
    is_valid(name) && !name.starts_with('_')
}

fn repair(name: &str, is_valid: fn(&str) -> bool) -> Result<String, RequestError> {
    if is_kept(name, is_valid) {
        return Ok(name.to_owned());
    }
    let repaired = format!("source_{}", slug(name));
    if is_valid(&repaired) {
        Ok(repaired)
    } else {
        Err(RequestError::internal(format!(
            "The name {name:?} cannot be repaired."
        )))
    }
}

/// Lowercase ASCII letters and digits; every run of anything else is one underscore, none at the ends.
fn slug(name: &str) -> String {
    name.split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect::<Vec<_>>()
        .join("_")
}

//! What can be done to a place in a document.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::pointer::{Pointer, follow, index};
use super::{Data, DocumentError};

/// One step of a mutate. Paths are JSON Pointers into `data`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase", deny_unknown_fields)]
pub enum Mutation {
    /// Puts a value in place of what is there, or into a field that is not there yet.
    Set {
        /// Where.
        path: String,
        /// What.
        value: Value,
    },
    /// Adds to a number. Integers stay integers, within the range of i64.
    Increment {
        /// Where.
        path: String,
        /// How much; may be negative, or a float.
        value: Number,
    },
    /// Takes a field or an item away.
    Unset {
        /// Where.
        path: String,
    },
    /// Puts an item at the end of an array.
    Append {
        /// The array.
        path: String,
        /// The item.
        value: Value,
    },
    /// Puts an item into an array, before the one of that index; `-` is the end.
    Insert {
        /// The array, then the index.
        path: String,
        /// The item.
        value: Value,
    },
    /// Makes true false, and false true.
    Toggle {
        /// Where.
        path: String,
    },
    /// Merges into an object (RFC 7396).
    Merge {
        /// The object.
        path: String,
        /// What changes: fields that are null are taken away.
        value: Data,
    },
    /// Fails unless the value is there.
    Test {
        /// Where.
        path: String,
        /// What must be there; numbers are compared by value.
        value: Value,
    },
    /// Moves a value: into a field, or into an array as `insert` does.
    Move {
        /// Where it is.
        from: String,
        /// Where it is to be.
        path: String,
    },
    /// Copies a value: into a field, or into an array as `insert` does.
    Copy {
        /// Where it is.
        from: String,
        /// Where else it is to be.
        path: String,
    },
}

/// Applies all mutations in order.
///
/// # Errors
/// [`DocumentError::Mutation`] for the first that does not fit.
pub(super) fn apply(data: Data, mutations: &[Mutation]) -> Result<Data, DocumentError> {
    let mut root = Value::Object(data);
    for (index, mutation) in mutations.iter().enumerate() {
        mutation
            .apply(&mut root)
            .map_err(|reason| DocumentError::Mutation { index, reason })?;
    }
    // No mutation puts anything but an object in place of the whole.
    match root {
        Value::Object(data) => Ok(data),
        _ => Ok(Data::new()),
    }
}

/// Merges a patch as RFC 7396 says.
pub(super) fn merge(target: &mut Data, patch: &Data) {
    for (name, change) in patch {
        match change {
            Value::Null => {
                target.remove(name);
            }
            Value::Object(change) => {
                let field = target.entry(name).or_insert(Value::Null);
                if let Value::Object(fields) = field {
                    merge(fields, change);
                } else {
                    let mut fields = Data::new();
                    merge(&mut fields, change);
                    *field = Value::Object(fields);
                }
            }
            other => {
                target.insert(name.clone(), other.clone());
            }
        }
    }
}

impl Mutation {
    /// Whether its paths are JSON Pointers.
    pub(super) fn check(&self) -> Result<(), String> {
        let (path, from) = match self {
            Mutation::Set { path, .. }
            | Mutation::Increment { path, .. }
            | Mutation::Unset { path }
            | Mutation::Append { path, .. }
            | Mutation::Insert { path, .. }
            | Mutation::Toggle { path }
            | Mutation::Merge { path, .. }
            | Mutation::Test { path, .. } => (path, None),
            Mutation::Move { from, path } | Mutation::Copy { from, path } => (path, Some(from)),
        };
        for text in from.into_iter().chain([path]) {
            Pointer::parse(text)?;
        }
        Ok(())
    }

    fn apply(&self, root: &mut Value) -> Result<(), String> {
        match self {
            Mutation::Set { path, value } => set(root, path, value),
            Mutation::Increment { path, value } => {
                let place = find(root, path)?;
                let Value::Number(number) = place else {
                    return Err(misfit(path, "a number", place));
                };
                *number = sum(number, value)?;
                Ok(())
            }
            Mutation::Unset { path } => take(root, path).map(drop),
            Mutation::Append { path, value } => {
                let place = find(root, path)?;
                let Value::Array(items) = place else {
                    return Err(misfit(path, "an array", place));
                };
                items.push(value.clone());
                Ok(())
            }
            Mutation::Insert { path, value } => {
                let pointer = Pointer::parse(path)?;
                let (parents, _) = pointer.split().ok_or("path: must name an index")?;
                match follow(root, parents).ok_or_else(|| missing(path))? {
                    Value::Array(_) => add(root, path, value.clone()),
                    other => Err(misfit(path, "in an array", other)),
                }
            }
            Mutation::Toggle { path } => {
                let place = find(root, path)?;
                let Value::Bool(flag) = place else {
                    return Err(misfit(path, "a boolean", place));
                };
                *flag = !*flag;
                Ok(())
            }
            Mutation::Merge { path, value } => {
                let place = find(root, path)?;
                let Value::Object(fields) = place else {
                    return Err(misfit(path, "an object", place));
                };
                merge(fields, value);
                Ok(())
            }
            Mutation::Test { path, value } => {
                if same(find(root, path)?, value) {
                    Ok(())
                } else {
                    Err(format!("another value is at {path:?}"))
                }
            }
            Mutation::Move { from, path } => {
                if Pointer::parse(from)?.contains(&Pointer::parse(path)?) {
                    return Err(format!("{from:?} cannot move into itself"));
                }
                if from == path {
                    return find(root, from).map(drop);
                }
                let value = take(root, from)?;
                add(root, path, value)
            }
            Mutation::Copy { from, path } => {
                let value = find(root, from)?.clone();
                add(root, path, value)
            }
        }
    }
}

fn find<'a>(root: &'a mut Value, path: &str) -> Result<&'a mut Value, String> {
    let pointer = Pointer::parse(path)?;
    pointer.get_mut(root).ok_or_else(|| missing(path))
}

fn missing(path: &str) -> String {
    format!("there is nothing at {path:?}")
}

fn misfit(path: &str, wanted: &str, found: &Value) -> String {
    let found = match found {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    };
    format!("{path:?} must be {wanted}, but there is {found}")
}

/// Replaces what is there, or adds a field.
fn set(root: &mut Value, path: &str, value: &Value) -> Result<(), String> {
    let pointer = Pointer::parse(path)?;
    let Some((parents, last)) = pointer.split() else {
        return replace_all(root, value.clone());
    };
    match follow(root, parents).ok_or_else(|| missing(path))? {
        Value::Object(fields) => {
            fields.insert(last.to_owned(), value.clone());
        }
        Value::Array(items) => {
            let item = index(last).and_then(|at| items.get_mut(at));
            *item.ok_or_else(|| missing(path))? = value.clone();
        }
        other => return Err(misfit(path, "in an object or array", other)),
    }
    Ok(())
}

/// Adds a field, or an item before the one that is there (RFC 6902, section 4.1).
fn add(root: &mut Value, path: &str, value: Value) -> Result<(), String> {
    let pointer = Pointer::parse(path)?;
    let Some((parents, last)) = pointer.split() else {
        return replace_all(root, value);
    };
    match follow(root, parents).ok_or_else(|| missing(path))? {
        Value::Object(fields) => {
            fields.insert(last.to_owned(), value);
        }
        Value::Array(items) => {
            let end = items.len();
            let at = if last == "-" { Some(end) } else { index(last) };
            let at = at.filter(|&at| at <= end).ok_or_else(|| missing(path))?;
            items.insert(at, value);
        }
        other => return Err(misfit(path, "in an object or array", other)),
    }
    Ok(())
}

fn replace_all(root: &mut Value, value: Value) -> Result<(), String> {
    if !value.is_object() {
        return Err(misfit("", "an object", &value));
    }
    *root = value;
    Ok(())
}

fn take(root: &mut Value, path: &str) -> Result<Value, String> {
    let pointer = Pointer::parse(path)?;
    let (parents, last) = pointer.split().ok_or("the whole cannot be taken away")?;
    let taken = match follow(root, parents) {
        Some(Value::Object(fields)) => fields.remove(last),
        Some(Value::Array(items)) => index(last)
            .filter(|&at| at < items.len())
            .map(|at| items.remove(at)),
        _ => None,
    };
    taken.ok_or_else(|| missing(path))
}

fn sum(number: &Number, added: &Number) -> Result<Number, String> {
    if number.is_f64() || added.is_f64() {
        let sum = number.as_f64().zip(added.as_f64()).map(|(a, b)| a + b);
        return sum
            .and_then(Number::from_f64)
            .ok_or_else(|| "the sum is beyond the range of floats".to_owned());
    }
    // Two integers of 64 bits never overflow this.
    let sum = number.as_i128().unwrap_or_default() + added.as_i128().unwrap_or_default();
    i64::try_from(sum)
        .map(Number::from)
        .map_err(|_| format!("{sum} is beyond the range of 64-bit integers"))
}

/// Whether two values are the same, numbers by their value.
fn same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right || (left.is_f64() || right.is_f64()) && left.as_f64() == right.as_f64()
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| same(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(name, value)| right.get(name).is_some_and(|other| same(value, other)))
        }
        _ => left == right,
    }
}

//! What can be done to a place in a document.

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value};

use super::budget::{Budget, Refusal, size, size_of_name};
use super::pointer::{Pointer, follow, index};
use super::{Data, DocumentError, DocumentsConfig};

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
/// For the first that does not fit: [`DocumentError::Mutation`], [`DocumentError::TooLarge`],
/// [`DocumentError::TooDeep`].
pub(super) fn apply(
    data: Data,
    mutations: &[Mutation],
    config: &DocumentsConfig,
    budget: &mut Budget,
) -> Result<Data, DocumentError> {
    let mut root = Value::Object(data);
    for (index, mutation) in mutations.iter().enumerate() {
        budget
            .spend(&mut root, size, |root, budget| mutation.apply(root, budget))
            .map_err(|refusal| refusal.into_error(config, Some(index)))?;
    }
    // No mutation puts anything but an object in place of the whole.
    match root {
        Value::Object(data) => Ok(data),
        _ => Ok(Data::new()),
    }
}

/// Merges a patch as RFC 7396 says, into an object that lies below `levels` others.
pub(super) fn merge(
    target: &mut Data,
    patch: &Data,
    levels: usize,
    budget: &mut Budget,
) -> Result<(), Refusal> {
    for (name, change) in patch {
        match change {
            Value::Null => drop(take_field(target, name, budget)?),
            Value::Object(change) => {
                if !matches!(target.get(name), Some(Value::Object(_))) {
                    put_field(target, name, Data::new().into(), levels, budget)?;
                }
                if let Some(Value::Object(fields)) = target.get_mut(name) {
                    merge(fields, change, levels + 1, budget)?;
                }
            }
            other => put_field(target, name, other.clone(), levels, budget)?,
        }
    }
    Ok(())
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

    /// Leaves all as it was, or a merge half made, when it is refused.
    fn apply(&self, root: &mut Value, budget: &mut Budget) -> Result<(), Refusal> {
        match self {
            Mutation::Set { path, value } => set(root, path, value, budget),
            Mutation::Increment { path, value } => {
                let place = find(root, path)?;
                let Value::Number(number) = place else {
                    return Err(misfit(path, "a number", place).into());
                };
                let sum = sum(number, value)?;
                budget.add(size(&sum), size(number))?;
                *number = sum;
                Ok(())
            }
            Mutation::Unset { path } => take(root, path, budget).map(drop),
            Mutation::Append { path, value } => {
                let levels = Pointer::parse(path)?.len() + 1;
                let place = find(root, path)?;
                let Value::Array(items) = place else {
                    return Err(misfit(path, "an array", place).into());
                };
                put_item(items, items.len(), value.clone(), levels, budget)
            }
            Mutation::Insert { path, value } => {
                let pointer = Pointer::parse(path)?;
                let no_index = || "path: must name an index".to_owned();
                let (parents, _) = pointer.split().ok_or_else(no_index)?;
                match follow(root, parents).ok_or_else(|| missing(path))? {
                    Value::Array(_) => add(root, path, value.clone(), budget),
                    other => Err(misfit(path, "in an array", other).into()),
                }
            }
            Mutation::Toggle { path } => {
                let place = find(root, path)?;
                let Value::Bool(flag) = place else {
                    return Err(misfit(path, "a boolean", place).into());
                };
                budget.add(size(&!*flag), size(flag))?;
                *flag = !*flag;
                Ok(())
            }
            Mutation::Merge { path, value } => {
                let levels = Pointer::parse(path)?.len() + 1;
                let place = find(root, path)?;
                let Value::Object(fields) = place else {
                    return Err(misfit(path, "an object", place).into());
                };
                merge(fields, value, levels, budget)
            }
            Mutation::Test { path, value } => {
                if same(find(root, path)?, value) {
                    Ok(())
                } else {
                    Err(format!("another value is at {path:?}").into())
                }
            }
            Mutation::Move { from, path } => relocate(root, from, path, budget),
            Mutation::Copy { from, path } => {
                let value = find(root, from)?;
                budget.copy(size(value))?;
                let value = value.clone();
                add(root, path, value, budget)
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
fn set(root: &mut Value, path: &str, value: &Value, budget: &mut Budget) -> Result<(), Refusal> {
    let pointer = Pointer::parse(path)?;
    let Some((parents, last)) = pointer.split() else {
        return replace_all(root, value.clone(), budget);
    };
    match follow(root, parents).ok_or_else(|| missing(path))? {
        Value::Object(fields) => put_field(fields, last, value.clone(), pointer.len(), budget),
        Value::Array(items) => {
            let item = index(last).and_then(|at| items.get_mut(at));
            let item = item.ok_or_else(|| missing(path))?;
            budget.nest(pointer.len(), value)?;
            budget.add(size(value), size(item))?;
            *item = value.clone();
            Ok(())
        }
        other => Err(misfit(path, "in an object or array", other).into()),
    }
}

/// Adds a field, or an item before the one that is there (RFC 6902, section 4.1).
fn add(root: &mut Value, path: &str, value: Value, budget: &mut Budget) -> Result<(), Refusal> {
    let pointer = Pointer::parse(path)?;
    let Some((parents, last)) = pointer.split() else {
        return replace_all(root, value, budget);
    };
    match follow(root, parents).ok_or_else(|| missing(path))? {
        Value::Object(fields) => put_field(fields, last, value, pointer.len(), budget),
        Value::Array(items) => {
            let end = items.len();
            let at = if last == "-" { Some(end) } else { index(last) };
            let at = at.filter(|&at| at <= end).ok_or_else(|| missing(path))?;
            put_item(items, at, value, pointer.len(), budget)
        }
        other => Err(misfit(path, "in an object or array", other).into()),
    }
}

fn replace_all(root: &mut Value, value: Value, budget: &mut Budget) -> Result<(), Refusal> {
    if !value.is_object() {
        return Err(misfit("", "an object", &value).into());
    }
    budget.nest(0, &value)?;
    budget.add(size(&value), size(root))?;
    *root = value;
    Ok(())
}

/// Takes a value from one place to another.
fn relocate(root: &mut Value, from: &str, path: &str, budget: &mut Budget) -> Result<(), Refusal> {
    let (source, target) = (Pointer::parse(from)?, Pointer::parse(path)?);
    if source.contains(&target) {
        return Err(format!("{from:?} cannot move into itself").into());
    }
    if from == path {
        return Ok(find(root, from).map(drop)?);
    }
    if target.len() > source.len() {
        let value = find(root, from)?;
        budget.copy(size(value))?;
        budget.nest(target.len(), value)?;
    }
    // What is taken cannot be put back, so an estimate must not refuse it between the two.
    budget.ensure_estimate(8 * (path.len() + 1))?;
    let value = take(root, from, budget)?;
    add(root, path, value, budget)
}

/// Takes a field or an item away.
fn take(root: &mut Value, path: &str, budget: &mut Budget) -> Result<Value, Refusal> {
    let pointer = Pointer::parse(path)?;
    let whole = || "the whole cannot be taken away".to_owned();
    let (parents, last) = pointer.split().ok_or_else(whole)?;
    let taken = match follow(root, parents) {
        Some(Value::Object(fields)) => take_field(fields, last, budget)?,
        Some(Value::Array(items)) => match index(last).filter(|&at| at < items.len()) {
            Some(at) => {
                budget.shift(items.len() - at)?;
                budget.add(0, size(&items[at]) + usize::from(items.len() > 1))?;
                Some(items.remove(at))
            }
            None => None,
        },
        _ => None,
    };
    Ok(taken.ok_or_else(|| missing(path))?)
}

fn take_field(
    fields: &mut Data,
    name: &str,
    budget: &mut Budget,
) -> Result<Option<Value>, Refusal> {
    let taken = fields.remove(name);
    if let Some(taken) = &taken {
        budget.add(0, size_of_name(name, !fields.is_empty()) + size(taken))?;
    }
    Ok(taken)
}

/// Puts a value that will lie below `levels` others into a field, in place of what is there.
fn put_field(
    fields: &mut Data,
    name: &str,
    value: Value,
    levels: usize,
    budget: &mut Budget,
) -> Result<(), Refusal> {
    budget.nest(levels, &value)?;
    let (added, removed) = match fields.get(name) {
        Some(former) => (size(&value), size(former)),
        None => {
            let named = size_of_name(name, !fields.is_empty());
            (named + size(&value), 0)
        }
    };
    budget.add(added, removed)?;
    fields.insert(name.to_owned(), value);
    Ok(())
}

/// Puts a value that will lie below `levels` others into an array, before the item of that index or
/// at its end.
fn put_item(
    items: &mut Vec<Value>,
    at: usize,
    value: Value,
    levels: usize,
    budget: &mut Budget,
) -> Result<(), Refusal> {
    budget.nest(levels, &value)?;
    budget.shift(items.len() - at)?;
    budget.add(size(&value) + usize::from(!items.is_empty()), 0)?;
    items.insert(at, value);
    Ok(())
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

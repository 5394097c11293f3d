//! Reading the arguments of a function. The errors are what the function would have thrown.

use crate::embedded::value::{Object, Value};

/// The name of a function, if its module may have it: `sluice`, or `files` as in older deployments.
/// `sluice.js:byUser` and `sluice:byUser` are the same function.
pub(super) fn function_name(path: &str) -> Option<&str> {
    let (module, function) = path.split_once(':')?;
    let module = module.strip_suffix(".js").unwrap_or(module);
    matches!(module, "sluice" | "files").then_some(function)
}

pub(super) fn missing(path: &str) -> String {
    format!(
        "Could not find public function for '{path}'. This server has sluice:byUser, sluice:getMany and sluice:remove."
    )
}

pub(super) fn invalid(name: &str, expected: &str) -> String {
    format!("ArgumentValidationError: `{name}` must be {expected}.")
}

pub(super) fn is_string(value: &Value, text: &str) -> bool {
    matches!(value, Value::String(value) if value == text)
}

/// Refuses arguments that the function does not have.
pub(super) fn only(args: &Object, names: &[&str]) -> Result<(), String> {
    match args.keys().find(|name| !names.contains(&name.as_str())) {
        Some(name) => Err(format!(
            "ArgumentValidationError: Object contains extra field `{name}` that is not in the validator."
        )),
        None => Ok(()),
    }
}

pub(super) fn string(args: &Object, name: &str) -> Result<String, String> {
    match args.get(name) {
        Some(Value::String(text)) => Ok(text.clone()),
        _ => Err(invalid(name, "a string")),
    }
}

pub(super) fn strings(args: &Object, name: &str) -> Result<Vec<String>, String> {
    let expected = || invalid(name, "an array of strings");
    let Some(Value::Array(items)) = args.get(name) else {
        return Err(expected());
    };
    let strings = items.iter().map(|item| match item {
        Value::String(text) => Ok(text.clone()),
        _ => Err(expected()),
    });
    strings.collect()
}

pub(super) fn count(options: &Object, name: &str) -> Result<Option<usize>, String> {
    match options.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Float64(number)) if *number >= 1.0 => Ok(Some(*number as usize)),
        Some(Value::Int64(number)) if *number >= 1 => {
            Ok(Some(usize::try_from(*number).unwrap_or(usize::MAX)))
        }
        Some(_) => Err(invalid(
            &format!("paginationOpts.{name}"),
            "a number of at least 1",
        )),
    }
}

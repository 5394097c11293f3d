//! Writes that Valkey makes where the document is: a few values are put in place of others, and the
//! document is neither read nor parsed for that.
//!
//! Only what is certain to come out as it would the other way: places are named by plain names,
//! none lies within another, and no value holds a float that the JSON module reads or writes in
//! another way than it is written here.

use serde::Serialize as _;
use serde_json::{Serializer, Value};

use super::budget::fits_depth;
use super::change::{Change, Expiry, Write};
use super::condition::Tags;
use super::number::ExactFloats;
use super::pointer::{Pointer, index};
use super::{DocumentsConfig, Mutation, Version};

/// Most steps of a write that is made so: each costs two commands.
const MOST: usize = 16;

/// A write as a few steps.
pub(super) struct Steps {
    /// What the document must be at.
    pub expected: Option<Version>,
    pub steps: Vec<Step>,
}

/// One value that is put in place of another.
pub(super) struct Step {
    /// What to do, as `lua/documents/mutate.lua` lists it.
    pub op: &'static str,
    /// Where, as JSONPath into the envelope.
    pub path: String,
    /// The JSON that the op takes, or nothing.
    pub value: String,
}

impl Steps {
    /// The steps of a write; none when it has to be computed from the document.
    pub fn of(write: &Write, config: &DocumentsConfig) -> Option<Steps> {
        let Change::Mutate(mutations, Expiry::Keep) = &write.change else {
            return None;
        };
        if mutations.len() > MOST.min(config.max_mutations) {
            return None;
        }
        let expected = expected(write)?;
        let mut places: Vec<Pointer> = Vec::with_capacity(mutations.len());
        let mut steps = Vec::with_capacity(mutations.len());
        for mutation in mutations {
            let (place, step) = step(mutation, config)?;
            let meets = |other: &Pointer| {
                *other == place || other.contains(&place) || place.contains(other)
            };
            if places.iter().any(meets) {
                return None;
            }
            places.push(place);
            steps.push(step);
        }
        Some(Steps { expected, steps })
    }
}

/// The one version that a write may be made to, if there is such a condition; none when there are
/// others.
fn expected(write: &Write) -> Option<Option<Version>> {
    if write.conditions.if_none_match.is_some() {
        return None;
    }
    let matching = match &write.conditions.if_match {
        None | Some(Tags::Any) => None,
        Some(Tags::Of(versions)) => match versions.as_slice() {
            [version] => Some(*version),
            _ => return None,
        },
    };
    match (matching, write.expected_revision) {
        (Some(_), Some(_)) => None,
        (one, other) => Some(one.or(other)),
    }
}

fn step(mutation: &Mutation, config: &DocumentsConfig) -> Option<(Pointer, Step)> {
    let (op, path, value) = match mutation {
        Mutation::Set { path, value } => ("set", path, exact(value)?),
        Mutation::Increment { path, value } if !value.is_f64() => {
            ("increment", path, value.to_string())
        }
        Mutation::Toggle { path } => ("toggle", path, String::new()),
        _ => return None,
    };
    let place = Pointer::parse(path).ok()?;
    if let Mutation::Set { value, .. } = mutation {
        let left = config.max_depth.checked_sub(place.len())?;
        fits_depth(value, left).then_some(())?;
    }
    let path = json_path(&place)?;
    Some((place, Step { op, path, value }))
}

/// A value as JSON, if the module keeps it just so.
fn exact(value: &Value) -> Option<String> {
    let (mut json, mut floats) = (Vec::new(), ExactFloats::default());
    value
        .serialize(&mut Serializer::with_formatter(&mut json, &mut floats))
        .ok()?;
    let is_exact = floats.stray == 0 && floats.unusual == 0;
    is_exact.then(|| String::from_utf8(json).ok())?
}

/// A place in the data as JSONPath, if all names on the way there are plain. What looks like an
/// index is taken for one; where it is a name, the path leads nowhere.
fn json_path(place: &Pointer) -> Option<String> {
    // Valkey does not put another value in place of the whole.
    place.split()?;
    let mut path = String::from("$.data");
    for token in place.tokens() {
        if index(token).is_some() {
            path.push('[');
            path.push_str(token);
            path.push(']');
        } else {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:/ ".contains(&byte);
            if token.is_empty() || !token.bytes().all(is_plain) {
                return None;
            }
            path.push_str("[\"");
            path.push_str(token);
            path.push_str("\"]");
        }
    }
    Some(path)
}

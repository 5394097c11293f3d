//! Index entries as byte strings whose order is the order of the values in them.
//!
//! A key is the index's number, the indexed values, then the document's creation time and internal
//! id. Each value ends itself, so the keys of all documents with the same leading values share a
//! prefix that no other key has.

use sha2::{Digest, Sha256};

use super::catalog::{FieldPath, Index};
use super::value::{Object, Value};

/// Longer values are cut, and told apart by a digest: such keys are still equal for equal values.
const MAX_VALUE_BYTES: usize = 1024;
/// Creation time and id at a key's end.
pub(super) const SUFFIX_BYTES: usize = 8 + 16;

/// The key of a document in an index.
pub(super) fn key(
    index: &Index,
    fields: &Object,
    creation_time: f64,
    internal_id: u128,
) -> Vec<u8> {
    let values = index.fields.iter().map(|path| field(fields, path));
    let mut key = prefix(index.id, values);
    key.extend_from_slice(&ordered_bits(creation_time).to_be_bytes());
    key.extend_from_slice(&internal_id.to_be_bytes());
    key
}

/// What the keys of all documents with these leading values start with. `None` stands for a field
/// that is missing.
pub(super) fn prefix<'a>(
    index: u32,
    values: impl IntoIterator<Item = Option<&'a Value>>,
) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    key.extend_from_slice(&index.to_be_bytes());
    for value in values {
        let start = key.len();
        match value {
            None => key.push(0x01),
            Some(value) => encode(value, &mut key),
        }
        if key.len() - start > MAX_VALUE_BYTES {
            let digest = Sha256::digest(&key[start..]);
            key.truncate(start + MAX_VALUE_BYTES);
            key.extend_from_slice(&digest);
        }
    }
    key
}

/// The first key after all those that start with `prefix`, which begins with a number below the
/// largest.
pub(super) fn end_of(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            break;
        }
    }
    end
}

/// The field that `path` leads to.
pub(super) fn field<'a>(fields: &'a Object, path: &FieldPath) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter()
        .try_fold(fields.get(first)?, |value, name| match value {
            Value::Object(fields) => fields.get(name),
            _ => None,
        })
}

fn encode(value: &Value, key: &mut Vec<u8>) {
    match value {
        Value::Null => key.push(0x02),
        Value::Int64(number) => {
            key.push(0x03);
            key.extend_from_slice(&(*number as u64 ^ 1 << 63).to_be_bytes());
        }
        Value::Float64(number) => {
            key.push(0x04);
            key.extend_from_slice(&ordered_bits(*number).to_be_bytes());
        }
        Value::Bool(value) => key.extend_from_slice(&[0x05, u8::from(*value)]),
        Value::String(text) => {
            key.push(0x06);
            encode_bytes(text.as_bytes(), key);
        }
        Value::Bytes(bytes) => {
            key.push(0x07);
            encode_bytes(bytes, key);
        }
        Value::Array(items) => {
            key.push(0x08);
            for item in items {
                encode(item, key);
            }
            key.push(0x00);
        }
        Value::Object(fields) => {
            key.push(0x09);
            for (name, value) in fields {
                key.push(0x06);
                encode_bytes(name.as_bytes(), key);
                encode(value, key);
            }
            key.push(0x00);
        }
    }
}

/// Bytes ended by 00 00, with each 00 among them written as 00 ff.
fn encode_bytes(bytes: &[u8], key: &mut Vec<u8>) {
    for byte in bytes {
        key.push(*byte);
        if *byte == 0 {
            key.push(0xff);
        }
    }
    key.extend_from_slice(&[0, 0]);
}

/// A float's bits, changed so that unsigned numbers order as the floats do.
fn ordered_bits(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::value::generated::values;
    use super::*;
    use proptest::prelude::*;
    use std::cmp::Ordering;

    /// The order of values in a Convex index, said once more in another way.
    fn order(a: &Value, b: &Value) -> Ordering {
        let rank = |value: &Value| match value {
            Value::Null => 0,
            Value::Int64(_) => 1,
            Value::Float64(_) => 2,
            Value::Bool(_) => 3,
            Value::String(_) => 4,
            Value::Bytes(_) => 5,
            Value::Array(_) => 6,
            Value::Object(_) => 7,
        };
        match (a, b) {
            (Value::Int64(a), Value::Int64(b)) => a.cmp(b),
            (Value::Float64(a), Value::Float64(b)) => a.total_cmp(b),
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => a.as_bytes().cmp(b.as_bytes()),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Array(a), Value::Array(b)) => {
                let items = a.iter().zip(b).map(|(a, b)| order(a, b));
                items
                    .fold(Ordering::Equal, Ordering::then)
                    .then(a.len().cmp(&b.len()))
            }
            (Value::Object(a), Value::Object(b)) => {
                let fields = a.iter().zip(b);
                let fields = fields.map(|((a, x), (b, y))| a.cmp(b).then_with(|| order(x, y)));
                fields
                    .fold(Ordering::Equal, Ordering::then)
                    .then(a.len().cmp(&b.len()))
            }
            _ => rank(a).cmp(&rank(b)),
        }
    }

    proptest! {
        #[test]
        fn any_two_keys_order_as_their_values(a in values(), b in values()) {
            let (left, right) = (prefix(1, [Some(&a)]), prefix(1, [Some(&b)]));
            // Longer ones are cut, and only told apart.
            prop_assume!(left.len() < MAX_VALUE_BYTES && right.len() < MAX_VALUE_BYTES);
            prop_assert_eq!(left.cmp(&right), order(&a, &b));
        }
    }

    #[test]
    fn keys_order_as_their_values() {
        let float = Value::Float64;
        let string = |text: &str| Value::String(text.to_owned());
        let ordered = [
            Value::Null,
            Value::Int64(-5),
            Value::Int64(3),
            float(f64::NEG_INFINITY),
            float(-2.5),
            float(-0.0),
            float(0.0),
            float(1e300),
            Value::Bool(false),
            Value::Bool(true),
            string(""),
            string("a"),
            string("a\0"),
            string("a\0b"),
            string("ab"),
            Value::Bytes(vec![0]),
            Value::Array(vec![]),
            Value::Array(vec![Value::Null]),
            Value::Object(Object::new()),
        ];
        let keys: Vec<_> = ordered
            .iter()
            .map(|value| prefix(1, [Some(value)]))
            .collect();
        assert!(prefix(1, [None]) < keys[0]);
        assert!(keys.is_sorted_by(|a, b| a < b));
    }

    #[test]
    fn long_values_keep_their_keys_short_and_apart() {
        let long = |tail: &str| Value::String("x".repeat(500_000) + tail);
        let (a, b) = (long("a"), long("b"));
        assert_eq!(prefix(1, [Some(&a)]), prefix(1, [Some(&a)]));
        assert_ne!(prefix(1, [Some(&a)]), prefix(1, [Some(&b)]));
        assert!(prefix(1, [Some(&a)]).len() < 1100);
    }

    #[test]
    fn a_nested_field_is_found_by_its_path() {
        let inner = Object::from([("b".to_owned(), Value::Bool(true))]);
        let fields = Object::from([("a".to_owned(), Value::Object(inner))]);
        assert_eq!(
            field(&fields, &vec!["a".into(), "b".into()]),
            Some(&Value::Bool(true))
        );
        assert_eq!(field(&fields, &vec!["a".into(), "c".into()]), None);
    }
}

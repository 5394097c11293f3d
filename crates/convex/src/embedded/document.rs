//! Documents as they are stored: as text that can be served without being read.
//!
//! The text is one JSON object that starts with `_creationTime` and `_id`. A document whose values
//! all formats write alike is *plain*: its text is the answer in any of them. Any other is kept in
//! the tagged encoding, and is decoded to be served.

use super::error::RequestError;
use super::value::{Format, Object, Value, write_field};

const MAX_SIZE: usize = 1 << 20;
const MAX_DOCUMENT_NESTING: usize = 16;
const MAX_VALUE_NESTING: usize = 64;
const MAX_FIELDS: usize = 1024;
const MAX_ITEMS: usize = 8192;
/// What `_id` and `_creationTime` add to a document's size.
const SYSTEM_FIELDS_SIZE: usize = (3 + 1 + 2 + 32) + (13 + 1 + 9);

/// A document's own fields, checked against the limits and already in the form they are stored in.
pub(super) struct Draft {
    pub fields: Object,
    /// `,"name":value` for each field.
    text: Vec<u8>,
    tagged: bool,
}

/// A document's own fields, within the limits.
pub(super) struct CheckedFields(Object);

impl CheckedFields {
    /// Errors: the 400s of the document limits (section 5 of the wire contract).
    pub fn new(fields: Object) -> Result<CheckedFields, RequestError> {
        check(&fields)?;
        Ok(CheckedFields(fields))
    }
}

impl From<CheckedFields> for Draft {
    fn from(CheckedFields(fields): CheckedFields) -> Draft {
        let tagged = !fields.values().all(Value::is_plain);
        let format = if tagged {
            Format::Encoded
        } else {
            Format::Clean
        };
        let mut text = Vec::with_capacity(256);
        for (name, value) in &fields {
            text.push(b',');
            write_field(name, value, format, &mut text);
        }
        Draft {
            fields,
            text,
            tagged,
        }
    }
}

impl Draft {
    /// Errors: the 400s of the document limits (section 5 of the wire contract).
    pub fn new(fields: Object) -> Result<Draft, RequestError> {
        CheckedFields::new(fields).map(Draft::from)
    }

    /// How much the draft counts towards the size of a transaction, in bytes.
    pub fn size(&self) -> usize {
        self.text.len()
    }

    /// The stored text, once the document has its id and creation time (ms since the epoch).
    pub fn finish(&self, id: &str, creation_time: f64) -> Stored {
        let mut text = Vec::with_capacity(self.text.len() + 96);
        text.push(b'{');
        write_field(
            "_creationTime",
            &Value::Float64(creation_time),
            Format::Clean,
            &mut text,
        );
        text.extend_from_slice(b",\"_id\":\"");
        text.extend_from_slice(id.as_bytes());
        text.push(b'"');
        text.extend_from_slice(&self.text);
        text.push(b'}');
        Stored {
            text,
            tagged: self.tagged,
        }
    }
}

/// A stored document that owns its text.
pub(super) struct Stored {
    pub text: Vec<u8>,
    pub tagged: bool,
}

impl Stored {
    /// All fields, the system's included.
    pub fn fields(&self) -> Result<Object, RequestError> {
        fields(&self.text, self.tagged)
    }
}

/// Reads a stored text into its fields, the system's included.
pub(super) fn fields(text: &[u8], tagged: bool) -> Result<Object, RequestError> {
    let mut value: Value = serde_json::from_slice(text)?;
    if tagged {
        value = value.untag().unwrap_or(Value::Null);
    }
    match value {
        Value::Object(fields) => Ok(fields),
        _ => Err(RequestError::internal(
            "A stored document is not an object.",
        )),
    }
}

/// Appends a stored document in `format`: a copy when it is plain.
pub(super) fn write(
    text: &[u8],
    tagged: bool,
    format: Format,
    out: &mut Vec<u8>,
) -> Result<(), RequestError> {
    if !tagged || format == Format::Encoded {
        out.extend_from_slice(text);
    } else {
        Value::Object(fields(text, tagged)?).write(format, out);
    }
    Ok(())
}

fn check(fields: &Object) -> Result<(), RequestError> {
    if let Some(name) = fields.keys().find(|name| name.starts_with('_')) {
        return Err(RequestError::bad_request(
            "InvalidDocumentError",
            format!("The field {name:?} starts with an underscore: such names are the system's."),
        ));
    }
    let mut deepest = 1;
    let size = check_object(fields, 1, &mut deepest)? + SYSTEM_FIELDS_SIZE;
    if size > MAX_SIZE {
        return Err(RequestError::bad_request(
            "ValueTooLargeError",
            format!("The document is {size} bytes large; at most {MAX_SIZE} are allowed."),
        ));
    }
    if deepest > MAX_DOCUMENT_NESTING {
        return Err(RequestError::bad_request(
            "InvalidDocumentError",
            format!(
                "The document is nested {deepest} deep; at most {MAX_DOCUMENT_NESTING} levels are allowed."
            ),
        ));
    }
    Ok(())
}

/// Checks the limits of values that are no document. Errors: 400 `TooManyFieldsError`,
/// `ArrayTooLong`, `TooNestedError`.
pub(super) fn check_values(fields: &Object) -> Result<(), RequestError> {
    check_object(fields, 1, &mut 1).map(|_| ())
}

/// The size of an object by Convex's rule; `depth` is its own level, counted from 1.
fn check_object(fields: &Object, depth: usize, deepest: &mut usize) -> Result<usize, RequestError> {
    if fields.len() > MAX_FIELDS {
        return Err(RequestError::bad_request(
            "TooManyFieldsError",
            format!(
                "An object has {} fields; at most {MAX_FIELDS} are allowed.",
                fields.len()
            ),
        ));
    }
    enter(depth, deepest)?;
    let mut size = 2;
    for (name, value) in fields {
        size += name.len() + 1 + check_value(value, depth, deepest)?;
    }
    Ok(size)
}

fn check_value(value: &Value, depth: usize, deepest: &mut usize) -> Result<usize, RequestError> {
    Ok(match value {
        Value::Null | Value::Bool(_) => 1,
        Value::Int64(_) | Value::Float64(_) => 9,
        Value::String(text) => 2 + text.len(),
        Value::Bytes(bytes) => 2 + bytes.len(),
        Value::Array(items) => {
            if items.len() > MAX_ITEMS {
                return Err(RequestError::bad_request(
                    "ArrayTooLong",
                    format!(
                        "An array has {} items; at most {MAX_ITEMS} are allowed.",
                        items.len()
                    ),
                ));
            }
            enter(depth + 1, deepest)?;
            let mut size = 2;
            for item in items {
                size += check_value(item, depth + 1, deepest)?;
            }
            size
        }
        Value::Object(fields) => check_object(fields, depth + 1, deepest)?,
    })
}

fn enter(depth: usize, deepest: &mut usize) -> Result<(), RequestError> {
    *deepest = depth.max(*deepest);
    if depth > MAX_VALUE_NESTING {
        return Err(RequestError::bad_request(
            "TooNestedError",
            format!("A value is nested more than {MAX_VALUE_NESTING} deep."),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::value::generated::{documents, same};
    use super::*;
    use proptest::prelude::*;

    fn refusal(json: serde_json::Value) -> &'static str {
        let Value::Object(fields) = serde_json::from_value(json).unwrap() else {
            panic!("not an object")
        };
        Draft::new(fields)
            .map(|_| "accepted")
            .unwrap_or_else(|error| error.code)
    }

    fn nested(levels: usize) -> serde_json::Value {
        (0..levels).fold(
            serde_json::json!(1),
            |inner, _| serde_json::json!({ "a": inner }),
        )
    }

    #[test]
    fn the_limits_of_a_document_are_those_of_convex() {
        let fill = MAX_SIZE - SYSTEM_FIELDS_SIZE - 2 - ("s".len() + 1) - 2;
        assert_eq!(
            refusal(serde_json::json!({ "s": "x".repeat(fill) })),
            "accepted"
        );
        assert_eq!(
            refusal(serde_json::json!({ "s": "x".repeat(fill + 1) })),
            "ValueTooLargeError"
        );
        assert_eq!(
            refusal(serde_json::json!({ "_id": 1 })),
            "InvalidDocumentError"
        );
        assert_eq!(
            refusal(serde_json::json!({ "a": { "_id": 1 } })),
            "accepted"
        );
        assert_eq!(refusal(nested(16)), "accepted");
        assert_eq!(refusal(nested(17)), "InvalidDocumentError");
        assert_eq!(refusal(nested(65)), "TooNestedError");
        assert_eq!(
            refusal(serde_json::json!({ "a": vec![0; 8192] })),
            "accepted"
        );
        assert_eq!(
            refusal(serde_json::json!({ "a": vec![0; 8193] })),
            "ArrayTooLong"
        );
        let wide: serde_json::Map<String, serde_json::Value> =
            (0..1025).map(|n| (format!("f{n}"), n.into())).collect();
        assert_eq!(refusal(wide.into()), "TooManyFieldsError");
    }

    #[test]
    fn a_plain_document_is_stored_as_it_is_served() {
        let fields = Object::from([("size".to_owned(), Value::Float64(3.0))]);
        let stored = Draft::new(fields).unwrap().finish("the_id", 1.5);
        for format in [Format::Clean, Format::Encoded, Format::Export] {
            let mut out = Vec::new();
            write(&stored.text, stored.tagged, format, &mut out).unwrap();
            assert_eq!(out, br#"{"_creationTime":1.5,"_id":"the_id","size":3.0}"#);
        }
    }

    #[test]
    fn a_document_with_tagged_values_is_decoded_to_be_served() {
        let fields = Object::from([("n".to_owned(), Value::Int64(7))]);
        let stored = Draft::new(fields).unwrap().finish("the_id", 1.5);
        let mut out = Vec::new();
        write(&stored.text, stored.tagged, Format::Clean, &mut out).unwrap();
        assert_eq!(out, br#"{"_creationTime":1.5,"_id":"the_id","n":"7"}"#);
        assert_eq!(stored.fields().unwrap()["n"], Value::Int64(7));
    }

    proptest! {
        #[test]
        fn a_stored_document_reads_back(fields in documents()) {
            let stored = Draft::new(fields.clone()).unwrap().finish("the_id", 1.5);
            let mut read = stored.fields().unwrap();
            prop_assert_eq!(read.remove("_id"), Some(Value::String("the_id".to_owned())));
            prop_assert_eq!(read.remove("_creationTime"), Some(Value::Float64(1.5)));
            prop_assert!(same(&Value::Object(read), &Value::Object(fields)));
        }

        #[test]
        fn a_stored_document_is_served_as_its_fields_are_written(fields in documents()) {
            let stored = Draft::new(fields).unwrap().finish("the_id", 1.5);
            for format in [Format::Clean, Format::Encoded, Format::Export] {
                let (mut served, mut expected) = (Vec::new(), Vec::new());
                write(&stored.text, stored.tagged, format, &mut served).unwrap();
                Value::Object(stored.fields().unwrap()).write(format, &mut expected);
                let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
                prop_assert_eq!(json(&served), json(&expected));
            }
        }
    }
}

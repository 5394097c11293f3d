//! Convex values and their three JSON encodings (section 5 of the wire contract).

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use super::error::RequestError;

/// An object's fields, in the order of their names.
pub(super) type Object = BTreeMap<String, Value>;

/// A Convex value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Int64(i64),
    Float64(f64),
    String(String),
    Bytes(Vec<u8>),
    Array(Vec<Value>),
    Object(Object),
}

/// How values are written as JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// `json`: clean and lossy, what most clients ask for.
    Clean,
    /// `convex_encoded_json`: `$integer`, `$float` and `$bytes` tags, invertible.
    Encoded,
    /// `export_json`: numbers keep their type by how they are written.
    Export,
}

impl Format {
    /// Reads the `format` parameter; absent means clean JSON. Error: 400 `BadFormat`.
    pub fn parse(name: Option<&str>) -> Result<Format, RequestError> {
        match name {
            None | Some("json" | "convex_clean_json") => Ok(Format::Clean),
            Some("convex_encoded_json" | "convex_json") => Ok(Format::Encoded),
            Some("export_json") => Ok(Format::Export),
            Some(other) => Err(RequestError::bad_request(
                "BadFormat",
                format!(
                    "There is no format {other:?}; use json, convex_encoded_json or export_json."
                ),
            )),
        }
    }
}

impl Value {
    /// Appends this value as JSON.
    pub fn write(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            Value::Null => out.extend_from_slice(b"null"),
            Value::Bool(true) => out.extend_from_slice(b"true"),
            Value::Bool(false) => out.extend_from_slice(b"false"),
            Value::Int64(number) => match format {
                Format::Clean => out.extend_from_slice(format!("\"{number}\"").as_bytes()),
                Format::Encoded => write_tag("$integer", &number.to_le_bytes(), out),
                Format::Export => out.extend_from_slice(number.to_string().as_bytes()),
            },
            Value::Float64(number) => write_float(*number, format, out),
            Value::String(text) => write_string(text, out),
            Value::Bytes(bytes) => match format {
                Format::Clean => write_string(&STANDARD.encode(bytes), out),
                Format::Encoded | Format::Export => write_tag("$bytes", bytes, out),
            },
            Value::Array(items) => {
                out.push(b'[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    item.write(format, out);
                }
                out.push(b']');
            }
            Value::Object(fields) => {
                out.push(b'{');
                for (n, (name, value)) in fields.iter().enumerate() {
                    if n > 0 {
                        out.push(b',');
                    }
                    write_field(name, value, format, out);
                }
                out.push(b'}');
            }
        }
    }

    /// Whether all three encodings write this value alike.
    pub fn is_plain(&self) -> bool {
        match self {
            Value::Null | Value::Bool(_) | Value::String(_) => true,
            Value::Int64(_) | Value::Bytes(_) => false,
            Value::Float64(number) => !is_special(*number),
            Value::Array(items) => items.iter().all(Value::is_plain),
            Value::Object(fields) => fields.values().all(Value::is_plain),
        }
    }

    /// Turns the tags of `convex_encoded_json` into the values they stand for: an object is a tag
    /// only when it has exactly one key. `None` when a tag holds what it may not.
    pub fn untag(self) -> Option<Value> {
        match self {
            Value::Array(items) => {
                let items: Option<Vec<Value>> = items.into_iter().map(Value::untag).collect();
                Some(Value::Array(items?))
            }
            Value::Object(mut fields) if fields.len() == 1 => {
                let (tag, inner) = fields.pop_first()?;
                match (tag.as_str(), inner) {
                    ("$integer", Value::String(text)) => {
                        let bytes = STANDARD.decode(text).ok()?.try_into().ok()?;
                        Some(Value::Int64(i64::from_le_bytes(bytes)))
                    }
                    ("$float", Value::String(text)) => {
                        let bytes = STANDARD.decode(text).ok()?.try_into().ok()?;
                        let number = f64::from_le_bytes(bytes);
                        is_special(number).then_some(Value::Float64(number))
                    }
                    ("$bytes", Value::String(text)) => {
                        Some(Value::Bytes(STANDARD.decode(text).ok()?))
                    }
                    ("$integer" | "$float" | "$bytes", _) => None,
                    (_, inner) => {
                        fields.insert(tag, inner.untag()?);
                        Some(Value::Object(fields))
                    }
                }
            }
            Value::Object(fields) => {
                let fields: Option<Object> = fields
                    .into_iter()
                    .map(|(name, value)| Some((name, value.untag()?)))
                    .collect();
                Some(Value::Object(fields?))
            }
            other => Some(other),
        }
    }
}

/// Appends `"name":value`.
pub(super) fn write_field(name: &str, value: &Value, format: Format, out: &mut Vec<u8>) {
    write_string(name, out);
    out.push(b':');
    value.write(format, out);
}

/// Appends a JSON string.
pub(super) fn write_string(text: &str, out: &mut Vec<u8>) {
    // Most text has nothing to escape. Looked at in blocks and without a way out of them, the
    // search is a few vector instructions per block.
    let is_plain = |block: &[u8]| {
        !block.iter().fold(false, |found, byte| {
            found | (*byte < 0x20) | (*byte == b'"') | (*byte == b'\\')
        })
    };
    if text.as_bytes().chunks(64).all(is_plain) {
        out.reserve(text.len() + 2);
        out.push(b'"');
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
    } else {
        // Writing to a Vec does not fail, and neither does printing a string.
        let _ = serde_json::to_writer(out, text);
    }
}

/// Floats which `convex_encoded_json` cannot write as a JSON number.
pub(super) fn is_special(number: f64) -> bool {
    !number.is_finite() || (number == 0.0 && number.is_sign_negative())
}

fn write_float(number: f64, format: Format, out: &mut Vec<u8>) {
    if !is_special(number) || (number == 0.0 && format != Format::Encoded) {
        let _ = serde_json::to_writer(out, &number);
    } else if format != Format::Clean {
        write_tag("$float", &number.to_le_bytes(), out);
    } else if number.is_nan() {
        out.extend_from_slice(b"\"NaN\"");
    } else if number > 0.0 {
        out.extend_from_slice(b"\"Infinity\"");
    } else {
        out.extend_from_slice(b"\"-Infinity\"");
    }
}

fn write_tag(tag: &str, bytes: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{{\"{tag}\":\"{}\"}}", STANDARD.encode(bytes)).as_bytes());
}

impl<'de> Deserialize<'de> for Value {
    /// Reads JSON as it stands: every number is a Float64, and tags are objects still.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Float64(value as f64))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Float64(value as f64))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float64(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut fields = Object::new();
        while let Some((name, value)) = map.next_entry()? {
            fields.insert(name, value);
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
pub(super) mod generated;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::generated::{same, values};
    use super::*;
    use proptest::prelude::*;

    /// Reads numbers as `export_json` means them: those without a point or an exponent are
    /// integers.
    fn numbers_by_form(json: serde_json::Value) -> Value {
        match json {
            serde_json::Value::Null => Value::Null,
            serde_json::Value::Bool(value) => Value::Bool(value),
            serde_json::Value::Number(number) => match number.as_i64() {
                Some(integer) => Value::Int64(integer),
                None => Value::Float64(number.as_f64().unwrap()),
            },
            serde_json::Value::String(text) => Value::String(text),
            serde_json::Value::Array(items) => {
                Value::Array(items.into_iter().map(numbers_by_form).collect())
            }
            serde_json::Value::Object(fields) => {
                let fields = fields.into_iter();
                Value::Object(
                    fields
                        .map(|(name, value)| (name, numbers_by_form(value)))
                        .collect(),
                )
            }
        }
    }

    fn written(value: &Value, format: Format) -> String {
        let mut out = Vec::new();
        value.write(format, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_type_is_written_as_its_format_says() {
        let cases = [
            (
                Value::Int64(33),
                r#""33""#,
                r#"{"$integer":"IQAAAAAAAAA="}"#,
                "33",
            ),
            (Value::Float64(33.0), "33.0", "33.0", "33.0"),
            (
                Value::Float64(-0.0),
                "-0.0",
                r#"{"$float":"AAAAAAAAAIA="}"#,
                "-0.0",
            ),
            (
                Value::Float64(f64::INFINITY),
                r#""Infinity""#,
                r#"{"$float":"AAAAAAAA8H8="}"#,
                r#"{"$float":"AAAAAAAA8H8="}"#,
            ),
            (
                Value::Float64(f64::NEG_INFINITY),
                r#""-Infinity""#,
                r#"{"$float":"AAAAAAAA8P8="}"#,
                r#"{"$float":"AAAAAAAA8P8="}"#,
            ),
            (
                Value::Bytes(vec![1, 2, 255]),
                r#""AQL/""#,
                r#"{"$bytes":"AQL/"}"#,
                r#"{"$bytes":"AQL/"}"#,
            ),
            (
                Value::String("a\"\n".into()),
                r#""a\"\n""#,
                r#""a\"\n""#,
                r#""a\"\n""#,
            ),
        ];
        for (value, clean, encoded, export) in cases {
            assert_eq!(written(&value, Format::Clean), clean);
            assert_eq!(written(&value, Format::Encoded), encoded);
            assert_eq!(written(&value, Format::Export), export);
        }
        assert_eq!(
            written(&Value::Float64(f64::NAN), Format::Clean),
            r#""NaN""#
        );
    }

    #[test]
    fn a_float_tag_around_an_ordinary_number_is_refused() {
        let tagged: Value = serde_json::from_str(r#"{"$float":"AAAAAAAA8D8="}"#).unwrap();
        assert_eq!(tagged.untag(), None);
    }

    proptest! {
        #[test]
        fn the_tagged_encoding_reads_back(value in values()) {
            let text = written(&value, Format::Encoded);
            let read: Value = serde_json::from_str(&text).unwrap();
            prop_assert!(same(&read.untag().unwrap(), &value), "{text}");
        }

        #[test]
        fn the_export_encoding_reads_back(value in values()) {
            let text = written(&value, Format::Export);
            let read = numbers_by_form(serde_json::from_str(&text).unwrap()).untag().unwrap();
            prop_assert!(same(&read, &value), "{text}");
        }

        #[test]
        fn plain_values_are_written_alike_in_all_formats(value in values()) {
            let clean = written(&value, Format::Clean);
            let alike = clean == written(&value, Format::Encoded) && clean == written(&value, Format::Export);
            prop_assert_eq!(alike, value.is_plain());
        }

        #[test]
        fn strings_are_written_as_json_has_them(text in prop_oneof![".*", "[ -~]{0,300}", "[a-z\n\"]{60,200}"]) {
            let mut out = Vec::new();
            write_string(&text, &mut out);
            prop_assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&text).unwrap());
        }

        #[test]
        fn every_encoding_is_json(value in values()) {
            for format in [Format::Clean, Format::Encoded, Format::Export] {
                let text = written(&value, format);
                prop_assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
            }
        }
    }
}

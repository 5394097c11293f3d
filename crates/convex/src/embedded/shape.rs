//! What a table's documents look like, counted as they are written.
//!
//! A shape counts how often each kind of value was seen. Documents that go are counted off again,
//! so the shape always describes the documents that are there.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::id::DocumentId;
use super::names::is_identifier;
use super::value::{Object, Value, is_special};

/// A nested object with more distinct fields than this, or with one whose name is no identifier, is
/// taken for a record (a map with arbitrary keys), as in Convex: its fields are not counted.
const MAX_OBJECT_FIELDS: usize = 64;
/// So are documents, but only for more fields than one of them can have.
const MAX_DOCUMENT_FIELDS: usize = 1024;

/// The values seen at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Shape {
    pub null: i64,
    pub bool: i64,
    pub int64: i64,
    pub float64: i64,
    /// Floats that JSON has no number for, and -0.0. Not counted in `float64`.
    pub special: i64,
    pub string: i64,
    pub bytes: i64,
    /// Strings that are document ids, by table number. Not counted in `string`.
    pub ids: BTreeMap<u32, i64>,
    pub array: Option<Box<ArrayShape>>,
    pub object: Option<Box<ObjectShape>>,
}

/// The arrays seen at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ArrayShape {
    pub count: i64,
    pub items: Shape,
}

/// The objects seen at one place.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct ObjectShape {
    pub count: i64,
    pub fields: BTreeMap<String, Shape>,
    /// There were too many distinct fields; `fields` is empty from then on.
    pub record: bool,
}

impl Shape {
    /// How many values are counted here.
    pub fn count(&self) -> i64 {
        self.null
            + self.bool
            + self.int64
            + self.float64
            + self.special
            + self.string
            + self.bytes
            + self.ids.values().sum::<i64>()
            + self.array.as_ref().map_or(0, |array| array.count)
            + self.object.as_ref().map_or(0, |object| object.count)
    }

    /// Counts a value in (`by` 1) or off (`by` -1).
    fn count_value(&mut self, value: &Value, by: i64) {
        match value {
            Value::Null => self.null += by,
            Value::Bool(_) => self.bool += by,
            Value::Int64(_) => self.int64 += by,
            Value::Float64(number) if is_special(*number) => self.special += by,
            Value::Float64(_) => self.float64 += by,
            Value::String(text) => match DocumentId::parse(text) {
                Some(id) => {
                    let seen = self.ids.entry(id.table).or_default();
                    *seen += by;
                    if *seen <= 0 {
                        self.ids.remove(&id.table);
                    }
                }
                None => self.string += by,
            },
            Value::Bytes(_) => self.bytes += by,
            Value::Array(items) => {
                let array = self.array.get_or_insert_default();
                array.count += by;
                for item in items {
                    array.items.count_value(item, by);
                }
                if array.count <= 0 {
                    self.array = None;
                }
            }
            Value::Object(fields) => {
                let object = self.object.get_or_insert_default();
                object.count_object(fields, by);
                if object.count <= 0 {
                    self.object = None;
                }
            }
        }
    }
}

impl ObjectShape {
    /// Counts a document's own fields in (`by` 1) or off (`by` -1).
    pub fn count_document(&mut self, fields: &Object, by: i64) {
        self.count_fields(fields, by, MAX_DOCUMENT_FIELDS);
        if self.count <= 0 {
            self.record = false;
        }
    }

    fn count_object(&mut self, fields: &Object, by: i64) {
        if !fields.keys().all(|name| is_identifier(name)) {
            self.become_record();
        }
        self.count_fields(fields, by, MAX_OBJECT_FIELDS);
    }

    fn count_fields(&mut self, fields: &Object, by: i64, limit: usize) {
        self.count += by;
        if self.record {
            return;
        }
        for (name, value) in fields {
            if let Some(shape) = self.fields.get_mut(name) {
                shape.count_value(value, by);
                if shape.count() <= 0 {
                    self.fields.remove(name);
                }
            } else if self.fields.len() < limit {
                let shape = self.fields.entry(name.clone()).or_default();
                shape.count_value(value, by);
            } else {
                self.become_record();
                return;
            }
        }
    }

    fn become_record(&mut self) {
        self.record = true;
        self.fields.clear();
    }
}

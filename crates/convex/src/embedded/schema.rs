//! JSON Schemas of tables, from the shapes of their documents (section 9 of the wire contract).

use serde_json::{Map, Value as Json, json};

use super::catalog::{Catalog, Tablet};
use super::error::RequestError;
use super::shape::{ObjectShape, Shape};
use super::value::Format;

/// The schema of one table. Error: 400 `NoSchemaForExport` when its documents have too many
/// different fields.
pub(super) fn table_schema(
    tablet: &Tablet,
    catalog: &Catalog,
    format: Format,
    delta: bool,
) -> Result<Json, RequestError> {
    if tablet.shape.record {
        return Err(RequestError::bad_request(
            "NoSchemaForExport",
            format!(
                "The documents of the table {:?} have too many different fields for a schema.",
                tablet.name
            ),
        ));
    }
    let writer = SchemaWriter {
        catalog,
        component: &tablet.component,
        format,
    };
    let mut properties = writer.properties(&tablet.shape);
    let mut required: Vec<String> = required(&tablet.shape);
    properties.insert("_creationTime".into(), json!({ "type": "number" }));
    properties.insert("_id".into(), id_schema(&tablet.name));
    required.extend(["_creationTime".into(), "_id".into()]);
    required.sort_unstable();
    if delta {
        properties.insert("_component".into(), json!({ "type": "string" }));
        properties.insert("_deleted".into(), json!({ "type": "boolean" }));
        properties.insert("_table".into(), json!({ "type": "string" }));
        properties.insert("_ts".into(), json!({ "type": "integer" }));
    }
    Ok(json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": required,
    }))
}

/// The sorted top-level names of a table's documents.
pub(super) fn column_names(tablet: &Tablet) -> Vec<&str> {
    let mut names: Vec<&str> = tablet.shape.fields.keys().map(String::as_str).collect();
    names.extend(["_creationTime", "_id"]);
    names.sort_unstable();
    names
}

fn id_schema(table: &str) -> Json {
    json!({ "$description": format!("Id({table})"), "type": "string" })
}

fn required(object: &ObjectShape) -> Vec<String> {
    object
        .fields
        .iter()
        .filter(|(_, shape)| shape.count() == object.count)
        .map(|(name, _)| name.clone())
        .collect()
}

struct SchemaWriter<'a> {
    catalog: &'a Catalog,
    component: &'a str,
    format: Format,
}

impl SchemaWriter<'_> {
    fn properties(&self, object: &ObjectShape) -> Map<String, Json> {
        object
            .fields
            .iter()
            .map(|(name, shape)| (name.clone(), self.schema(shape)))
            .collect()
    }

    fn schema(&self, shape: &Shape) -> Json {
        let mut kinds = Vec::new();
        if shape.null > 0 {
            kinds.push(json!({ "type": "null" }));
        }
        if shape.bool > 0 {
            kinds.push(json!({ "type": "boolean" }));
        }
        if shape.int64 > 0 {
            kinds.push(self.int64());
        }
        if shape.special > 0 {
            kinds.push(self.special_float());
        } else if shape.float64 > 0 {
            kinds.push(json!({ "type": "number" }));
        }
        self.push_strings(shape, &mut kinds);
        if shape.bytes > 0 {
            kinds.push(self.bytes());
        }
        if let Some(array) = &shape.array {
            kinds.push(json!({ "type": "array", "items": self.schema(&array.items) }));
        }
        if let Some(object) = &shape.object {
            kinds.push(self.object(object));
        }
        match kinds.len() {
            0 => Json::Bool(false),
            1 => kinds.remove(0),
            _ => json!({ "anyOf": kinds }),
        }
    }

    /// Ids are strings too: seen beside ordinary strings, or naming no table that is there, they
    /// count as such.
    fn push_strings(&self, shape: &Shape, kinds: &mut Vec<Json>) {
        let tables: Option<Vec<&str>> = shape
            .ids
            .keys()
            .map(|number| self.catalog.table_name(self.component, *number))
            .collect();
        match tables {
            Some(tables) if shape.string == 0 => kinds.extend(tables.into_iter().map(id_schema)),
            _ => kinds.push(json!({ "type": "string" })),
        }
    }

    fn object(&self, object: &ObjectShape) -> Json {
        if object.record {
            return json!({});
        }
        json!({
            "type": "object",
            "properties": self.properties(object),
            "additionalProperties": false,
            "required": required(object),
        })
    }

    fn int64(&self) -> Json {
        match self.format {
            Format::Clean => {
                json!({ "$description": "int64 represented as base10 string", "type": "string" })
            }
            Format::Encoded => tag_schema("$integer"),
            Format::Export => json!({ "$description": "int64", "type": "number" }),
        }
    }

    fn bytes(&self) -> Json {
        match self.format {
            Format::Clean => json!({ "$description": "base64 bytes", "type": "string" }),
            Format::Encoded | Format::Export => tag_schema("$bytes"),
        }
    }

    fn special_float(&self) -> Json {
        match self.format {
            Format::Clean => json!({
                "$description": "float64",
                "anyOf": [
                    { "type": "number" },
                    { "$description": "-inf, inf, or NaN", "type": "string" },
                ],
            }),
            Format::Encoded | Format::Export => {
                json!({ "anyOf": [{ "type": "number" }, tag_schema("$float")] })
            }
        }
    }
}

fn tag_schema(tag: &str) -> Json {
    json!({
        "type": "object",
        "properties": { tag: { "type": "string" } },
        "additionalProperties": false,
        "required": [tag],
    })
}

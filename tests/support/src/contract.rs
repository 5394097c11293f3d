//! Answers held against the OpenAPI document that promises them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use jsonschema::Validator;
use serde_json::{Map, Value, json};

/// What an OpenAPI document (3.1) says of answers. A field that it does not name is a fault, unless
/// it says that there may be others.
pub struct Contract {
    paths: Map<String, Value>,
    components: Value,
    /// By the text of the schema.
    validators: Mutex<HashMap<String, Arc<Validator>>>,
}

impl Contract {
    /// Of that document.
    pub fn new(mut document: Value) -> Self {
        close(&mut document);
        let paths = document["paths"].as_object().cloned().unwrap_or_default();
        Self {
            paths,
            components: document["components"].take(),
            validators: Mutex::default(),
        }
    }

    /// Panics when the document does not promise such an answer. What it says nothing of at all,
    /// such as pages for people, may be as it likes. Without a method, any of the address is good.
    pub fn check(
        &self,
        method: Option<&str>,
        path: &str,
        status: u16,
        content_type: &str,
        body: &[u8],
    ) {
        let operations = self.operations(method, path);
        // Of a method that is not described nothing can be said.
        if operations.is_empty() || (method.is_none() && status == 405) {
            return;
        }
        let faults: Vec<String> = operations
            .iter()
            .filter_map(|operation| match method {
                // What is said of a body is said of the one that was left out.
                Some("HEAD") => self.fault(operation, status, content_type, None),
                _ => self.fault(operation, status, content_type, Some(body)),
            })
            .collect();
        assert!(
            faults.len() < operations.len(),
            "{} {path} answers {status} {content_type}, which is not what its description says: {}\n{}",
            method.unwrap_or_default(),
            faults.join("; "),
            String::from_utf8_lossy(body)
        );
    }

    /// Whether the schema of that name takes a value.
    pub fn takes(&self, schema: &str, value: &Value) -> bool {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        self.validator(&schema).is_valid(value)
    }

    /// Those that answer there: of the addresses that fit, the one with the fewest variables that
    /// has the method.
    fn operations(&self, method: Option<&str>, path: &str) -> Vec<&Value> {
        let path = path.split('?').next().unwrap_or_default();
        let mut fitting: Vec<_> = self
            .paths
            .iter()
            .filter(|(template, _)| fits(template, path))
            .collect();
        fitting.sort_by_key(|(template, _)| template.matches('{').count());
        let Some(method) = method.map(str::to_lowercase) else {
            return fitting
                .into_iter()
                .flat_map(|(_, methods)| methods.as_object().into_iter().flat_map(Map::values))
                .collect();
        };
        let operation = fitting
            .into_iter()
            .find_map(|(_, methods)| methods.get(&method));
        operation.into_iter().collect()
    }

    /// Why the answer is not the operation's.
    fn fault(
        &self,
        operation: &Value,
        status: u16,
        content_type: &str,
        body: Option<&[u8]>,
    ) -> Option<String> {
        let response = &operation["responses"][status.to_string()];
        if response.is_null() {
            return Some("no such status".to_owned());
        }
        let Some(contents) = response["content"].as_object() else {
            let is_empty = body.is_none_or(<[u8]>::is_empty);
            return (!is_empty).then(|| "no body".to_owned());
        };
        let kind = content_type.split(';').next().unwrap_or_default();
        let content = contents.get(kind).or_else(|| contents.get("*/*"));
        let Some(content) = content else {
            return Some("no such content type".to_owned());
        };
        let body = body.filter(|_| contents.contains_key(kind) && kind == "application/json")?;
        let body = match serde_json::from_slice::<Value>(body) {
            Ok(body) => body,
            Err(error) => return Some(error.to_string()),
        };
        let validator = self.validator(&content["schema"]);
        let faults: Vec<String> = validator
            .iter_errors(&body)
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        (!faults.is_empty()).then(|| faults.join(", "))
    }

    fn validator(&self, schema: &Value) -> Arc<Validator> {
        let mut validators = self
            .validators
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let root = json!({"allOf": [schema], "components": self.components});
            let validator = jsonschema::draft202012::new(&root);
            Arc::new(validator.unwrap_or_else(|error| panic!("{schema}: {error}")))
        });
        validator.clone()
    }
}

fn fits(template: &str, path: &str) -> bool {
    let (mut parts, mut segments) = (template.split('/'), path.split('/'));
    loop {
        match (parts.next(), segments.next()) {
            (None, None) => return true,
            (Some(part), Some(segment)) if part == segment || part.starts_with('{') => {}
            _ => return false,
        }
    }
}

/// Objects of which no more is said than their fields have no others.
fn close(value: &mut Value) {
    match value {
        Value::Object(object) => {
            if object.contains_key("properties") && object["properties"].is_object() {
                object.entry("additionalProperties").or_insert(json!(false));
            }
            object.values_mut().for_each(close);
        }
        Value::Array(items) => items.iter_mut().for_each(close),
        _ => {}
    }
}

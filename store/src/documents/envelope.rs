//! A document as it is kept and answered.

use serde::ser::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Serializer, Value};

use super::DocumentError;
use super::number::{Correction, ExactFloats, corrections};

/// A JSON object, the content of a document.
pub type Data = Map<String, Value>;

/// A document at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its revision, from 1.
    pub revision: u64,
    /// Whether it is deleted, and can be restored.
    pub deleted: bool,
    /// The whole envelope.
    pub json: String,
}

impl Document {
    pub(super) fn parse(json: String) -> Result<Document, DocumentError> {
        #[derive(Deserialize)]
        struct Head {
            revision: u64,
            #[serde(default)]
            deleted: bool,
        }
        let head: Head = serde_json::from_str(&json)?;
        Ok(Document {
            revision: head.revision,
            deleted: head.deleted,
            json,
        })
    }
}

/// What of an envelope a write may change.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope {
    pub revision: u64,
    pub data: Data,
    pub created_at: u64,
    pub updated_at: u64,
    #[serde(default)]
    pub deleted: bool,
    pub expires_at: Option<u64>,
}

impl Envelope {
    /// The JSON from its beginning to the times, which the server sets.
    pub fn head(&self, service: &str, id: &str, data: &str) -> String {
        // Names hold nothing that JSON would escape.
        format!(
            r#"{{"service":"{service}","id":"{id}","revision":{},"data":{data}"#,
            self.revision
        )
    }

    /// The JSON from after the times to its end.
    pub fn tail(&self) -> String {
        let deleted = if self.deleted {
            r#","deleted":true"#
        } else {
            ""
        };
        let expires = self
            .expires_at
            .map(|at| format!(r#","expiresAt":{at}"#))
            .unwrap_or_default();
        format!("{deleted}{expires}}}")
    }
}

/// Compact JSON, and the floats in it that must be set right once it is kept.
pub(super) fn render(data: &Data) -> Result<(String, Vec<Correction>), DocumentError> {
    let mut json = Vec::with_capacity(256);
    let mut floats = ExactFloats::default();
    data.serialize(&mut Serializer::with_formatter(&mut json, &mut floats))?;
    let json = String::from_utf8(json).map_err(serde_json::Error::custom)?;
    let corrections = match floats.stray {
        0 => Vec::new(),
        _ => corrections(data),
    };
    Ok((json, corrections))
}

/// Whether an object is nested at most `limit` levels deep, itself being the first.
pub(super) fn fits_depth(data: &Data, limit: usize) -> bool {
    limit > 0 && data.values().all(|value| value_fits(value, limit - 1))
}

fn value_fits(value: &Value, limit: usize) -> bool {
    match value {
        Value::Object(fields) => fits_depth(fields, limit),
        Value::Array(items) => limit > 0 && items.iter().all(|item| value_fits(item, limit - 1)),
        _ => true,
    }
}

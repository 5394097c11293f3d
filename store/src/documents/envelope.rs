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
        let (revision, deleted) = match ends(&json) {
            Some(ends) => ends,
            None => read_through(&json)?,
        };
        Ok(Document {
            revision,
            deleted,
            json,
        })
    }
}

/// The revision, and whether it is deleted, from an envelope's beginning and end, whatever the size of its data; none when
/// these do not look as [`Envelope`] writes them.
fn ends(json: &str) -> Option<(u64, bool)> {
    // Names hold no quotes.
    let (_, rest) = json.strip_prefix(r#"{"service":""#)?.split_once('"')?;
    let (_, rest) = rest.strip_prefix(r#","id":""#)?.split_once('"')?;
    let (revision, _) = rest.strip_prefix(r#","revision":"#)?.split_once(',')?;

    // The data may hold such a field, too, but none is behind the envelope's own.
    let (_, rest) = json.rsplit_once(r#","createdAt":"#)?;
    let (created_at, rest) = rest.split_once(r#","updatedAt":"#)?;
    let rest = rest.strip_suffix('}')?;
    let (rest, expires_at) = rest.split_once(r#","expiresAt":"#).unwrap_or((rest, "0"));
    let (updated_at, deleted) = match rest.strip_suffix(r#","deleted":true"#) {
        Some(updated_at) => (updated_at, true),
        None => (rest, false),
    };
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let is_end = [created_at, updated_at, expires_at]
        .into_iter()
        .all(is_number);
    is_end.then(|| revision.parse().ok().map(|it| (it, deleted)))?
}

fn read_through(json: &str) -> Result<(u64, bool), DocumentError> {
    #[derive(Deserialize)]
    struct Head {
        revision: u64,
        #[serde(default)]
        deleted: bool,
    }
    let head: Head = serde_json::from_str(json)?;
    Ok((head.revision, head.deleted))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const DATA: &str = r#"{"revision":9,"s":"\"},\"createdAt\":1","o":{"a":1,"createdAt":1,"updatedAt":2,"deleted":true}}"#;

    fn envelope(tail: &str) -> String {
        format!(
            r#"{{"service":"s","id":"a:b","revision":3,"data":{DATA},"createdAt":5,"updatedAt":6{tail}}}"#
        )
    }

    #[test]
    fn an_envelope_is_read_by_its_ends() {
        for (tail, deleted) in [
            ("", false),
            (r#","deleted":true"#, true),
            (r#","expiresAt":7"#, false),
            (r#","deleted":true,"expiresAt":7"#, true),
        ] {
            let json = envelope(tail);
            assert_eq!(ends(&json), Some((3, deleted)), "{json}");
            assert_eq!(read_through(&json).unwrap(), (3, deleted));
        }
    }

    #[test]
    fn an_envelope_that_looks_different_is_read_through() {
        let moved = format!(
            r#"{{"service":"s","id":"a","revision":3,"createdAt":5,"updatedAt":6,"data":{DATA}}}"#
        );
        let first =
            format!(r#"{{"data":{DATA},"revision":3,"createdAt":5,"updatedAt":6,"deleted":true}}"#);
        let spaced = envelope(r#","deleted": true"#);
        for (json, deleted) in [(moved, false), (first, true), (spaced, true)] {
            assert_eq!(ends(&json), None, "{json}");
            let document = Document::parse(json).unwrap();
            assert_eq!((document.revision, document.deleted), (3, deleted));
        }
        assert!(Document::parse("{}".to_owned()).is_err());
    }
}

//! A document as it is kept and answered.

use serde::ser::Error as _;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Serializer, Value};

use super::number::{Correction, ExactFloats, corrections};
use super::{DocumentError, Version};

/// A JSON object, the content of a document.
pub type Data = Map<String, Value>;

/// A document at one revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its revision, from 1.
    pub revision: u64,
    /// When it was created, in milliseconds since 1970: tells it from others of its id that were
    /// there before.
    pub created_at: u64,
    /// Whether it is deleted, and can be restored.
    pub deleted: bool,
    /// The whole envelope.
    pub json: String,
}

impl Document {
    pub(super) fn parse(json: String) -> Result<Document, DocumentError> {
        let Ends {
            revision,
            created_at,
            deleted,
        } = match ends(&json) {
            Some(ends) => ends,
            None => serde_json::from_str(&json)?,
        };
        Ok(Document {
            revision,
            created_at,
            deleted,
            json,
        })
    }

    /// What names this state of the document.
    pub fn version(&self) -> Version {
        Version {
            revision: self.revision,
            created_at: Some(self.created_at),
        }
    }
}

/// What an envelope has around its data.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ends {
    revision: u64,
    created_at: u64,
    #[serde(default)]
    deleted: bool,
}

/// The revision, and whether it is deleted, from an envelope's beginning and end, whatever the size
/// of its data; none when these do not look as [`Envelope`] writes them.
fn ends(json: &str) -> Option<Ends> {
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
    is_end.then(|| {
        Some(Ends {
            revision: revision.parse().ok()?,
            created_at: created_at.parse().ok()?,
            deleted,
        })
    })?
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
    /// A document before its first write, whose revisions begin behind another one.
    pub fn new(revision: u64, now: u64) -> Envelope {
        Envelope {
            revision,
            data: Data::new(),
            created_at: now,
            updated_at: now,
            deleted: false,
            expires_at: None,
        }
    }

    /// What names this state of the document.
    pub fn version(&self) -> Version {
        Version {
            revision: self.revision,
            created_at: Some(self.created_at),
        }
    }

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

/// Marks an envelope that is told without its data, as that is not kept any more.
pub(super) const DATA_OMITTED: &str = r#","dataOmitted":true"#;

/// Data as it is handed to the JSON module.
pub(super) struct Rendered {
    /// Compact JSON.
    pub json: String,
    /// Whether the module writes it just so; else it may write some floats in other digits.
    pub is_as_kept: bool,
    /// The floats that must be set right once they are kept.
    pub corrections: Vec<Correction>,
}

/// The data as JSON.
pub(super) fn render(data: &Data) -> Result<Rendered, DocumentError> {
    let mut json = Vec::with_capacity(256);
    let mut floats = ExactFloats::default();
    data.serialize(&mut Serializer::with_formatter(&mut json, &mut floats))?;
    Ok(Rendered {
        json: String::from_utf8(json).map_err(serde_json::Error::custom)?,
        is_as_kept: floats.unusual == 0,
        corrections: match floats.stray {
            0 => Vec::new(),
            _ => corrections(data),
        },
    })
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
            let expected = Ends {
                revision: 3,
                created_at: 5,
                deleted,
            };
            assert_eq!(ends(&json).as_ref(), Some(&expected), "{json}");
            assert_eq!(serde_json::from_str::<Ends>(&json).unwrap(), expected);
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
            let found = (document.revision, document.created_at, document.deleted);
            assert_eq!(found, (3, 5, deleted));
        }
        assert!(Document::parse("{}".to_owned()).is_err());
    }
}

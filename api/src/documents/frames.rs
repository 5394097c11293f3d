//! What is said on a WebSocket of documents: JSON objects told apart by `type`, each in a text
//! frame.

use serde::Deserialize;
use serde_json::json;
use sluice_store::documents::{Document, Version};

use crate::ApiError;
use crate::http::problem::ErrorBody;

/// What a client says.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
pub(super) enum ClientFrame {
    /// Who it is: first of all, unless the request's headers said so, and again before the token
    /// expires.
    Auth { token: Token },
    /// Watch a document: from the revision that the client has, or as it is.
    Subscribe {
        id: String,
        revision: Option<Version>,
    },
    /// Watch it no longer.
    Unsubscribe { id: String },
    /// Answer `pong`.
    Ping,
}

/// A token as it came, which is not printed.
#[derive(PartialEq, Eq, Deserialize)]
pub(super) struct Token(pub String);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(…)")
    }
}

impl ClientFrame {
    /// # Errors
    /// [`ApiError::InvalidRequest`], which holds nothing of the text.
    pub fn read(text: &str) -> Result<Self, ApiError> {
        serde_json::from_str(text).map_err(|_| {
            ApiError::InvalidRequest(
                "frame: must be {\"type\":\"auth\",\"token\"}, {\"type\":\"subscribe\",\"id\",\"revision\"?}, \
                 {\"type\":\"unsubscribe\",\"id\"} or {\"type\":\"ping\"}"
                    .to_owned(),
            )
        })
    }
}

/// The client is known, until `expires_at` (ms since 1970), or for ever.
pub(super) fn ready(expires_at: Option<u64>) -> String {
    json!({"type": "ready", "expiresAt": expires_at}).to_string()
}

pub(super) fn pong() -> String {
    json!({"type": "pong"}).to_string()
}

/// `subscribed`, `unsubscribed` and `gone`: about a document, without it.
pub(super) fn about(kind: &str, id: &str) -> String {
    json!({"type": kind, "id": id}).to_string()
}

/// `present`, `change` and `reset`: a document at a revision.
pub(super) fn document(kind: &str, id: &str, document: &Document) -> String {
    let Document { revision, json, .. } = document;
    let version = document.version();
    // Ids and versions hold nothing that JSON would escape.
    format!(
        r#"{{"type":"{kind}","id":"{id}","revision":{revision},"version":"{version}","document":{json}}}"#
    )
}

/// What was asked cannot be done; about a document, if it named one.
pub(super) fn error(error: &ApiError, id: Option<&str>) -> String {
    let mut frame = json!(ErrorBody(error.problem()));
    frame["type"] = json!("error");
    if let Some(id) = id {
        frame["id"] = json!(id);
    }
    frame.to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_frame_that_is_none_is_refused_without_being_repeated() {
        for text in [
            "",
            "[]",
            "{}",
            r#"{"type":"subscribe"}"#,
            r#"{"type":"auth","token":"s3cret","x":1}"#,
            r#"{"type":"subscribe","id":"a","revision":-1}"#,
        ] {
            let message = ClientFrame::read(text).unwrap_err().to_string();
            assert!(message.starts_with("frame: "), "{message}");
            assert!(!message.contains("s3cret"), "{message}");
        }
        let auth = ClientFrame::read(r#"{"type":"auth","token":"s3cret"}"#).unwrap();
        assert!(!format!("{auth:?}").contains("s3cret"));
    }
}

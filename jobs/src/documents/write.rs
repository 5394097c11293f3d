//! `documents`: makes one accepted write to a document.
//!
//! The jobs of a document are a group, so they run one after the other in the order in which they
//! were accepted. The script that makes the write takes it from the accepted ones in the same step,
//! so that a second run finds what the first one did.

use serde::{Deserialize, Serialize};
use sluice_queue::{Idempotency, Running};
use sluice_store::documents::{Document, DocumentError, Write};
use utoipa::ToSchema;

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};

/// A write to a document that was accepted and is to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WriteDocument {
    /// The service that the document belongs to.
    pub service: String,
    /// Its id.
    pub id: String,
    /// The name under which the store has accepted the write.
    pub token: String,
    /// What to do.
    pub write: Write,
}

/// A document without its data, as a write left it. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentHead {
    /// The service it belongs to.
    #[schema(example = "session")]
    pub service: String,
    /// Its id within the service.
    pub id: String,
    /// The revision that the write made.
    pub revision: u64,
    /// When it was created.
    pub created_at: u64,
    /// When the write was made.
    pub updated_at: u64,
    /// True when it is deleted and can be restored; else left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// From when on it will be gone, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub expires_at: Option<u64>,
}

impl WriteDocument {
    /// The scopes that let their holder see the job of a write that is nobody's: those of writers
    /// of the service, too.
    pub(super) fn viewers_of_nobodys(&self) -> String {
        format!("docs:write:{} docs:write docs:read", self.service)
    }
}

impl Job for WriteDocument {
    const QUEUE: &'static str = "documents";
    /// An accepted write must not be given up over an outage: with the queue's backoff these span
    /// about an hour.
    const MAX_ATTEMPTS: u32 = 25;
    /// Those of `docs:write` do not do: writes hold their data.
    const VIEWERS: &'static str = "docs:read";
    type Answer = DocumentHead;
    type Refusal = DocumentError;

    /// Services take turns, however many users write to them.
    fn turn(&self) -> Option<String> {
        Some(format!("service:{}", self.service))
    }

    fn group(&self) -> Option<String> {
        Some(format!("{}:{}", self.service, self.id))
    }

    fn idempotency(&self) -> Option<Idempotency> {
        self.write.idempotency.as_ref().map(|it| Idempotency {
            key: format!("{}:{}:{}", self.service, self.id, it.key),
            fingerprint: it.fingerprint.clone(),
        })
    }

    async fn run(self, context: &Context, running: &Running) -> Result<DocumentHead, Failure> {
        stop_if_cancelled(running)?;
        let Self {
            service,
            id,
            token,
            write,
        } = &self;
        let documents = &context.documents;
        match documents.write_accepted(service, id, write, token).await {
            Ok(document) => read(&document),
            Err(error) => {
                if error.is_answer() {
                    documents.release(service, id, token).await?;
                }
                Err(error.into())
            }
        }
    }
}

fn read(document: &Document) -> Result<DocumentHead, Failure> {
    serde_json::from_str(&document.json)
        .map_err(|error| Failure::Document(DocumentError::Malformed(error)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    fn delete(id: &str) -> WriteDocument {
        let write = json!({
            "service": "s", "id": id, "token": "t",
            "write": {"change": "delete", "idempotency": {"key": "k", "fingerprint": "f"}},
        });
        serde_json::from_value(write).unwrap()
    }

    #[test]
    fn writes_of_one_document_are_a_group_and_those_of_a_service_take_one_turn() {
        let [one, other] = ["a", "b"].map(delete);
        assert_eq!(one.group(), delete("a").group());
        assert_ne!(one.group(), other.group());
        assert_eq!(one.turn(), other.turn());
    }

    #[test]
    fn a_callers_key_is_one_documents() {
        let [one, other] = ["a", "b"].map(|id| delete(id).new_job().unwrap().idempotency.unwrap());
        assert_ne!(one.key, other.key);
        assert_eq!(one.fingerprint, "f");
    }
}

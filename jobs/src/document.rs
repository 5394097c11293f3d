//! `documents`: makes one accepted write to a document.
//!
//! The jobs of a document are a group, so they run one after the other in the order in which they
//! were accepted. The script that makes the write takes it from the accepted ones in the same step,
//! so that a second run finds what the first one did.

use serde::{Deserialize, Serialize};
use sluice_queue::Running;
use sluice_store::documents::{Document, DocumentError};

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::requests::DocumentRequest;

/// The job behind writes of documents that are accepted first and made later.
pub(crate) struct WriteDocument;

/// What a finished write reports: the envelope without its data. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct DocumentAnswer {
    /// The service that the document belongs to.
    pub service: String,
    /// Its id.
    pub id: String,
    /// The revision that the write made.
    pub revision: u64,
    /// When the document was created.
    pub created_at: u64,
    /// When the write was made.
    pub updated_at: u64,
    /// True when the document is deleted by it; else left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deleted: bool,
    /// From when on the document will be gone, if ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<u64>,
}

impl Job for WriteDocument {
    const QUEUE: &'static str = "documents";
    /// An accepted write must not be given up over an outage: with the queue's backoff these span
    /// about an hour.
    const MAX_ATTEMPTS: u32 = 25;
    type Request = DocumentRequest;
    type Answer = DocumentAnswer;

    async fn run(
        context: &Context,
        request: DocumentRequest,
        running: &Running,
    ) -> Result<DocumentAnswer, Failure> {
        stop_if_cancelled(running)?;
        let DocumentRequest {
            service,
            id,
            token,
            write,
        } = &request;
        let documents = &context.documents;
        match documents.write_accepted(service, id, write, token).await {
            Ok(document) => read(&document),
            Err(error) => {
                if error.is_answer() {
                    documents.let_go(service, id, token).await?;
                }
                Err(error.into())
            }
        }
    }
}

fn read(document: &Document) -> Result<DocumentAnswer, Failure> {
    serde_json::from_str(&document.json)
        .map_err(|error| Failure::Document(DocumentError::Malformed(error)))
}

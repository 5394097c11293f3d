//! What watching by server-sent events and over a WebSocket have in common.

use sluice_store::documents::{Changes, Document, DocumentError, Documents, Version, Watcher};

/// Begins to watch a document from a revision on: what wakes the watcher, and what there is to tell
/// at first.
///
/// # Errors
/// [`DocumentError::NotFound`], also for a deleted document of which nothing else is to be told;
/// others as [`Documents::changes`] has them.
pub(super) async fn begin(
    documents: &Documents,
    service: &str,
    id: &str,
    after: Option<Version>,
) -> Result<(Watcher, Changes), DocumentError> {
    // Before the first look, so that nothing is missed.
    let watcher = documents.watch(service, id);
    match documents.changes(service, id, after).await? {
        Changes::Present(document) | Changes::Reset(document) if document.deleted => {
            Err(DocumentError::NotFound)
        }
        changes => Ok((watcher, changes)),
    }
}

/// What changes are called, and the document as each left it.
pub(super) fn named(changes: Changes) -> (&'static str, Vec<Document>) {
    match changes {
        Changes::Present(document) => ("present", vec![document]),
        Changes::Reset(document) => ("reset", vec![document]),
        Changes::Since(documents) => ("change", documents),
    }
}

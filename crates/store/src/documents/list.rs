//! Listing the documents of a service.

use sluice_valkey::Spec;

use super::index::{IndexEntry, Places};
use super::keys::Keys;
use super::{Document, DocumentError, Documents};

/// Documents asked for at once, which bounds an answer to as many times the size of one.
const CHUNK: usize = 8;
/// A page ends early once it holds this many bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// A page ends early after this many ids that lead nowhere, for each document asked for.
const MISSES: usize = 10;

/// One page of a service's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPage {
    /// In the order of their creation, without deleted ones.
    pub documents: Vec<Document>,
    /// Gives the next page; none on the last one.
    pub cursor: Option<Places>,
}

impl Documents {
    /// One page of at most `limit` documents; it may hold fewer, even none, and still have a
    /// cursor.
    ///
    /// A cursor never expires: a document that is there all along is on exactly one page, and new
    /// ones come last.
    ///
    /// # Errors
    /// [`DocumentError::NoJsonModule`], [`DocumentError::Store`].
    pub async fn list(
        &self,
        service: &str,
        cursor: Option<Places>,
        limit: usize,
    ) -> Result<DocumentPage, DocumentError> {
        self.check_module().await?;
        let mut places = cursor.unwrap_or_else(Places::start);
        let mut documents = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        while documents.len() < limit && bytes < PAGE_BYTES && looked_at < limit * MISSES {
            let wanted = limit - documents.len();
            let (entries, is_end) = self.entries(service, &places, wanted).await?;
            for chunk in entries.chunks(CHUNK) {
                if bytes >= PAGE_BYTES {
                    return Ok(page(documents, Some(places)));
                }
                looked_at += chunk.len();
                let found = self.find(service, chunk).await?;
                let missing: Vec<_> = chunk
                    .iter()
                    .zip(&found)
                    .filter_map(|(entry, document)| document.is_none().then_some(entry))
                    .collect();
                self.forget(service, &missing).await?;
                for document in found.into_iter().flatten().filter(|it| !it.deleted) {
                    bytes += document.json.len();
                    documents.push(document);
                }
                chunk.iter().for_each(|entry| places.pass(entry));
            }
            if is_end {
                return Ok(page(documents, None));
            }
        }
        Ok(page(documents, Some(places)))
    }

    async fn find(
        &self,
        service: &str,
        entries: &[IndexEntry],
    ) -> Result<Vec<Option<Document>>, DocumentError> {
        // Documents lie in slots of their own, so one command may not name several.
        let reading = entries.iter().map(|IndexEntry { id, .. }| {
            let mut cmd = redis::cmd("JSON.GET");
            cmd.arg(Keys::new(service, id).document);
            cmd
        });
        let commands: Vec<_> = reading.collect();
        let spec = Spec::command("document_list");
        let found: Vec<Option<String>> = self.valkey.query_all(spec, commands).await?;
        found
            .into_iter()
            .map(|json| json.map(Document::parse).transpose())
            .collect()
    }
}

fn page(documents: Vec<Document>, cursor: Option<Places>) -> DocumentPage {
    DocumentPage { documents, cursor }
}

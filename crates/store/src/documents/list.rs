//! Listing the documents of a service.

use std::sync::LazyLock;

use super::keys::{Keys, index};
use super::{Document, DocumentError, Documents};
use crate::{Script, StoreError};

static FORGET: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "document_forget",
        include_str!("../../../../lua/documents/forget.lua"),
    )
});

/// Documents asked for at once, which bounds an answer to as many times the size of one.
const CHUNK: usize = 8;
/// A page ends early once it holds this many bytes.
const PAGE_BYTES: usize = 4 * 1024 * 1024;
/// A page ends early after this many ids that lead nowhere, for each document asked for.
const MISSES: usize = 10;
/// A document that is announced and not there after this long, in µs, will not be created by that
/// call any more.
const ANNOUNCED: u64 = 60_000_000;

/// One page of a service's documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentPage {
    /// In the order of their creation, without deleted ones.
    pub documents: Vec<Document>,
    /// Gives the next page; none on the last one.
    pub cursor: Option<u64>,
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
        cursor: Option<u64>,
        limit: usize,
    ) -> Result<DocumentPage, DocumentError> {
        self.check_module().await?;
        let mut place = cursor.unwrap_or(0);
        let mut documents = Vec::new();
        let (mut bytes, mut looked_at) = (0, 0);
        while documents.len() < limit && bytes < PAGE_BYTES && looked_at < limit * MISSES {
            let wanted = CHUNK.min(limit - documents.len());
            let entries = self.entries(service, place, wanted).await?;
            let is_end = entries.len() < wanted;
            looked_at += entries.len();
            let found = self.find(service, &entries).await?;
            let missing: Vec<_> = entries
                .iter()
                .zip(&found)
                .filter_map(|(entry, document)| document.is_none().then_some(entry))
                .collect();
            self.forget(service, missing).await?;
            for document in found.into_iter().flatten().filter(|it| !it.deleted) {
                bytes += document.json.len();
                documents.push(document);
            }
            if is_end {
                return Ok(DocumentPage {
                    documents,
                    cursor: None,
                });
            }
            place = entries.last().map_or(place, |&(_, last)| last);
        }
        Ok(DocumentPage {
            documents,
            cursor: Some(place),
        })
    }

    /// Ids behind a place in the index, with their own places.
    pub(super) async fn entries(
        &self,
        service: &str,
        place: u64,
        count: usize,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(index(service))
            .arg(format!("({place}"))
            .arg("+inf")
            .arg("BYSCORE")
            .arg("LIMIT")
            .arg(0)
            .arg(count)
            .arg("WITHSCORES");
        self.valkey.query("document_index", &cmd, None).await
    }

    async fn find(
        &self,
        service: &str,
        entries: &[(String, u64)],
    ) -> Result<Vec<Option<Document>>, DocumentError> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        // Documents lie in slots of their own, so one command may not name several.
        let mut pipeline = redis::pipe();
        for (id, _) in entries {
            pipeline
                .cmd("JSON.GET")
                .arg(Keys::new(service, id).document);
        }
        let found: Vec<Option<String>> = self
            .valkey
            .query_all("document_list", &pipeline, None)
            .await?;
        found
            .into_iter()
            .map(|json| json.map(Document::parse).transpose())
            .collect()
    }

    /// Takes ids whose documents are missing out of the index, if they have been for long enough.
    /// Returns how many.
    pub(super) async fn forget(
        &self,
        service: &str,
        missing: Vec<&(String, u64)>,
    ) -> Result<u64, StoreError> {
        if missing.is_empty() {
            return Ok(0);
        }
        let time = redis::cmd("TIME");
        let (seconds, micros): (u64, u64) = self.valkey.query("time", &time, None).await?;
        let now = seconds * 1_000_000 + micros;
        let index = index(service);
        let mut cmd = FORGET.command(&[&index]);
        for (id, place) in missing {
            if place + ANNOUNCED < now {
                cmd.arg(id).arg(place);
            }
        }
        FORGET.run(&self.valkey, &cmd).await
    }
}

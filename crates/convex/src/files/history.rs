//! The files of all users through time: as they were at one moment, and what was changed after it.
//!
//! A copy that is kept up to date walks the table once at a snapshot ([`FullWalk`]) and from then
//! on the deltas after it ([`DeltaWalk`]). Both stream: a walk holds one batch at most, however
//! large its pages are. Both can be resumed after a crash from what the last finished page said,
//! which is the checkpoint to keep. Whatever comes between two checkpoints comes again then, and
//! also when a connection breaks, so effects have to be idempotent by `_id` and `_ts`.

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use super::document::Document;
use super::walk::{PAGE_RETRIES, Step, Walk};
use super::{BATCH_BYTES, BATCH_FILES, FileChange, TABLE};
use crate::client::{DeltasEnd, DeltasRequest, RowStream};
use crate::{Client, ConvexError};

/// The history of a deployment's files. Cheap to clone.
#[derive(Clone, Debug)]
pub struct History {
    client: Client,
}

impl History {
    /// The history of the files of the deployment behind `client`.
    pub fn new(client: Client) -> History {
        History { client }
    }

    /// The deployment's present time, ns: no later commit has an earlier time.
    pub async fn now(&self) -> Result<i64, ConvexError> {
        self.client.now().await
    }

    /// All documents as they were at `snapshot` (ns), from the page at `cursor` on; `None`: from
    /// the first.
    pub fn walk(&self, snapshot: i64, cursor: Option<String>) -> FullWalk {
        FullWalk {
            client: self.client.clone(),
            walk: Walk::resume(&self.client, snapshot, cursor),
            ended: false,
        }
    }

    /// What was committed after `cursor` (ns).
    pub fn deltas(&self, cursor: i64) -> DeltaWalk {
        DeltaWalk {
            client: self.client.clone(),
            cursor,
            rows: None,
            last: cursor,
            broken: 0,
        }
    }

    /// Whether the log still tells of a change that it once told of, at `ts`.
    ///
    /// Emptying or replacing a table leaves no tombstones; the documents that went, and all that
    /// was ever said of them, just vanish from the log. A change that is not there any more
    /// therefore means that others went with it unsaid. [`ConvexError::CursorExpired`] when it is
    /// too old.
    pub async fn remembers(&self, ts: i64) -> Result<bool, ConvexError> {
        let mut walk = self.deltas(ts - 1);
        loop {
            let batch = walk.read_batch(1).await?;
            match (batch.changes.first(), batch.end) {
                (Some(change), _) => return Ok(change.ts == ts),
                (None, Some(end)) if !end.has_more || end.cursor >= ts => return Ok(false),
                _ => {}
            }
        }
    }
}

/// A walk over all documents at one time, in no useful order. Documents that have no owner are
/// among them, without a file.
pub struct FullWalk {
    client: Client,
    walk: Walk,
    ended: bool,
}

/// Some documents of a [`FullWalk`].
#[derive(Debug, Clone, PartialEq)]
pub struct WalkBatch {
    /// The documents in the revision that they had at the snapshot. May be empty.
    pub changes: Vec<FileChange>,
    /// Given with the last batch of a page.
    pub end: Option<WalkEnd>,
}

/// What follows a page of a [`FullWalk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WalkEnd {
    /// Another page, at this cursor: the checkpoint, together with the snapshot.
    Page(String),
    /// Nothing: all documents have been given.
    Table,
}

impl FullWalk {
    /// The time at which the table is seen, ns.
    pub fn snapshot(&self) -> i64 {
        self.walk.snapshot()
    }

    /// About 1 MB or 512 documents; `None` after the end of the table.
    ///
    /// # Errors
    /// [`ConvexError::CursorExpired`] and [`ConvexError::CursorUnknown`] when only a walk at a new
    /// snapshot can succeed; others as the client has them, after its retries.
    pub async fn next(&mut self) -> Result<Option<WalkBatch>, ConvexError> {
        if self.ended {
            return Ok(None);
        }
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while changes.len() < BATCH_FILES && bytes < BATCH_BYTES {
            let end = match self.walk.step().await {
                Ok(Some(Step::Document(document))) => {
                    let change = document.change()?;
                    bytes += change.file.as_ref().map_or(0, |file| file.json.len());
                    changes.push(change);
                    continue;
                }
                Ok(Some(Step::PageEnd(Some(cursor)))) => WalkEnd::Page(cursor),
                Ok(Some(Step::PageEnd(None)) | None) => WalkEnd::Table,
                Err(error) => return Err(self.explain(error).await),
            };
            self.ended = end == WalkEnd::Table;
            return Ok(Some(WalkBatch {
                changes,
                end: Some(end),
            }));
        }
        Ok(Some(WalkBatch { changes, end: None }))
    }

    /// Convex answers 503, as for a passing fault, when it forgot the snapshot while it read the
    /// page. It is that, when the same endpoint answers at another time.
    async fn explain(&self, error: ConvexError) -> ConvexError {
        match error {
            ConvexError::Status {
                status: 503,
                message,
                ..
            } if self.client.now().await.is_ok() => ConvexError::CursorExpired { message },
            error => error,
        }
    }
}

/// A walk over the changes after a time, in the order of commits. Every revision comes, not only
/// the last one of a document. It has no end: where nothing more is known, it can be asked again
/// later.
pub struct DeltaWalk {
    client: Client,
    /// Where the present page began.
    cursor: i64,
    rows: Option<RowStream<DeltasEnd>>,
    /// The time of the last change given.
    last: i64,
    broken: u32,
}

/// Some changes of a [`DeltaWalk`].
#[derive(Debug, Clone, PartialEq)]
pub struct DeltaBatch {
    /// In the order of commits. May be empty. A transaction may be divided between batches, never
    /// between pages.
    pub changes: Vec<FileChange>,
    /// Given with the last batch of a page: the checkpoint, and whether more is known to follow.
    pub end: Option<DeltasEnd>,
}

impl DeltaWalk {
    /// About 1 MB or 512 changes, or fewer where a page ends.
    ///
    /// # Errors
    /// [`ConvexError::CursorExpired`] when Convex no longer remembers back to the cursor; others as
    /// the client has them, after its retries. It can be asked again then: the page comes anew.
    pub async fn next(&mut self) -> Result<DeltaBatch, ConvexError> {
        self.read_batch(BATCH_FILES).await
    }

    async fn read_batch(&mut self, most: usize) -> Result<DeltaBatch, ConvexError> {
        let (mut changes, mut bytes) = (Vec::new(), 0);
        while changes.len() < most && bytes < BATCH_BYTES {
            let mut rows = match self.rows.take() {
                Some(rows) => rows,
                None => self.open().await?,
            };
            match rows.next().await {
                Ok(Some(row)) => {
                    self.rows = Some(rows);
                    if let Some(change) = self.change(row)? {
                        bytes += change.file.as_ref().map_or(0, |file| file.json.len());
                        changes.push(change);
                    }
                }
                Ok(None) => {
                    self.broken = 0;
                    let end = rows.finish().await?;
                    self.advance(&end)?;
                    return Ok(DeltaBatch {
                        changes,
                        end: Some(end),
                    });
                }
                // The page comes anew, with what was already given of it.
                Err(error) if error.is_retryable() && self.broken < PAGE_RETRIES => {
                    self.broken += 1;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(DeltaBatch { changes, end: None })
    }

    async fn open(&mut self) -> Result<RowStream<DeltasEnd>, ConvexError> {
        self.last = self.cursor;
        let request = DeltasRequest {
            table: TABLE.to_owned(),
            cursor: self.cursor,
        };
        self.client.document_deltas(request).await
    }

    fn change(&mut self, row: Bytes) -> Result<Option<FileChange>, ConvexError> {
        let document = Document::read(row)?;
        // A server that does not know the filter sends every table's.
        if document.table()?.is_some_and(|table| table != TABLE) {
            return Ok(None);
        }
        let change = document.change()?;
        if change.ts <= self.cursor || change.ts < self.last {
            return Err(malformed("changes out of the order of commits"));
        }
        self.last = change.ts;
        Ok(Some(change))
    }

    fn advance(&mut self, end: &DeltasEnd) -> Result<(), ConvexError> {
        if end.cursor < self.last || (end.has_more && end.cursor == self.cursor) {
            return Err(malformed("a cursor that does not move on"));
        }
        self.cursor = end.cursor;
        Ok(())
    }
}

fn malformed(what: &str) -> ConvexError {
    ConvexError::Malformed(what.to_owned())
}

/// See [`super::Files::changes`].
pub(super) fn changes(
    client: &Client,
    since: i64,
) -> BoxStream<'_, Result<DeltaBatch, ConvexError>> {
    try_stream! {
        let mut walk = History::new(client.clone()).deltas(since);
        loop {
            let batch = walk.next().await?;
            let more = batch.end.as_ref().is_none_or(|end| end.has_more);
            yield batch;
            if !more {
                break;
            }
        }
    }
    .boxed()
}

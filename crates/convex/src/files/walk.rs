use super::TABLE;
use super::document::Document;
use crate::client::{RowStream, SnapshotEnd, SnapshotRequest};
use crate::{Client, ConvexError};

/// How often in a row a page that breaks in the middle is asked for again.
pub(super) const PAGE_RETRIES: u32 = 4;

/// A walk over documents as the table was at one time, in no useful order. A page whose connection
/// breaks is asked for again from its beginning, so a document may come twice, in the same
/// revision.
pub(super) struct Walk {
    client: Client,
    /// Whose documents to give; `None`: all.
    user: Option<String>,
    snapshot: i64,
    next: Next,
    rows: Option<RowStream<SnapshotEnd>>,
    broken: u32,
}

/// Where the present page began; the next one when none is open.
enum Next {
    Page(Option<String>),
    End,
}

/// What a walk comes by.
pub(super) enum Step {
    Document(Document),
    /// The end of a page, with the cursor of the next one; `None` after the last.
    PageEnd(Option<String>),
}

impl Walk {
    /// Over one user's documents as they are now.
    pub async fn of_user(client: &Client, user: &str) -> Result<Walk, ConvexError> {
        // Fixed beforehand, so that asking for the first page again shows the same table.
        let mut walk = Walk::resume(client, client.now().await?, None);
        walk.user = Some(user.to_owned());
        Ok(walk)
    }

    /// Over everybody's documents, and nobody's, as they are now.
    pub async fn of_all(client: &Client) -> Result<Walk, ConvexError> {
        Ok(Walk::resume(client, client.now().await?, None))
    }

    /// Over everybody's documents, and nobody's, at the time `snapshot` (ns), from a page on.
    pub fn resume(client: &Client, snapshot: i64, cursor: Option<String>) -> Walk {
        Walk {
            client: client.clone(),
            user: None,
            snapshot,
            next: Next::Page(cursor),
            rows: None,
            broken: 0,
        }
    }

    /// The time at which the table is seen, ns.
    pub fn snapshot(&self) -> i64 {
        self.snapshot
    }

    /// The next document; `None` at the end of the table.
    pub async fn next(&mut self) -> Result<Option<Document>, ConvexError> {
        while let Some(step) = self.step().await? {
            if let Step::Document(document) = step {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    /// The next document or end of a page; `None` at the end of the table.
    pub async fn step(&mut self) -> Result<Option<Step>, ConvexError> {
        loop {
            let Some(mut rows) = self.take_rows().await? else {
                return Ok(None);
            };
            match rows.next().await {
                Ok(Some(row)) => {
                    self.rows = Some(rows);
                    let document = Document::read(row)?;
                    if self.wants(&document)? {
                        return Ok(Some(Step::Document(document)));
                    }
                }
                Ok(None) => {
                    self.broken = 0;
                    let cursor = rows.finish().await?.cursor;
                    self.next = match &cursor {
                        Some(cursor) => Next::Page(Some(cursor.clone())),
                        None => Next::End,
                    };
                    return Ok(Some(Step::PageEnd(cursor)));
                }
                Err(error) if error.is_retryable() && self.broken < PAGE_RETRIES => {
                    self.broken += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// The open page, else the next one; `None` at the end of the table.
    async fn take_rows(&mut self) -> Result<Option<RowStream<SnapshotEnd>>, ConvexError> {
        match (self.rows.take(), &self.next) {
            (Some(rows), _) => Ok(Some(rows)),
            (None, Next::End) => Ok(None),
            (None, Next::Page(cursor)) => {
                let request = SnapshotRequest {
                    table: TABLE.to_owned(),
                    snapshot: Some(self.snapshot),
                    cursor: cursor.clone(),
                };
                self.client.list_snapshot(request).await.map(Some)
            }
        }
    }

    fn wants(&self, document: &Document) -> Result<bool, ConvexError> {
        let here = document.table()?.is_none_or(|table| table == TABLE);
        Ok(here
            && (self.user.is_none() || document.user()? == self.user.as_deref().map(Into::into)))
    }
}

use super::{TABLE, document::Document};
use crate::{
    Client, ConvexError,
    client::{RowStream, SnapshotEnd, SnapshotRequest},
};

/// How often a page that breaks in the middle is asked for again.
const PAGE_RETRIES: u32 = 4;

/// A walk over documents as the table was when it began, in no useful order. A page whose connection breaks is asked for again from its beginning, so a document may come twice, in
/// the same revision.
pub(super) struct Walk<'a> {
    client: &'a Client,
    /// Whose documents to give; `None`: all.
    user: Option<&'a str>,
    snapshot: i64,
    /// Where the present page began.
    cursor: Option<String>,
    /// The present page; `None` at the end of the table.
    rows: Option<RowStream<SnapshotEnd>>,
    broken: u32,
}

impl<'a> Walk<'a> {
    /// Over one user's documents.
    pub async fn of_user(client: &'a Client, user: &'a str) -> Result<Walk<'a>, ConvexError> {
        Walk::begin(client, Some(user)).await
    }

    /// Over everybody's documents, and nobody's.
    pub async fn of_all(client: &'a Client) -> Result<Walk<'a>, ConvexError> {
        Walk::begin(client, None).await
    }

    async fn begin(client: &'a Client, user: Option<&'a str>) -> Result<Walk<'a>, ConvexError> {
        // Fixed beforehand, so that asking for the first page again shows the same table.
        let snapshot = client.now().await?;
        let mut walk = Walk {
            client,
            user,
            snapshot,
            cursor: None,
            rows: None,
            broken: 0,
        };
        walk.open_page().await?;
        Ok(walk)
    }

    /// The time at which the table is seen, ns.
    pub fn snapshot(&self) -> i64 {
        self.snapshot
    }

    async fn open_page(&mut self) -> Result<(), ConvexError> {
        let request = SnapshotRequest {
            table: TABLE.to_owned(),
            snapshot: Some(self.snapshot),
            cursor: self.cursor.clone(),
        };
        self.rows = Some(self.client.list_snapshot(request).await?);
        Ok(())
    }

    /// The next document; `None` at the end of the table.
    pub async fn next(&mut self) -> Result<Option<Document>, ConvexError> {
        while let Some(rows) = &mut self.rows {
            match rows.next().await {
                Ok(Some(row)) => {
                    let document = Document::read(row)?;
                    if self.wants(&document)? {
                        return Ok(Some(document));
                    }
                }
                Ok(None) => {
                    self.broken = 0;
                    let Some(rows) = self.rows.take() else { break };
                    self.cursor = rows.finish().await?.cursor;
                    if self.cursor.is_some() {
                        self.open_page().await?;
                    }
                }
                Err(error) if error.is_retryable() && self.broken < PAGE_RETRIES => {
                    self.broken += 1;
                    self.open_page().await?;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }

    fn wants(&self, document: &Document) -> Result<bool, ConvexError> {
        let here = document.table()?.is_none_or(|table| table == TABLE);
        Ok(here && (self.user.is_none() || document.user()?.as_deref() == self.user))
    }
}

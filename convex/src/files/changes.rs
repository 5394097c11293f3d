use async_stream::try_stream;
use bytes::Bytes;
use futures_util::stream::{BoxStream, StreamExt};

use super::{ChangePage, FileChange, TABLE, document::Document};
use crate::{Client, ConvexError, client::DeltasRequest};

/// See [`super::Files::changes`].
pub(super) fn changes(
    client: &Client,
    since: i64,
) -> BoxStream<'_, Result<ChangePage, ConvexError>> {
    try_stream! {
        let mut cursor = since;
        loop {
            let request = DeltasRequest { table: TABLE.to_owned(), cursor };
            // A page holds whole transactions, of at most 16 MiB each.
            let (rows, end) = client.document_deltas(request).await?.page().await?;
            cursor = end.cursor;
            let mut changes = Vec::with_capacity(rows.len());
            for row in rows {
                changes.extend(change(row)?);
            }
            yield ChangePage { changes, cursor };
            if !end.has_more {
                break;
            }
        }
    }
    .boxed()
}

fn change(row: Bytes) -> Result<Option<FileChange>, ConvexError> {
    let document = Document::read(row)?;
    // A server that does not know the filter sends every table's.
    if document.table()?.is_some_and(|table| table != TABLE) {
        return Ok(None);
    }
    document.change().map(Some)
}

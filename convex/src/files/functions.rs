//! Files through indexed Convex functions, see `convex/functions/files.ts`.

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{self, BoxStream, StreamExt, TryStreamExt},
};
use serde::Deserialize;
use serde_json::json;
use tokio_util::task::AbortOnDropHandle;

use super::{
    Batch, File, Files,
    document::Document,
    history::{DeltaBatch, changes},
};
use crate::{
    Client, ConvexError,
    client::{AnsweredEnd, QueryEnd, RowStream},
};

const BY_USER: &str = "files:byUser";
const GET_MANY: &str = "files:getMany";
const REMOVE: &str = "files:remove";

/// A page ends at so many documents or bytes; a query may read 16 MiB and 32,000 documents.
const PAGE_FILES: usize = 4000;
const PAGE_BYTES: usize = 4 << 20;
/// Documents named in one call. The functions answer fewer of them when they are large.
const CHUNK: usize = 256;
/// Chunks of [`Files::get_many`] under way at once. With the page being consumed and what its chunk
/// has left over, that is four pages in memory, of 4 MiB and the few documents that go beyond.
const CHUNKS_AT_ONCE: usize = 2;

#[derive(Clone)]
pub(super) struct FunctionFiles {
    client: Client,
}

impl FunctionFiles {
    pub fn new(client: Client) -> FunctionFiles {
        FunctionFiles { client }
    }

    /// Whether the deployment has the functions.
    pub async fn deployed(&self) -> Result<bool, ConvexError> {
        match self.get_page("", &[]).await {
            Ok(_) => Ok(true),
            Err(ConvexError::FunctionMissing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn by_user(
        &self,
        user: &str,
        count: usize,
        cursor: Option<&str>,
    ) -> Result<RowStream<QueryEnd>, ConvexError> {
        let options =
            json!({ "numItems": count, "cursor": cursor, "maximumBytesRead": PAGE_BYTES });
        self.client
            .query(BY_USER, &json!({ "user": user, "paginationOpts": options }))
            .await
    }

    /// The files of the first of these ids, and how many ids that answers.
    async fn get_page(
        &self,
        user: &str,
        ids: &[String],
    ) -> Result<(Vec<Bytes>, usize), ConvexError> {
        let args = json!({ "user": user, "ids": ids });
        let page = self.client.query::<AnsweredEnd>(GET_MANY, &args).await?;
        let (rows, end) = page.page().await?;
        Ok((rows, checked(end.answered, ids.len())?))
    }
}

/// How many of `asked` ids a function has answered: all or some, and at least one.
fn checked(answered: usize, asked: usize) -> Result<usize, ConvexError> {
    if (asked.min(1)..=asked).contains(&answered) {
        Ok(answered)
    } else {
        let message = format!("{answered} of {asked} ids are answered");
        Err(ConvexError::Malformed(message))
    }
}

impl Files for FunctionFiles {
    fn newest_first<'a>(&'a self, user: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        // Each page is read by a task, so that the next one arrives while this one is consumed: it
        // is whole or not at all, and begins anew when its connection breaks.
        let fetch = |cursor: Option<String>| {
            let (files, user) = (self.clone(), user.to_owned());
            AbortOnDropHandle::new(tokio::spawn(async move {
                files
                    .by_user(&user, PAGE_FILES, cursor.as_deref())
                    .await?
                    .page()
                    .await
            }))
        };
        try_stream! {
            let mut coming = Some(fetch(None));
            let mut batch = Batch::default();
            while let Some(task) = coming.take() {
                let page = task.await;
                let (rows, end) = page.map_err(|e| ConvexError::Transport(e.to_string()))??;
                coming = end.cursor.map(|cursor| fetch(Some(cursor)));
                for row in rows {
                    let file = Document::read(row)?.file()?;
                    if let Some(full) = file.and_then(|file| batch.push(file)) {
                        yield full;
                    }
                }
            }
            if let Some(rest) = batch.rest() {
                yield rest;
            }
        }
        .boxed()
    }

    fn get_many<'a>(
        &'a self,
        user: &'a str,
        ids: &'a [String],
    ) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        // By tasks, as above. What a chunk's first page has left over is asked for in its turn.
        let fetch = move |chunk: &[String]| {
            let (files, user, chunk) = (self.clone(), user.to_owned(), chunk.to_vec());
            let task = tokio::spawn(async move {
                let (rows, answered) = files.get_page(&user, &chunk).await?;
                Ok::<_, ConvexError>((rows, chunk[answered..].to_vec()))
            });
            let task = AbortOnDropHandle::new(task);
            async {
                task.await
                    .map_err(|error| ConvexError::Transport(error.to_string()))?
            }
        };
        try_stream! {
            let mut chunks = stream::iter(ids.chunks(CHUNK).map(fetch)).buffered(CHUNKS_AT_ONCE);
            let mut batch = Batch::default();
            while let Some((mut rows, mut left)) = chunks.try_next().await? {
                loop {
                    let coming = (!left.is_empty()).then(|| fetch(&left));
                    for row in rows {
                        let file = Document::read(row)?.file()?;
                        if let Some(full) = file.and_then(|file| batch.push(file)) {
                            yield full;
                        }
                    }
                    let Some(page) = coming else { break };
                    (rows, left) = page.await?;
                }
            }
            if let Some(rest) = batch.rest() {
                yield rest;
            }
        }
        .boxed()
    }

    fn any<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<bool, ConvexError>> {
        Box::pin(async move {
            Ok(!self
                .by_user(user, 1, None)
                .await?
                .page()
                .await?
                .0
                .is_empty())
        })
    }

    fn list_ids<'a>(
        &'a self,
        user: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, ConvexError>> {
        Box::pin(async move {
            let mut ids = Vec::new();
            let mut cursor = None;
            while ids.len() < limit {
                let count = PAGE_FILES.min(limit - ids.len());
                let (rows, end) = self
                    .by_user(user, count, cursor.as_deref())
                    .await?
                    .page()
                    .await?;
                for row in rows.into_iter().take(count) {
                    ids.push(Document::read(row)?.doc_id()?.into_owned());
                }
                cursor = end.cursor;
                if cursor.is_none() {
                    break;
                }
            }
            Ok(ids)
        })
    }

    fn delete<'a>(
        &'a self,
        user: &'a str,
        doc_ids: &'a [String],
    ) -> BoxFuture<'a, Result<u64, ConvexError>> {
        #[derive(Deserialize)]
        struct Removed {
            /// A Convex number: `3.0`.
            deleted: f64,
            answered: f64,
        }
        Box::pin(async move {
            let mut total = 0;
            let mut left = doc_ids;
            while !left.is_empty() {
                let chunk = &left[..left.len().min(CHUNK)];
                let args = json!({ "user": user, "docIds": chunk });
                let removed: Removed = self.client.mutation(REMOVE, &args).await?;
                total += removed.deleted as u64;
                left = &left[checked(removed.answered as usize, chunk.len())?..];
            }
            Ok(total)
        })
    }

    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>> {
        Box::pin(self.client.now())
    }

    fn changes(&self, since: i64) -> BoxStream<'_, Result<DeltaBatch, ConvexError>> {
        changes(&self.client, since)
    }
}

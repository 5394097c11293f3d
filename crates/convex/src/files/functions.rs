//! Files through indexed Convex functions, see `crates/convex/functions/sluice.ts`.

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, StreamExt, TryStreamExt};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio_util::task::AbortOnDropHandle;

use super::document::Document;
use super::history::{DeltaBatch, changes};
use super::{Batch, File, Files};
use crate::client::{AnsweredEnd, QueryEnd, RowStream};
use crate::{Client, ConvexError};

/// What the functions are called.
struct Names {
    by_user: &'static str,
    get_many: &'static str,
    remove: &'static str,
}

/// First their own module, then the one that they were deployed in before, which an application may
/// well have functions of its own in.
const MODULES: [Names; 2] = [
    Names {
        by_user: "sluice:byUser",
        get_many: "sluice:getMany",
        remove: "sluice:remove",
    },
    Names {
        by_user: "files:byUser",
        get_many: "files:getMany",
        remove: "files:remove",
    },
];

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
    names: &'static Names,
}

impl FunctionFiles {
    /// Looks for the functions. [`ConvexError::FunctionMissing`] when the deployment has none of
    /// the names, [`ConvexError::ForeignFunction`] when what it has is the application's.
    pub async fn find(client: &Client) -> Result<FunctionFiles, ConvexError> {
        let mut otherwise = None;
        for names in &MODULES {
            match probe(client, names.get_many).await {
                Ok(()) => {
                    let client = client.clone();
                    return Ok(FunctionFiles { client, names });
                }
                Err(ConvexError::FunctionMissing { .. }) => {}
                Err(error @ ConvexError::ForeignFunction { .. }) => otherwise = Some(error),
                Err(error) => return Err(error),
            }
        }
        let path = MODULES[0].get_many.to_owned();
        Err(otherwise.unwrap_or(ConvexError::FunctionMissing { path }))
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
            .query(
                self.names.by_user,
                &json!({ "user": user, "paginationOpts": options }),
            )
            .await
    }

    /// The files of the first of these ids, and how many ids that answers.
    async fn get_page(
        &self,
        user: &str,
        ids: &[String],
    ) -> Result<(Vec<Bytes>, usize), ConvexError> {
        let args = json!({ "user": user, "ids": ids });
        let call = self.client.query::<AnsweredEnd>(self.names.get_many, &args);
        let page = call.await?;
        let (rows, end) = page.page().await?;
        Ok((rows, checked(end.answered, ids.len())?))
    }
}

/// Asks for none of nobody's files. Only the function itself gives exactly this answer: one of the
/// application's refuses the arguments, fails, or answers otherwise.
async fn probe(client: &Client, path: &str) -> Result<(), ConvexError> {
    let nothing = json!({ "user": "", "ids": [] });
    let reason = match client.query_value::<Value>(path, &nothing).await {
        Ok(answer) if is_no_files(&answer) => return Ok(()),
        Ok(_) => "its answer is another".to_owned(),
        Err(ConvexError::Function { message, .. }) => message,
        Err(ConvexError::Malformed(message)) => message,
        Err(error) => return Err(error),
    };
    Err(ConvexError::ForeignFunction {
        path: path.to_owned(),
        reason,
    })
}

fn is_no_files(answer: &Value) -> bool {
    let no_page = answer["page"].as_array().is_some_and(Vec::is_empty);
    let fields = answer.as_object().map_or(0, Map::len);
    no_page && answer["answered"].as_f64() == Some(0.0) && fields == 2
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
                let removed: Removed = self.client.mutation(self.names.remove, &args).await?;
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

//! Files through the streaming export and import, which every deployment has. The export knows no
//! user and no order of time, so every read walks the table: slow, but in bounded memory.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_stream::try_stream;
use bytes::Bytes;
use futures_util::{
    future::BoxFuture,
    stream::{BoxStream, StreamExt, TryStreamExt},
};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use super::{
    ChangePage, File, FileChange, Files, TABLE, changes::changes, document::Document, spool::Spool,
};
use crate::{
    Client, ConvexError,
    client::{RowStream, SnapshotEnd, SnapshotRequest},
};

/// With the owner in the key, a deletion can never reach another user's file.
const PRIMARY_KEY: [&str; 2] = ["user", "id"];
/// Deletions in one import call.
const CHUNK: usize = 1000;
/// How long to wait for the primary key index to be built.
const INDEX_TIMEOUT: Duration = Duration::from_secs(120);
const INDEX_POLL: Duration = Duration::from_millis(250);
/// How often a page that breaks in the middle is asked for again.
const PAGE_RETRIES: u32 = 4;
/// How often deletion records that were inserted instead are deleted.
const CLEANUPS: u32 = 4;

pub(super) struct ExportFiles {
    client: Client,
}

impl ExportFiles {
    pub fn new(client: Client) -> ExportFiles {
        ExportFiles { client }
    }

    /// The `id`s of those of the documents that are the user's. The import cannot name a document
    /// without one.
    async fn own_ids(
        &self,
        user: &str,
        doc_ids: &[String],
    ) -> Result<HashSet<String>, ConvexError> {
        let mut wanted: HashSet<&str> = doc_ids.iter().map(String::as_str).collect();
        let mut ids = HashSet::new();
        let mut nameless = 0;
        let mut walk = Walk::begin(&self.client, user).await?;
        while !wanted.is_empty()
            && let Some(document) = walk.next().await?
        {
            if wanted.remove(&*document.doc_id()?) {
                match document.own_id()? {
                    Some(id) => drop(ids.insert(id.into_owned())),
                    None => nameless += 1,
                }
            }
        }
        if ids.is_empty() && nameless > 0 {
            let reason = format!(
                "{nameless} files have no `id`, by which alone the streaming import can delete"
            );
            return Err(ConvexError::NeedsFunctions(reason));
        }
        Ok(ids)
    }

    async fn ready_index(&self) -> Result<(), ConvexError> {
        self.client
            .add_primary_key_index(TABLE, &PRIMARY_KEY)
            .await?;
        let deadline = Instant::now() + INDEX_TIMEOUT;
        while !self.client.primary_key_index_ready(TABLE).await? {
            if Instant::now() > deadline {
                return Err(ConvexError::Timeout("build the primary key index"));
            }
            sleep(INDEX_POLL).await;
        }
        Ok(())
    }

    /// Deletes by `id`. A deletion that matches nothing any more, because another one came between,
    /// is inserted by Convex as if it were a document; the deltas since then show it, and deleting
    /// it once more removes it. If that is cut short, what was inserted is found as a file of this
    /// user by whoever deletes the user's files next. Returns how many of `doc_ids` went.
    async fn delete_by_id(
        &self,
        user: &str,
        mut ids: HashSet<String>,
        doc_ids: &[String],
    ) -> Result<u64, ConvexError> {
        #[derive(Serialize)]
        struct Deletion<'a> {
            user: &'a str,
            id: &'a str,
            #[serde(rename = "_ab_cdc_deleted_at")]
            deleted_at: i64,
        }
        let asked: HashSet<&str> = doc_ids.iter().map(String::as_str).collect();
        let mut gone: HashSet<Box<str>> = HashSet::new();
        for _ in 0..CLEANUPS {
            let before = self.client.now().await?;
            let deletions: Vec<_> = ids
                .iter()
                .map(|id| Deletion {
                    user,
                    id,
                    deleted_at: before,
                })
                .collect();
            for chunk in deletions.chunks(CHUNK) {
                self.client
                    .import_records(TABLE, &PRIMARY_KEY, chunk)
                    .await?;
            }
            let mut inserted: HashMap<Box<str>, String> = HashMap::new();
            let mut pages = self.changes(before);
            while let Some(page) = pages.try_next().await? {
                for change in page.changes {
                    match change {
                        FileChange::Put(file) if &*file.user == user && ids.contains(&*file.id) => {
                            inserted.insert(file.doc_id, file.id.into());
                        }
                        FileChange::Put(_) => {}
                        FileChange::Removed { doc_id } => {
                            inserted.remove(&doc_id);
                            if asked.contains(&*doc_id) {
                                gone.insert(doc_id);
                            }
                        }
                    }
                }
            }
            if inserted.is_empty() {
                return Ok(gone.len() as u64);
            }
            ids = inserted.into_values().collect();
        }
        Err(ConvexError::Contended)
    }
}

impl Files for ExportFiles {
    fn newest_first<'a>(&'a self, user: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        try_stream! {
            let spool = Spool::create();
            let mut walk = Walk::begin(&self.client, user).await?;
            while let Some(document) = walk.next().await? {
                let Some(file) = document.file()? else { continue };
                if !spool.put(file).await {
                    break;
                }
            }
            let mut batches = spool.newest_first().await?;
            while let Some(batch) = batches.recv().await {
                yield batch?;
            }
        }
        .boxed()
    }

    fn get_many<'a>(
        &'a self,
        user: &'a str,
        ids: &'a [String],
    ) -> BoxFuture<'a, Result<Vec<File>, ConvexError>> {
        Box::pin(async move {
            let mut missing: HashSet<&str> = ids.iter().map(String::as_str).collect();
            let mut by_id = HashMap::new();
            let mut by_doc_id = HashMap::new();
            let mut walk = Walk::begin(&self.client, user).await?;
            while !missing.is_empty()
                && let Some(document) = walk.next().await?
            {
                let doc_id = document.doc_id()?;
                if let Some(own_id) = document.own_id()?
                    && missing.remove(&*own_id)
                {
                    by_id.insert(own_id.into_owned(), kept(&document)?);
                } else if missing.contains(&*doc_id) {
                    by_doc_id.insert(doc_id.into_owned(), kept(&document)?);
                }
            }
            let file = |id| {
                by_id
                    .get(id)
                    .or_else(|| by_doc_id.get(id))
                    .cloned()
                    .flatten()
            };
            Ok(ids.iter().filter_map(file).collect())
        })
    }

    fn any<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<bool, ConvexError>> {
        Box::pin(async move { Ok(!self.list_ids(user, 1).await?.is_empty()) })
    }

    fn list_ids<'a>(
        &'a self,
        user: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, ConvexError>> {
        Box::pin(async move {
            let mut ids = HashSet::new();
            let mut walk = Walk::begin(&self.client, user).await?;
            while ids.len() < limit
                && let Some(document) = walk.next().await?
            {
                ids.insert(document.doc_id()?.into_owned());
            }
            Ok(ids.into_iter().collect())
        })
    }

    fn delete<'a>(
        &'a self,
        user: &'a str,
        doc_ids: &'a [String],
    ) -> BoxFuture<'a, Result<u64, ConvexError>> {
        Box::pin(async move {
            let ids = self.own_ids(user, doc_ids).await?;
            if ids.is_empty() {
                return Ok(0);
            }
            self.ready_index().await?;
            self.delete_by_id(user, ids, doc_ids).await
        })
    }

    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>> {
        Box::pin(self.client.now())
    }

    fn changes(&self, since: i64) -> BoxStream<'_, Result<ChangePage, ConvexError>> {
        changes(&self.client, since)
    }
}

/// A walk over one user's documents as the table was when it began, in no useful order. A page
/// whose connection breaks is asked for again from its beginning, so a document may come twice, in
/// the same revision.
struct Walk<'a> {
    client: &'a Client,
    user: &'a str,
    snapshot: i64,
    /// Where the present page began.
    cursor: Option<String>,
    /// The present page; `None` at the end of the table.
    rows: Option<RowStream<SnapshotEnd>>,
    broken: u32,
}

impl<'a> Walk<'a> {
    async fn begin(client: &'a Client, user: &'a str) -> Result<Walk<'a>, ConvexError> {
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

    async fn open_page(&mut self) -> Result<(), ConvexError> {
        let request = SnapshotRequest {
            table: TABLE.to_owned(),
            snapshot: Some(self.snapshot),
            cursor: self.cursor.clone(),
        };
        self.rows = Some(self.client.list_snapshot(request).await?);
        Ok(())
    }

    async fn next(&mut self) -> Result<Option<Document>, ConvexError> {
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
        Ok(here && document.user()?.is_some_and(|user| user == self.user))
    }
}

/// A file to keep: with bytes of its own, not a piece of a network chunk that it would hold in
/// memory.
fn kept(document: &Document) -> Result<Option<File>, ConvexError> {
    Ok(document.file()?.map(|file| File {
        json: Bytes::copy_from_slice(&file.json),
        ..file
    }))
}

#[cfg(test)]
mod tests;

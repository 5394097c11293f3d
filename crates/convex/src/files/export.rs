//! Files through the streaming export and import, which every deployment has. The export knows no
//! user and no order of time, so every read walks the table: slow, but in bounded memory.

mod delete;

use std::collections::{HashMap, HashSet};

use async_stream::try_stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};

use super::history::{DeltaBatch, changes};
use super::spool::{Rank, Spool};
use super::walk::Walk;
use super::{File, Files};
use crate::{Client, ConvexError};

pub(super) struct ExportFiles {
    client: Client,
}

impl ExportFiles {
    pub fn new(client: Client) -> ExportFiles {
        ExportFiles { client }
    }

    /// Those of the user's files that have these ids, each at the places where it is asked for. The
    /// whole table is walked: of several files with one `id` the newest may come last.
    async fn spool_by_place(&self, user: &str, ids: &[String]) -> Result<Spool, ConvexError> {
        let mut asked: HashMap<&str, Asked> = HashMap::new();
        for (place, id) in ids.iter().enumerate() {
            asked.entry(id).or_default().places.push(place);
        }
        let spool = Spool::create();
        if asked.is_empty() {
            return Ok(spool);
        }
        let mut walk = Walk::of_user(&self.client, user).await?;
        while let Some(document) = walk.next().await? {
            let (own_id, doc_id) = (document.own_id()?, document.doc_id()?);
            for (id, is_own) in [(own_id.as_deref(), true), (Some(&*doc_id), false)] {
                let Some(asked) = id.and_then(|id| asked.get_mut(id)) else {
                    continue;
                };
                let Some(file) = document.file()? else {
                    continue;
                };
                let claim = (is_own, file.created, file.doc_id.clone());
                if asked.claim.as_ref().is_some_and(|best| *best >= claim) {
                    continue;
                }
                asked.claim = Some(claim);
                for &place in &asked.places {
                    if !spool.put(Rank::by_place(place), file.clone()).await {
                        return Ok(spool);
                    }
                }
            }
        }
        Ok(spool)
    }
}

/// An id that is asked for.
#[derive(Default)]
struct Asked {
    places: Vec<usize>,
    /// The best claim to it up to now: by `id` rather than by `_id`, then the newest.
    claim: Option<(bool, f64, Box<str>)>,
}

impl Files for ExportFiles {
    fn newest_first<'a>(&'a self, user: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        try_stream! {
            let spool = Spool::create();
            let mut walk = Walk::of_user(&self.client, user).await?;
            while let Some(document) = walk.next().await? {
                let Some(file) = document.file()? else { continue };
                if !spool.put(Rank::by_age(&file), file).await {
                    break;
                }
            }
            let mut batches = spool.highest_first().await?;
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
    ) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        try_stream! {
            let spool = self.spool_by_place(user, ids).await?;
            let mut batches = spool.highest_first().await?;
            while let Some(batch) = batches.recv().await {
                yield batch?;
            }
        }
        .boxed()
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
            let mut walk = Walk::of_user(&self.client, user).await?;
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
        Box::pin(self.delete_documents(user, doc_ids))
    }

    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>> {
        Box::pin(self.client.now())
    }

    fn changes(&self, since: i64) -> BoxStream<'_, Result<DeltaBatch, ConvexError>> {
        changes(&self.client, since)
    }
}

use async_stream::try_stream;
use futures_util::{
    future::BoxFuture,
    stream::{BoxStream, StreamExt, TryStreamExt},
};
use tokio::sync::OnceCell;

use super::{
    ExportFiles, File, Files, FunctionFiles,
    history::{DeltaBatch, changes},
};
use crate::{Client, ConvexError};

/// The functions or the export, decided when first asked.
pub(super) struct AutoFiles {
    client: Client,
    decided: OnceCell<Box<dyn Files>>,
}

impl AutoFiles {
    pub fn new(client: Client) -> AutoFiles {
        AutoFiles {
            client,
            decided: OnceCell::new(),
        }
    }

    async fn decide(&self) -> Result<&dyn Files, ConvexError> {
        let files = self
            .decided
            .get_or_try_init(async || self.look().await)
            .await?;
        Ok(&**files)
    }

    async fn look(&self) -> Result<Box<dyn Files>, ConvexError> {
        let functions = FunctionFiles::new(self.client.clone());
        if functions.deployed().await? {
            tracing::info!("files are read by Convex functions");
            Ok(Box::new(functions))
        } else {
            tracing::info!(
                "files are read by the streaming export: the functions are not deployed"
            );
            Ok(Box::new(ExportFiles::new(self.client.clone())))
        }
    }
}

impl Files for AutoFiles {
    fn newest_first<'a>(&'a self, user: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>> {
        try_stream! {
            let mut batches = self.decide().await?.newest_first(user);
            while let Some(batch) = batches.try_next().await? {
                yield batch;
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
            let mut batches = self.decide().await?.get_many(user, ids);
            while let Some(batch) = batches.try_next().await? {
                yield batch;
            }
        }
        .boxed()
    }

    fn any<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<bool, ConvexError>> {
        Box::pin(async move { self.decide().await?.any(user).await })
    }

    fn list_ids<'a>(
        &'a self,
        user: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, ConvexError>> {
        Box::pin(async move { self.decide().await?.list_ids(user, limit).await })
    }

    fn delete<'a>(
        &'a self,
        user: &'a str,
        doc_ids: &'a [String],
    ) -> BoxFuture<'a, Result<u64, ConvexError>> {
        Box::pin(async move { self.decide().await?.delete(user, doc_ids).await })
    }

    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>> {
        Box::pin(self.client.now())
    }

    fn changes(&self, since: i64) -> BoxStream<'_, Result<DeltaBatch, ConvexError>> {
        changes(&self.client, since)
    }
}

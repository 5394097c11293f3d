use async_stream::try_stream;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use tokio::sync::OnceCell;

use super::history::{DeltaBatch, changes};
use super::{ExportFiles, File, Files, FunctionFiles};
use crate::{Client, ConvexError};

/// The functions, found when first asked; or else the export, if that will do.
pub(super) struct AutoFiles {
    client: Client,
    /// Whether the export is no way.
    functions_only: bool,
    decided: OnceCell<Box<dyn Files>>,
}

impl AutoFiles {
    pub fn new(client: Client, functions_only: bool) -> AutoFiles {
        AutoFiles {
            client,
            functions_only,
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
        match FunctionFiles::find(&self.client).await {
            Ok(functions) => {
                tracing::info!("files are read by Convex functions");
                return Ok(Box::new(functions));
            }
            Err(ConvexError::FunctionMissing { .. }) if !self.functions_only => {
                tracing::info!(
                    "files are read by the streaming export: the functions are not deployed"
                );
            }
            Err(error @ ConvexError::ForeignFunction { .. }) if !self.functions_only => {
                tracing::warn!(%error, "files are read by the streaming export");
            }
            Err(error) => return Err(error),
        }
        Ok(Box::new(ExportFiles::new(self.client.clone())))
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

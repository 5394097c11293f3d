//! Convex as what is behind the cache.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use sluice_convex::{ConvexError, Files};
use sluice_store::cache::{self, Entry};

use super::late_changes::entry;

/// The users' files in Convex, from which the cache is filled when it is read.
pub struct Origin(Arc<dyn Files>);

impl Origin {
    /// Entries are these files.
    pub fn new(files: Arc<dyn Files>) -> Self {
        Self(files)
    }
}

impl cache::Origin for Origin {
    type Error = ConvexError;

    async fn fetch(&self, user: &str, id: &str) -> Result<Option<Entry>, ConvexError> {
        let ids = [id.to_owned()];
        let batch = self.0.get_many(user, &ids).try_next().await;
        let batch = batch.inspect_err(|error| {
            tracing::warn!(%error, "Convex could not be read");
        })?;
        Ok(batch.and_then(|files| files.into_iter().next()).map(entry))
    }
}

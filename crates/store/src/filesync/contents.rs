//! The end of contents: what is due, what is garbage, and what nothing refers to.
//!
//! What Valkey knows of a content goes first, and nothing can refer to it from then on. Its bytes go
//! after that, and then the note that they are to go: whoever is killed in between leaves the note
//! to the next one.

use std::time::{SystemTime, UNIX_EPOCH};

use super::functions::FUNCTIONS;
use super::keys::Keys;
use super::{Filesync, FilesyncError};
use crate::StoreError;

/// The bytes of a version that nothing refers to any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Garbage {
    /// The share that it was of.
    pub share: String,
    /// The version that it was or would have become.
    pub version: String,
}

impl Garbage {
    fn name(&self) -> String {
        format!("{} {}", self.share, self.version)
    }
}

impl Filesync {
    /// Ends uploads of a tenant without progress, and versions that no change has named in time,
    /// `limit` at most. Returns how many it looked at; less than `limit` when no more are due.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn expire_contents(
        &self,
        tenant: &str,
        limit: usize,
    ) -> Result<usize, FilesyncError> {
        let unnamed = Keys::new(tenant).of("unnamed");
        let mut call = FUNCTIONS.content_expire.command(&[&unnamed]);
        call.arg(limit);
        Ok(FUNCTIONS.content_expire.run(&self.valkey, &call).await?)
    }

    /// Contents of a tenant whose bytes are to go now, `limit` at most.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn garbage(&self, tenant: &str, limit: usize) -> Result<Vec<Garbage>, FilesyncError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.unwrap_or_default().as_millis() as u64;
        let mut range = redis::cmd("ZRANGEBYSCORE");
        range
            .arg(Keys::new(tenant).of("garbage"))
            .arg("-inf")
            .arg(now)
            .arg("LIMIT")
            .arg(0)
            .arg(limit);
        let names: Vec<String> = self.valkey.query("filesync_garbage", &range).await?;
        let garbage = names.iter().map(|name| {
            let (share, version) = name.split_once(' ')?;
            Some(Garbage {
                share: share.to_owned(),
                version: version.to_owned(),
            })
        });
        let garbage: Option<_> = garbage.collect();
        garbage.ok_or_else(|| StoreError::Corrupt("garbage").into())
    }

    /// The bytes of a content are gone.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn forget_garbage(
        &self,
        tenant: &str,
        garbage: &Garbage,
    ) -> Result<(), FilesyncError> {
        let mut remove = redis::cmd("ZREM");
        remove
            .arg(Keys::new(tenant).of("garbage"))
            .arg(garbage.name());
        let _: u64 = self.valkey.query("filesync_garbage_gone", &remove).await?;
        Ok(())
    }

    /// Those of the versions that nothing refers to. A version that once was refers to nothing
    /// later, either. Of a share that is not known there is nothing to say.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn unknown_contents(
        &self,
        tenant: &str,
        share: &str,
        versions: &[String],
    ) -> Result<Vec<String>, FilesyncError> {
        let share = Keys::new(tenant).share(share);
        let mut call = FUNCTIONS.content_unknown.command(&[&share]);
        call.arg(versions);
        Ok(FUNCTIONS.content_unknown.run(&self.valkey, &call).await?)
    }
}

//! Contents on their way in and out: what the store knows of them, and where their bytes are.

use std::error::Error;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::Stream;
use sluice_objects::{Content, ContentName, Objects, ObjectsError};
use sluice_store::StoreError;
use sluice_store::filesync::{
    Caller, Filesync, FilesyncError, NewUpload, UploadState, UploadedVersion, Version,
};
use tokio::sync::Semaphore;
use tokio::task::JoinError;

use super::config::ContentsConfig;
use super::{garbage, intake};

/// How contents get in and out. Cheap to clone.
#[derive(Clone)]
pub struct Transfers {
    pub(super) filesync: Filesync,
    pub(super) objects: Objects,
    max_bytes: u64,
    /// How many more uploads this process takes.
    places: Arc<Semaphore>,
}

/// A content that a client sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewContent {
    /// The share that it is sent to.
    pub share: String,
    /// What the store keeps of it.
    pub upload: NewUpload,
    /// The SHA-256 that all of it has to have.
    pub sha256: Option<[u8; 32]>,
    /// The SHA-256 that the bytes of this request have to have.
    pub body_sha256: Option<[u8; 32]>,
}

/// A content that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Download {
    /// What the store knows of it.
    pub version: Version,
    content: Content,
}

/// Why a content was not transferred.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// The store refused it or failed.
    #[error(transparent)]
    Filesync(#[from] FilesyncError),
    /// Its bytes could not be written or read.
    #[error(transparent)]
    Objects(#[from] ObjectsError),
    /// What carried it out has failed.
    #[error("the transfer failed: {0}")]
    Task(#[from] JoinError),
    /// It is longer than any may be.
    #[error("a content must not be longer than {0} bytes")]
    TooLarge(u64),
    /// As many uploads are under way here as there may be.
    #[error("too many uploads are under way")]
    Busy,
    /// The client stopped sending.
    #[error("the content ended after {0} bytes")]
    Cut(u64),
    /// The bytes are not those that the digest is of.
    #[error("the SHA-256 of what came in is not the one that was said")]
    Digest,
    /// There are more bytes than were said.
    #[error("the content is longer than was said")]
    Length,
}

impl TransferError {
    /// Whether the content is not what its client said: then nothing of it is kept.
    pub(super) fn is_about_content(&self) -> bool {
        matches!(self, Self::Digest | Self::Length)
    }
}

impl Transfers {
    /// Of what `filesync` knows, with contents as the configuration says.
    pub fn new(filesync: Filesync, config: ContentsConfig) -> Self {
        Self {
            filesync,
            objects: config.objects,
            max_bytes: config.max_bytes,
            places: Arc::new(Semaphore::new(config.uploads)),
        }
    }

    /// Takes a content in, and makes a version of it. That goes on to the end of the body, which may
    /// break, also when nobody waits for it any more.
    ///
    /// # Errors
    /// Any [`TransferError`]. An upload with a name can be gone on with afterwards, unless its
    /// content was not what was said.
    pub async fn upload<S, E>(
        &self,
        caller: Caller,
        new: NewContent,
        body: S,
    ) -> Result<UploadedVersion, TransferError>
    where
        S: Stream<Item = Result<Bytes, E>> + Send + Unpin + 'static,
        E: Error + Send,
    {
        if new.upload.size > self.max_bytes {
            return Err(TransferError::TooLarge(self.max_bytes));
        }
        let place = self.places.clone().try_acquire_owned();
        let place = place.map_err(|_| TransferError::Busy)?;
        let transfers = self.clone();
        let taking = tokio::spawn(async move {
            let _place = place;
            intake::take(&transfers, &caller, &new, body).await
        });
        taking.await?
    }

    /// How far the caller's upload of this name is.
    ///
    /// # Errors
    /// [`TransferError::Filesync`].
    pub async fn upload_state(
        &self,
        caller: &Caller,
        share: &str,
        file: &str,
        name: &str,
    ) -> Result<UploadState, TransferError> {
        Ok(self.filesync.upload(caller, share, file, name).await?)
    }

    /// Ends the caller's upload of this name without a version. A version that it has become stays.
    ///
    /// # Errors
    /// [`TransferError::Filesync`].
    pub async fn abort(
        &self,
        caller: &Caller,
        share: &str,
        file: &str,
        name: &str,
    ) -> Result<(), TransferError> {
        let state = self.filesync.upload(caller, share, file, name).await?;
        self.end(caller, share, &state.version, None).await
    }

    /// Ends an upload, if this writer has it, and removes its bytes. What cannot be removed now is
    /// left to the sweep.
    pub(super) async fn end(
        &self,
        caller: &Caller,
        share: &str,
        version: &str,
        writer: Option<u64>,
    ) -> Result<(), TransferError> {
        let ended = self.filesync.end_upload(caller, share, version, writer);
        if ended.await? {
            let name = name(&caller.tenant, share, version);
            if let Err(error) = garbage::remove(&self.filesync, &self.objects, &name).await {
                tracing::warn!(%error, version, "the bytes of an upload are left to the sweep");
            }
        }
        Ok(())
    }

    /// A version of a file, or the one that it has now.
    ///
    /// # Errors
    /// [`TransferError::Filesync`].
    pub async fn find(
        &self,
        caller: &Caller,
        file: &str,
        version: Option<&str>,
    ) -> Result<Download, TransferError> {
        let version = self.filesync.version(caller, file, version).await?;
        let layout = version.parts.parse();
        let layout = layout.map_err(|_| FilesyncError::from(StoreError::Corrupt("a version")))?;
        let content = Content {
            name: name(&caller.tenant, &version.share, &version.id),
            size: version.size,
            layout,
        };
        Ok(Download { version, content })
    }

    /// The bytes of a range of what was found, in pieces.
    pub fn read(
        &self,
        download: Download,
        range: Range<u64>,
    ) -> impl Stream<Item = Result<Bytes, ObjectsError>> + Send + use<> {
        self.objects.read(download.content, range)
    }
}

/// What the bytes of a version are called.
pub(super) fn name(tenant: &str, share: &str, version: &str) -> ContentName {
    ContentName {
        tenant: tenant.to_owned(),
        share: share.to_owned(),
        version: version.to_owned(),
    }
}

//! Uploads: contents on their way into a share.
//!
//! An upload reserves its length, so that it cannot fail for want of room in the end. One writer at a
//! time has it: whoever opens it anew takes it over. It ends as a version that belongs to its user
//! until a change names it, or without one. What is known of its bytes, `parts` and `hash`, is only
//! kept here; whoever writes them knows what it means.

use std::time::Duration;

use redis::{FromRedisValue, Value};

use super::functions::FUNCTIONS;
use super::shares::call;
use super::{Caller, Filesync, FilesyncError, is_id, new_id};
use crate::StoreError;

/// How long an upload lives without progress, and a version without a change that names it.
const LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// As [`LIFE`], of an upload without a name: nobody can go on with it once its writer is gone.
const NAMELESS_LIFE: Duration = Duration::from_secs(60 * 60);

/// What is to be uploaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewUpload {
    /// The file whose content it is; it may be one that is made later.
    pub file: String,
    /// What its user calls it, to go on with it after an interruption.
    pub name: Option<String>,
    /// The length of the content, in bytes.
    pub size: u64,
    /// Where to go on, in bytes; 0 to begin, or to begin anew.
    pub offset: u64,
    /// The media type.
    pub mime: String,
}

/// An upload that the caller writes, until another one opens it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// The version that it becomes.
    pub version: String,
    /// Up to where its bytes are durable.
    pub offset: u64,
    /// The number of this writer; no two of an upload have the same.
    pub writer: u64,
    /// As [`Filesync::advance_upload`] left it.
    pub parts: String,
    /// As [`Filesync::advance_upload`] left it.
    pub hash: Vec<u8>,
    share: String,
    life: Duration,
}

/// What comes of opening an upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is the caller's to write.
    Open(Upload),
    /// It was finished before.
    Made(UploadedVersion),
}

/// The version that an upload has become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadedVersion {
    /// Its id.
    pub id: String,
    /// The length in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadState {
    /// The version that it becomes or has become.
    pub version: String,
    /// The length of the content, in bytes.
    pub size: u64,
    /// Up to where its bytes are durable.
    pub offset: u64,
    /// Whether it is finished.
    pub is_made: bool,
}

sluice_valkey::statuses! {
    /// How a call about an upload went.
    enum Status {
        Open = "open",
        Advanced = "advanced",
        Made = "made",
        Ended = "ended",
        Elsewhere = "elsewhere",
        Outrun = "outrun",
        Reused = "reused",
        Full = "full",
        Gone = "gone",
        Forbidden = "forbidden",
        NotFound = "not_found",
    }
}

impl Status {
    /// What the caller is told when it is none of those that a call expects.
    fn error(self) -> FilesyncError {
        match self {
            Self::Outrun => FilesyncError::UploadOutrun,
            Self::Reused => FilesyncError::UploadReused,
            Self::Full => FilesyncError::QuotaExceeded,
            Self::Gone => FilesyncError::NotFound("upload"),
            Self::Forbidden => FilesyncError::Forbidden,
            Self::NotFound => FilesyncError::NotFound("share"),
            Self::Open | Self::Advanced | Self::Made | Self::Ended | Self::Elsewhere => {
                StoreError::Corrupt("an upload").into()
            }
        }
    }
}

impl Filesync {
    /// Opens an upload, or takes over the caller's of that name. The share's quota bounds what is
    /// reserved.
    ///
    /// # Errors
    /// [`FilesyncError::QuotaExceeded`]; [`FilesyncError::UploadElsewhere`] when there is another
    /// offset to go on from; [`FilesyncError::UploadReused`] when the name is of another file or
    /// length; [`FilesyncError::NotFound`] when there is nothing to go on with, or no such share or
    /// file; [`FilesyncError::Forbidden`], [`FilesyncError::Store`].
    pub async fn open_upload(
        &self,
        caller: &Caller,
        share: &str,
        new: &NewUpload,
    ) -> Result<Opened, FilesyncError> {
        let name = new.name.as_deref().unwrap_or_default();
        if !is_id(&new.file) || !(name.is_empty() || is_id(name)) {
            return Err(FilesyncError::NotFound("file"));
        }
        let life = if name.is_empty() { NAMELESS_LIFE } else { LIFE };
        let mut call = call(&FUNCTIONS.upload_open, caller, share);
        call.arg(&new.file)
            .arg(name)
            .arg(new_id("ver"))
            .arg(new.size)
            .arg(new.offset)
            .arg(&new.mime)
            .arg(life.as_millis() as u64);
        let answer = FUNCTIONS.upload_open.run(&self.valkey, &call).await?;
        let mut answer = Answer::of(answer);
        match answer.take()? {
            Status::Open => Ok(Opened::Open(Upload {
                version: answer.take()?,
                offset: answer.take()?,
                writer: answer.take()?,
                parts: answer.take()?,
                hash: answer.take()?,
                share: share.to_owned(),
                life,
            })),
            Status::Made => Ok(Opened::Made(UploadedVersion {
                id: answer.take()?,
                size: answer.take()?,
                sha256: answer.take()?,
            })),
            Status::Elsewhere => Err(FilesyncError::UploadElsewhere(answer.take()?)),
            status => Err(status.error()),
        }
    }

    /// Takes note that an upload is durable up to an offset, and gives it more time.
    ///
    /// # Errors
    /// [`FilesyncError::UploadOutrun`], [`FilesyncError::NotFound`] when it has ended or the share is
    /// not the caller's any more, [`FilesyncError::Forbidden`], [`FilesyncError::Store`].
    pub async fn advance_upload(
        &self,
        caller: &Caller,
        upload: &Upload,
        offset: u64,
        parts: &str,
        hash: &[u8],
    ) -> Result<(), FilesyncError> {
        let mut call = call(&FUNCTIONS.upload_advance, caller, &upload.share);
        call.arg(&upload.version)
            .arg(upload.writer)
            .arg(offset)
            .arg(parts)
            .arg(hash)
            .arg(upload.life.as_millis() as u64);
        match FUNCTIONS.upload_advance.run(&self.valkey, &call).await? {
            Status::Advanced => Ok(()),
            status => Err(status.error()),
        }
    }

    /// Makes a version of an upload all of whose bytes are durable.
    ///
    /// # Errors
    /// As [`Filesync::advance_upload`].
    pub async fn finish_upload(
        &self,
        caller: &Caller,
        upload: &Upload,
        parts: &str,
        sha256: &str,
    ) -> Result<(), FilesyncError> {
        let mut call = call(&FUNCTIONS.upload_finish, caller, &upload.share);
        call.arg(&upload.version)
            .arg(upload.writer)
            .arg(parts)
            .arg(sha256)
            .arg(LIFE.as_millis() as u64);
        match FUNCTIONS.upload_finish.run(&self.valkey, &call).await? {
            Status::Made => Ok(()),
            status => Err(status.error()),
        }
    }

    /// How far the caller's upload of this name is.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`], [`FilesyncError::Store`].
    pub async fn upload(
        &self,
        caller: &Caller,
        share: &str,
        file: &str,
        name: &str,
    ) -> Result<UploadState, FilesyncError> {
        if !is_id(file) || !is_id(name) {
            return Err(FilesyncError::NotFound("upload"));
        }
        let mut call = call(&FUNCTIONS.upload_look, caller, share);
        call.arg(file).arg(name);
        let answer = FUNCTIONS.upload_look.run(&self.valkey, &call).await?;
        let mut answer = Answer::of(answer);
        match answer.take()? {
            status @ (Status::Open | Status::Made) => Ok(UploadState {
                version: answer.take()?,
                size: answer.take()?,
                offset: answer.take()?,
                is_made: status == Status::Made,
            }),
            status => Err(status.error()),
        }
    }

    /// Ends an upload of the caller's without a version, if this writer has it; without a writer,
    /// whoever has it. Returns whether there was one. Its bytes are garbage then.
    ///
    /// # Errors
    /// [`FilesyncError::UploadOutrun`], [`FilesyncError::Store`].
    pub async fn end_upload(
        &self,
        caller: &Caller,
        share: &str,
        version: &str,
        writer: Option<u64>,
    ) -> Result<bool, FilesyncError> {
        let key = Self::keys(caller).share(share);
        let mut call = FUNCTIONS.upload_end.command(&[&key]);
        call.arg(&caller.user)
            .arg(version)
            .arg(writer.map(|it| it.to_string()).unwrap_or_default());
        match FUNCTIONS.upload_end.run(&self.valkey, &call).await? {
            Status::Ended => Ok(true),
            Status::Gone => Ok(false),
            status => Err(status.error()),
        }
    }
}

/// What a function returns: a status word and what follows it.
pub(super) struct Answer(std::vec::IntoIter<Value>);

impl Answer {
    pub fn of(values: Vec<Value>) -> Self {
        Self(values.into_iter())
    }

    /// What follows, all of one kind.
    pub fn rest<T: FromRedisValue>(mut self) -> impl Iterator<Item = Result<T, FilesyncError>> {
        let count = self.0.len();
        (0..count).map(move |_| self.take())
    }

    pub fn take<T: FromRedisValue>(&mut self) -> Result<T, FilesyncError> {
        let value = self.0.next();
        let value = value.and_then(|value| redis::from_redis_value(value).ok());
        value.ok_or_else(|| StoreError::Corrupt("an upload or a version").into())
    }
}

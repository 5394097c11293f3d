//! Versions: contents of files that are there as a whole.

use redis::{Cmd, Value};
use sluice_valkey::Function;

use super::functions::FUNCTIONS;
use super::uploads::Answer;
use super::{Caller, Filesync, FilesyncError, is_id};

/// Most versions of a file that are kept.
pub const MAX_VERSIONS: usize = 100;

/// A version that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The share that it is of.
    pub share: String,
    /// Its id.
    pub id: String,
    /// The length in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// The media type, as its uploader named it.
    pub mime: String,
    /// Where its bytes are, as its uploader left it.
    pub parts: String,
}

/// A version that a change has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptVersion {
    /// Its id.
    pub id: String,
    /// The length in bytes.
    pub size: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// The media type, as its uploader named it.
    pub mime: String,
    /// Who uploaded it.
    pub user: String,
    /// When it was uploaded, in ms since 1970.
    pub uploaded_at: u64,
    /// When it became the file's content, the last time, in ms since 1970.
    pub applied_at: u64,
}

sluice_valkey::statuses! {
    enum Status {
        Found = "found",
        NotFound = "not_found",
    }
}

impl Filesync {
    /// The version of a file, or the one that it has now, in whichever of its shares the caller can
    /// see.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn version(
        &self,
        caller: &Caller,
        file: &str,
        version: Option<&str>,
    ) -> Result<Version, FilesyncError> {
        let missing = FilesyncError::NotFound("file or version");
        if !is_id(file) {
            return Err(missing);
        }
        let mut call = Self::of_file(&FUNCTIONS.version_read, caller, file);
        call.arg(version.unwrap_or_default());
        let answer: Vec<Value> = FUNCTIONS.version_read.run(&self.valkey, &call).await?;
        let mut answer = Answer::of(answer);
        match answer.take()? {
            Status::Found => Ok(Version {
                share: answer.take()?,
                id: answer.take()?,
                size: answer.take()?,
                sha256: answer.take()?,
                mime: answer.take()?,
                parts: answer.take()?,
            }),
            Status::NotFound => Err(missing),
        }
    }

    /// The kept versions of a file, the newest first, `limit` at most.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn versions(
        &self,
        caller: &Caller,
        file: &str,
        limit: usize,
    ) -> Result<Vec<KeptVersion>, FilesyncError> {
        let missing = FilesyncError::NotFound("file");
        if !is_id(file) {
            return Err(missing);
        }
        let mut call = Self::of_file(&FUNCTIONS.version_list, caller, file);
        call.arg(limit);
        let answer: Vec<Value> = FUNCTIONS.version_list.run(&self.valkey, &call).await?;
        let mut answer = Answer::of(answer);
        match answer.take()? {
            Status::Found => answer.rest().map(|version| read(version?)).collect(),
            Status::NotFound => Err(missing),
        }
    }

    /// The call of a function that looks for a file in the shares that have it.
    fn of_file(function: &Function, caller: &Caller, file: &str) -> Cmd {
        let home = Self::keys(caller).of(&format!("home:{file}"));
        let mut call = function.read_only_command(&[&home]);
        call.arg(&caller.user).arg(caller.groups_json()).arg(file);
        call
    }
}

fn read(version: Vec<Value>) -> Result<KeptVersion, FilesyncError> {
    let mut version = Answer::of(version);
    Ok(KeptVersion {
        id: version.take()?,
        size: version.take()?,
        sha256: version.take()?,
        mime: version.take()?,
        user: version.take()?,
        uploaded_at: version.take()?,
        applied_at: version.take()?,
    })
}

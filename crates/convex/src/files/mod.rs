//! The files of one user, as documents of the table `files`, and the [`history`] of all of them.
//!
//! Two ways lead to them: functions that use indexes, when they are deployed, and the
//! streaming export and import, which every deployment has but which read the whole table. Both
//! give the same files.

mod auto;
mod document;
mod export;
mod functions;
pub mod history;
mod spool;
mod walk;

use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;

use self::auto::AutoFiles;
use self::export::ExportFiles;
use self::functions::FunctionFiles;
use self::history::DeltaBatch;
use crate::{Client, ConvexError};

/// The table that holds the files, one document each.
pub(crate) const TABLE: &str = "files";

/// A batch is closed at this many bytes of JSON,
const BATCH_BYTES: usize = 1 << 20;
/// or at this many files.
const BATCH_FILES: usize = 512;

/// One file: its document as raw JSON, and what is needed to know of it.
#[derive(Debug, Clone, PartialEq)]
pub struct File {
    /// The document's field `id` if that is a non-empty string, else its `_id`.
    pub id: Box<str>,
    /// The `_id` that Convex gave the document.
    pub doc_id: Box<str>,
    /// The owner.
    pub user: Box<str>,
    /// `_creationTime`: ms since 1970, with a fraction.
    pub created: f64,
    /// The document as a JSON object. Has `id` for certain, and none of `_component`, `_table`,
    /// `_ts` and `_deleted`.
    pub json: Bytes,
}

/// What a transaction did to a document.
#[derive(Debug, Clone, PartialEq)]
pub struct FileChange {
    /// When it was committed, ns. A document changes at most once in a transaction.
    pub ts: i64,
    /// The document's `_id`.
    pub doc_id: Box<str>,
    /// The file as it is since then, perhaps another user's than before. `None`: the document was
    /// deleted, or has no owner any more.
    pub file: Option<File>,
}

/// The files of a deployment. Documents without a `user` (a non-empty string) are no files.
pub trait Files: Send + Sync {
    /// The user's files, newest first (by `_creationTime`, then `_id`), in batches of about 1 MB or
    /// 512 files. More is read ahead while a batch is consumed, never more than three pages. A user
    /// without files gives an empty stream.
    fn newest_first<'a>(&'a self, user: &'a str) -> BoxStream<'a, Result<Vec<File>, ConvexError>>;

    /// Those of the user's files that have these ids, in the order of `ids`, in batches of about 1
    /// MB or 512 files. Of several files with one `id` it is the newest (by `_creationTime`, then
    /// `_id`). An id which no file has as its `id` may also be an `_id`; one that no file has is
    /// left out. Memory does not grow with the number of ids or the size of their files.
    fn get_many<'a>(
        &'a self,
        user: &'a str,
        ids: &'a [String],
    ) -> BoxStream<'a, Result<Vec<File>, ConvexError>>;

    /// Whether the user has a file at all.
    fn any<'a>(&'a self, user: &'a str) -> BoxFuture<'a, Result<bool, ConvexError>>;

    /// The `_id`s of at most `limit` of the user's files, for [`Self::delete`].
    fn list_ids<'a>(
        &'a self,
        user: &'a str,
        limit: usize,
    ) -> BoxFuture<'a, Result<Vec<String>, ConvexError>>;

    /// Deletes those of these documents that are the user's; tells how many were there. Idempotent.
    /// Through the import, documents without an `id` stay, and where the table's primary key index
    /// is by `id` alone, those whose `id` another user's document has:
    /// [`ConvexError::NeedsFunctions`] when only such are left, or when that index is by other
    /// fields.
    fn delete<'a>(
        &'a self,
        user: &'a str,
        doc_ids: &'a [String],
    ) -> BoxFuture<'a, Result<u64, ConvexError>>;

    /// The deployment's present time, ns: the place to start [`Self::changes`] from.
    fn now(&self) -> BoxFuture<'_, Result<i64, ConvexError>>;

    /// The changes to all users' files after `since` (ns), until none is known to follow; see
    /// [`DeltaWalk`](history::DeltaWalk).
    fn changes(&self, since: i64) -> BoxStream<'_, Result<DeltaBatch, ConvexError>>;
}

/// Which way to the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilesVia {
    /// The functions of `crates/convex/functions`; an error if they are not deployed.
    Functions,
    /// The streaming export and import.
    Export,
    /// The functions if the deployment has them when first asked, else the export. Functions of the
    /// application that have their names are not taken for them. Remembered until restart.
    #[default]
    Auto,
}

/// The files of the deployment behind `client`.
pub fn files(client: Client, via: FilesVia) -> Arc<dyn Files> {
    match via {
        FilesVia::Functions => Arc::new(AutoFiles::new(client, true)),
        FilesVia::Export => Arc::new(ExportFiles::new(client)),
        FilesVia::Auto => Arc::new(AutoFiles::new(client, false)),
    }
}

/// Whether the deployment has the functions of `crates/convex/functions`.
/// [`ConvexError::FunctionMissing`] or [`ConvexError::ForeignFunction`] when it has not.
pub async fn find_functions(client: &Client) -> Result<(), ConvexError> {
    FunctionFiles::find(client).await.map(drop)
}

/// Collects files until a batch is full.
#[derive(Default)]
struct Batch {
    files: Vec<File>,
    bytes: usize,
}

impl Batch {
    /// Adds a file; gives the batch if that filled it.
    fn push(&mut self, file: File) -> Option<Vec<File>> {
        self.bytes += file.json.len();
        self.files.push(file);
        (self.bytes >= BATCH_BYTES || self.files.len() >= BATCH_FILES)
            .then(|| std::mem::take(self).files)
    }

    /// What is left.
    fn rest(self) -> Option<Vec<File>> {
        (!self.files.is_empty()).then_some(self.files)
    }
}

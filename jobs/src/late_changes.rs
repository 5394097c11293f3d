//! Changes that Convex accepts while a job copies a user's files.
//!
//! Pages of a user's files are read one after the other, not at one instant, so a file may change after its page was
//! read. Each job notes Convex's time before it reads and afterwards applies what the change feed has since then.

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sluice_convex::{ChangePage, ConvexError, File, FileChange, Files};
use sluice_store::cache::{Cache, Change, Entry};

use crate::failure::Failure;

/// The feed of file changes from a moment on, seen by one user.
pub(crate) struct LateChanges<'a> {
    files: &'a dyn Files,
    user: &'a str,
    cursor: i64,
    pages: Option<BoxStream<'a, Result<ChangePage, ConvexError>>>,
}

impl<'a> LateChanges<'a> {
    /// Starts at Convex's present time: call it before the first read.
    pub(crate) async fn from_now(files: &'a dyn Files, user: &'a str) -> Result<Self, ConvexError> {
        let cursor = files.now().await?;
        Ok(Self {
            files,
            user,
            cursor,
            pages: None,
        })
    }

    /// The next changes in the order of their happening; `None` when the feed is exhausted. May be called again then.
    ///
    /// A file that now belongs to somebody else counts as removed, as does a deleted one. Removals of files which the
    /// user never had are among them: a tombstone does not say whose file it was.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Change>>, ConvexError> {
        let pages = self
            .pages
            .get_or_insert_with(|| self.files.changes(self.cursor));
        let Some(page) = pages.try_next().await? else {
            self.pages = None;
            return Ok(None);
        };
        self.cursor = page.cursor;
        let changes = page.changes.into_iter();
        Ok(Some(
            changes
                .map(|change| as_seen_by(self.user, change))
                .collect(),
        ))
    }

    /// Brings what is cached of the user up to date.
    pub(crate) async fn apply_to(&mut self, cache: &Cache) -> Result<(), Failure> {
        while let Some(changes) = self.next().await? {
            cache.amend(self.user, &changes).await?;
        }
        Ok(())
    }
}

fn as_seen_by(user: &str, change: FileChange) -> Change {
    match change {
        FileChange::Put(file) if *file.user == *user => Change::Put(entry(file)),
        FileChange::Put(File { doc_id, .. }) | FileChange::Removed { doc_id } => {
            Change::Remove { doc_id }
        }
    }
}

/// The cache entry of a file.
pub(crate) fn entry(file: File) -> Entry {
    Entry {
        id: file.id,
        doc_id: file.doc_id,
        json: file.json,
    }
}

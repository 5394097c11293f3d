//! Changes that Convex accepts while a job copies a user's files.
//!
//! Pages of a user's files are read one after the other, not at one instant, so a file may change after its page was
//! read. Each job notes Convex's time before it reads and afterwards applies what the change feed has since then.

use futures_util::TryStreamExt;
use sluice_convex::client::ConvexError;
use sluice_convex::files::{File, FileChange, Files};
use sluice_store::{Change, Entry};

/// How many changes are handed on at once.
const BATCH: usize = 500;

/// The feed of file changes from a moment on, seen by one user.
pub(crate) struct LateChanges<'a> {
    files: &'a dyn Files,
    user: &'a str,
    cursor: i64,
}

impl<'a> LateChanges<'a> {
    /// Starts at Convex's present time: call it before the first read.
    pub(crate) async fn from_now(files: &'a dyn Files, user: &'a str) -> Result<Self, ConvexError> {
        let cursor = files.now().await?;
        Ok(Self {
            files,
            user,
            cursor,
        })
    }

    /// Hands everything since the last call to `apply`, in the order of its happening, until the feed is exhausted.
    ///
    /// A file that now belongs to somebody else counts as removed, as does a deleted one. Removals of files which the
    /// user never had are among them: a tombstone does not say whose file it was.
    pub(crate) async fn drain<E, F>(&mut self, mut apply: F) -> Result<(), E>
    where
        E: From<ConvexError>,
        F: AsyncFnMut(&[Change]) -> Result<(), E>,
    {
        let mut pages = self.files.changes(self.cursor);
        while let Some(page) = pages.try_next().await? {
            let changes: Vec<Change> = page
                .changes
                .into_iter()
                .map(|change| as_seen_by(self.user, change))
                .collect();
            for batch in changes.chunks(BATCH) {
                apply(batch).await?;
            }
            self.cursor = page.cursor;
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

//! Changes that Convex accepts while a job copies a user's files.
//!
//! Pages of a user's files are read one after the other, not at one instant, so a file may change after its page was
//! read. Each job notes Convex's time before it reads and afterwards applies what the change feed has since then.

use futures_util::TryStreamExt;
use futures_util::stream::BoxStream;
use sluice_convex::files::history::DeltaBatch;
use sluice_convex::{ConvexError, File, FileChange, Files};
use sluice_store::cache::{Cache, Change, ChangeKind, Entry};

use crate::failure::Failure;

/// The feed of file changes from a moment on, seen by one user.
pub(crate) struct LateChanges<'a> {
    files: &'a dyn Files,
    user: &'a str,
    cursor: i64,
    batches: Option<BoxStream<'a, Result<DeltaBatch, ConvexError>>>,
}

impl<'a> LateChanges<'a> {
    /// Starts at Convex's present time: call it before the first read.
    pub(crate) async fn from_now(files: &'a dyn Files, user: &'a str) -> Result<Self, ConvexError> {
        let cursor = files.now().await?;
        Ok(Self {
            files,
            user,
            cursor,
            batches: None,
        })
    }

    /// The time (ns) up to which every change has been given. Whatever was read since this was made is as new as that.
    pub(crate) fn as_of(&self) -> i64 {
        self.cursor
    }

    /// The next changes in the order of their happening; `None` when the feed is exhausted. May be called again then.
    ///
    /// A file that now belongs to somebody else counts as removed, as does a deleted one. Removals of files which the
    /// user never had are among them: a tombstone does not say whose file it was.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Change>>, ConvexError> {
        let batches = self
            .batches
            .get_or_insert_with(|| self.files.changes(self.cursor));
        let Some(batch) = batches.try_next().await? else {
            self.batches = None;
            return Ok(None);
        };
        if let Some(end) = batch.end {
            self.cursor = end.cursor;
        }
        let changes = batch.changes.into_iter();
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
    let kind = match change.file {
        Some(file) if *file.user == *user => ChangeKind::Put(entry(file)),
        Some(File { id, .. }) => ChangeKind::Remove { id: Some(id) },
        None => ChangeKind::Remove { id: None },
    };
    Change {
        ts: change.ts,
        doc_id: change.doc_id,
        kind,
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

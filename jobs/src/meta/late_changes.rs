//! Changes that Convex accepts while a job copies a user's files.
//!
//! Pages of a user's files are read one after the other, not at one instant, so a file may change
//! after its page was read. Each job notes Convex's time before it reads and afterwards applies
//! what the change feed has since then. Where a document left an id, Convex is asked for the next
//! one that has it.

use std::collections::HashSet;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};
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

    /// The time (ns) up to which every change has been given. Whatever was read since this was made
    /// is as new as that.
    pub(crate) fn as_of(&self) -> i64 {
        self.cursor
    }

    /// The next changes in the order of their happening; `None` when the feed is exhausted. May be
    /// called again then.
    ///
    /// A file that now belongs to another user counts as removed, as does a deleted one. Removals
    /// of files which the user never had are among them: a tombstone does not say whose file it
    /// was.
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
        let mut left = Vec::new();
        while let Some(changes) = self.next().await? {
            left.extend(cache.amend(self.user, &changes).await?);
        }
        let mut found = self.successors(&left);
        while let Some(changes) = found.try_next().await? {
            cache.succeed(self.user, &changes).await?;
        }
        Ok(())
    }

    /// The documents that have these ids, which others left in the changes given so far.
    pub(crate) fn successors<'b>(
        &'b self,
        ids: &'b [String],
    ) -> BoxStream<'b, Result<Vec<Change>, ConvexError>> {
        successors(self.files, self.user, ids, self.cursor)
    }
}

/// The user's documents that have these ids now, in the revisions that hold since `since` (ns) or
/// later. A tombstone says nothing of other documents with the id of the one that went, of which
/// the newest is to be shown in its place.
pub(crate) fn successors<'a>(
    files: &'a dyn Files,
    user: &'a str,
    ids: &'a [String],
    since: i64,
) -> BoxStream<'a, Result<Vec<Change>, ConvexError>> {
    if ids.is_empty() {
        return stream::empty().boxed();
    }
    let asked: HashSet<&str> = ids.iter().map(String::as_str).collect();
    files
        .get_many(user, ids)
        .map_ok(move |found| {
            // What was found by its `_id` may have another id.
            let found = found.into_iter().filter(|file| asked.contains(&*file.id));
            found.map(|file| put(file, since)).collect()
        })
        .boxed()
}

fn as_seen_by(user: &str, change: FileChange) -> Change {
    let kind = match change.file {
        Some(file) if *file.user == *user => return put(file, change.ts),
        Some(File { id, .. }) => ChangeKind::Remove { id: Some(id) },
        None => ChangeKind::Remove { id: None },
    };
    Change {
        ts: change.ts,
        doc_id: change.doc_id,
        kind,
    }
}

fn put(file: File, ts: i64) -> Change {
    Change {
        ts,
        doc_id: file.doc_id.clone(),
        kind: ChangeKind::Put(entry(file)),
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

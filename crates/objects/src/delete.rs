//! Removing contents, and what writes that were killed have left.

use std::path::Path;
use std::time::SystemTime;

use futures_util::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use tokio::task::spawn_blocking;
use walkdir::{DirEntry, WalkDir};

use crate::attempts::{Attempts, limited};
use crate::{ContentName, Objects, ObjectsError};

impl Objects {
    /// Removes all parts that there are of a content, whoever wrote them; returns how many. May be
    /// called again, and for a content that is not there.
    ///
    /// # Errors
    /// When the store fails; some parts may be left then.
    pub async fn delete(&self, name: &ContentName) -> Result<u64, ObjectsError> {
        let mut attempts = Attempts::of("delete");
        let mut deleted = 0;
        while let Err(error) = self.delete_once(name, &mut deleted).await {
            attempts.failed(error).await?;
        }
        Ok(deleted)
    }

    async fn delete_once(&self, name: &ContentName, deleted: &mut u64) -> Result<(), ObjectsError> {
        let parts = self.store.list(Some(&name.path()));
        let parts = parts.map_ok(|part| part.location).boxed();
        let mut outcomes = self.store.delete_stream(parts);
        while let Some(outcome) =
            limited(async { Ok::<_, ObjectsError>(outcomes.next().await) }).await?
        {
            match outcome.map_err(ObjectsError::from) {
                Ok(_) => *deleted += 1,
                // Another one was faster.
                Err(ObjectsError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Removes what has been left in a folder by writes that were killed, and folders that are empty,
    /// unless they are younger than `before`. Returns how many. A cloud has no such things.
    ///
    /// # Errors
    /// [`ObjectsError::Folder`].
    pub async fn delete_leftovers(&self, before: SystemTime) -> Result<u64, ObjectsError> {
        let Some(folder) = self.folder.clone() else {
            return Ok(0);
        };
        let deleted = spawn_blocking(move || delete_leftovers(&folder, before)).await;
        deleted.map_err(|error| object_store::Error::from(error).into())
    }
}

fn delete_leftovers(folder: &Path, before: SystemTime) -> u64 {
    let entries = WalkDir::new(folder).min_depth(1).contents_first(true);
    let mut deleted = 0;
    // What cannot be looked at or removed now is there the next time, too.
    for entry in entries.into_iter().flatten() {
        let modified = entry.metadata().ok().and_then(|it| it.modified().ok());
        if modified.is_none_or(|at| at >= before) {
            continue;
        }
        let is_gone = match entry.file_type().is_dir() {
            // One with something in it is not removed by this.
            true => std::fs::remove_dir(entry.path()).is_ok(),
            false => is_leftover(&entry) && std::fs::remove_file(entry.path()).is_ok(),
        };
        deleted += u64::from(is_gone);
    }
    deleted
}

/// Whether it is a file that a write begins with, before it gives it its name: that name, `#` and a
/// number.
fn is_leftover(entry: &DirEntry) -> bool {
    let name = entry.file_name().to_string_lossy();
    name.rsplit_once('#')
        .is_some_and(|(_, number)| number.bytes().all(|byte| byte.is_ascii_digit()))
}

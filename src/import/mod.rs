//! Metadata of files on this machine, into Convex through its streaming import.
//!
//! Records are replaced by their `id`, so that importing the same folder again changes nothing but
//! what changed.

mod record;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use sluice_convex::Client;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep};
use walkdir::WalkDir;

use crate::failure::{Context, Failure};

/// The table that holds one document per file.
const TABLE: &str = "files";

/// By which field a record replaces an earlier one.
const PRIMARY_KEY: &str = "id";

/// The most that one request carries. Convex takes 16 MiB in one transaction, and one request is
/// read whole.
const BATCH_BYTES: usize = 3_500_000;

/// One transaction of Convex takes at most 16,000 documents.
const BATCH_RECORDS: usize = 8_000;

/// How long Convex may take to build the index of the primary key.
const INDEX_LIMIT: Duration = Duration::from_secs(60);
const INDEX_PAUSE: Duration = Duration::from_millis(100);

/// What has been imported so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Imported {
    pub files: u64,
    /// Of the records, not of the files they speak of.
    pub bytes: u64,
}

/// What was passed over because it could not be read.
#[derive(Debug, Default)]
pub struct Unreadable {
    /// Files and folders.
    pub count: u64,
    /// The first of them, and why.
    pub first: Option<String>,
}

impl Unreadable {
    fn add(&mut self, what: impl ToString) {
        self.count += 1;
        self.first.get_or_insert_with(|| what.to_string());
    }
}

/// A request's worth of records, as JSON.
#[derive(Default)]
struct Batch {
    records: Vec<Box<RawValue>>,
    bytes: usize,
}

/// The regular files below `root`, in a stable order, and an error for each folder that cannot be
/// read; links are not followed.
pub fn files_below(root: &Path) -> impl Iterator<Item = walkdir::Result<PathBuf>> + Send + use<> {
    WalkDir::new(root)
        .sort_by_file_name()
        .into_iter()
        .filter(|found| !matches!(found, Ok(entry) if !entry.file_type().is_file()))
        .map(|found| found.map(walkdir::DirEntry::into_path))
}

/// Imports a record for each of `files` as `user`'s, and calls `report` after each request.
///
/// Memory is bounded by a few requests: the files are walked while earlier ones are sent.
pub async fn import(
    client: &Client,
    user: &str,
    files: impl Iterator<Item = walkdir::Result<PathBuf>> + Send + 'static,
    mut report: impl FnMut(Imported),
) -> Result<(Imported, Unreadable), Failure> {
    prepare_table(client).await?;
    let (sender, mut batches) = mpsc::channel(1);
    let owner = user.to_owned();
    let walk = tokio::task::spawn_blocking(move || send_batches(&owner, files, &sender));

    let mut imported = Imported::default();
    while let Some(batch) = batches.recv().await {
        let Batch { records, bytes } = batch;
        imported.files += records.len() as u64;
        imported.bytes += bytes as u64;
        client
            .import_records(TABLE, &[PRIMARY_KEY], &records)
            .await
            .context("cannot import into Convex")?;
        report(imported);
    }
    let unreadable = walk.await.context("the walk over the files ended early")?;
    Ok((imported, unreadable))
}

/// Has Convex index the primary key, which replacing by it needs.
async fn prepare_table(client: &Client) -> Result<(), Failure> {
    client
        .add_primary_key_index(TABLE, &[PRIMARY_KEY])
        .await
        .context("cannot prepare Convex for the import")?;
    let begun = Instant::now();
    loop {
        let ready = client
            .primary_key_index_ready(TABLE)
            .await
            .context("cannot prepare Convex for the import")?;
        if ready {
            return Ok(());
        }
        if begun.elapsed() > INDEX_LIMIT {
            return Err(Failure::new(format!(
                "Convex is still indexing `{TABLE}` after {} s",
                INDEX_LIMIT.as_secs()
            ))
            .hint("start the import again later"));
        }
        sleep(INDEX_PAUSE).await;
    }
}

/// Ends early when nobody takes the batches any more. Returns what was passed over.
fn send_batches(
    user: &str,
    files: impl Iterator<Item = walkdir::Result<PathBuf>>,
    sender: &mpsc::Sender<Batch>,
) -> Unreadable {
    let mut batch = Batch::default();
    let mut unreadable = Unreadable::default();
    for file in files {
        let file = match file {
            Ok(file) => file,
            Err(error) => {
                unreadable.add(error);
                continue;
            }
        };
        // It is gone since it was listed, or may not be looked at.
        let Some(record) = record::of_file(user, &file) else {
            unreadable.add(file.display());
            continue;
        };
        let size = record.get().len();
        if batch.bytes + size > BATCH_BYTES || batch.records.len() == BATCH_RECORDS {
            let full = std::mem::take(&mut batch);
            if sender.blocking_send(full).is_err() {
                return unreadable;
            }
        }
        batch.bytes += size;
        batch.records.push(record);
    }
    if !batch.records.is_empty() {
        let _ = sender.blocking_send(batch);
    }
    unreadable
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_cannot_be_read_is_counted_and_the_first_is_named() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("a.txt"), "1").unwrap();
        symlink("nowhere", folder.path().join("link")).unwrap();
        let missing = folder.path().join("missing");
        let files = files_below(folder.path())
            .chain([Ok(missing.clone())])
            .chain(files_below(&missing));
        let (sender, mut batches) = mpsc::channel(1);
        let unreadable = send_batches("u", files, &sender);
        assert_eq!(batches.try_recv().unwrap().records.len(), 1);
        assert_eq!(unreadable.count, 2);
        assert_eq!(unreadable.first.unwrap(), missing.display().to_string());
    }
}

//! A temporary file that brings one user's files into order, so that memory does not grow with their number.

use redb::{
    Database, Durability, ReadableDatabase, ReadableTable, TableDefinition, backends::FileBackend,
};
use tokio::sync::mpsc;

use super::{Batch, File, document::Document};
use crate::ConvexError;

/// By (`_creationTime` as ordered bits, `_id`): the file's JSON. Read backwards it is newest first.
const FILES: TableDefinition<(u64, &str), &[u8]> = TableDefinition::new("files");
const CACHE_BYTES: usize = 16 << 20;
/// Files on their way to the writing thread; a document has at most 1 MiB.
const WAITING_FILES: usize = 16;

/// The writing half. What is put twice is kept once. Nothing survives a crash, and nothing has to: the file has no name.
pub(super) struct Spool {
    files: mpsc::Sender<File>,
    written: tokio::task::JoinHandle<Result<Database, redb::Error>>,
}

impl Spool {
    pub fn create() -> Spool {
        let (files, waiting) = mpsc::channel(WAITING_FILES);
        let written = tokio::task::spawn_blocking(move || write(waiting));
        Spool { files, written }
    }

    pub async fn put(&self, file: File) -> Result<(), ConvexError> {
        // Why the writer is gone is told by `newest_first`; it cannot be told better here.
        self.files
            .send(file)
            .await
            .map_err(|_| ConvexError::Spool("the disk refuses to write".into()))
    }

    /// Closes the spool and gives its files in batches, newest first.
    pub async fn newest_first(
        self,
    ) -> Result<mpsc::Receiver<Result<Vec<File>, ConvexError>>, ConvexError> {
        drop(self.files);
        let database = self
            .written
            .await
            .map_err(spool_error)?
            .map_err(spool_error)?;
        let (batches, ready) = mpsc::channel(1);
        tokio::task::spawn_blocking(move || {
            // A reader that went away is no error.
            if let Err(error) = read(&database, &batches) {
                let _ = batches.blocking_send(Err(error));
            }
        });
        Ok(ready)
    }
}

fn write(mut waiting: mpsc::Receiver<File>) -> Result<Database, redb::Error> {
    let file = tempfile::tempfile().map_err(redb::StorageError::from)?;
    let database = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(FileBackend::new(file)?)?;
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::None)?;
    {
        let mut files = transaction.open_table(FILES)?;
        while let Some(file) = waiting.blocking_recv() {
            files.insert((ordered(file.created), &*file.doc_id), &*file.json)?;
        }
    }
    transaction.commit()?;
    Ok(database)
}

fn read(
    database: &Database,
    batches: &mpsc::Sender<Result<Vec<File>, ConvexError>>,
) -> Result<(), ConvexError> {
    let transaction = database.begin_read().map_err(spool_error)?;
    let files = transaction.open_table(FILES).map_err(spool_error)?;
    let mut batch = Batch::default();
    for entry in files.iter().map_err(spool_error)?.rev() {
        let (_, json) = entry.map_err(spool_error)?;
        let json = bytes::Bytes::copy_from_slice(json.value());
        let file = Document::read(json)?.file()?;
        if let Some(full) = file.and_then(|file| batch.push(file))
            && batches.blocking_send(Ok(full)).is_err()
        {
            return Ok(());
        }
    }
    if let Some(rest) = batch.rest() {
        let _ = batches.blocking_send(Ok(rest));
    }
    Ok(())
}

fn spool_error(error: impl std::fmt::Display) -> ConvexError {
    ConvexError::Spool(error.to_string())
}

/// Bits that compare as the numbers do (IEEE 754 total order).
fn ordered(number: f64) -> u64 {
    let bits = number.to_bits();
    if bits >> 63 == 0 {
        bits | 1 << 63
    } else {
        !bits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordered_bits_compare_as_numbers() {
        let numbers = [-1e9, -1.5, -0.0, 0.0, 1.0, 1.7e12, 1.7e12 + 0.25];
        assert!(
            numbers
                .windows(2)
                .all(|pair| ordered(pair[0]) < ordered(pair[1]))
        );
    }
}

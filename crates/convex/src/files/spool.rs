//! A temporary database that brings one user's files into order, so that memory does not grow with
//! their number or size.

use bytes::Bytes;
use rusqlite::Connection;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};

use super::document::Document;
use super::{Batch, File};
use crate::ConvexError;

/// Files on their way to the writing thread; a document has at most 1 MiB.
const WAITING_FILES: usize = 16;

/// The documents stay in the order in which they came; only the small index is kept in order.
const SCHEMA: &str = "
    PRAGMA journal_mode = OFF;
    PRAGMA cache_size = -16384; -- KiB
    CREATE TABLE files (major REAL NOT NULL, minor TEXT NOT NULL, json BLOB NOT NULL);
    CREATE UNIQUE INDEX ranks ON files (major, minor);";

/// Where a file stands among the others: the highest comes first.
pub(super) struct Rank {
    major: f64,
    minor: Box<str>,
}

impl Rank {
    /// The newest file comes first.
    pub fn by_age(file: &File) -> Rank {
        Rank {
            major: file.created,
            minor: file.doc_id.clone(),
        }
    }

    /// The lowest place comes first.
    pub fn by_place(place: usize) -> Rank {
        Rank {
            major: -(place as f64),
            minor: Box::default(),
        }
    }
}

/// The writing half. Of files with the same rank, the last one put is kept.
pub(super) struct Spool {
    files: mpsc::Sender<(Rank, File)>,
    written: JoinHandle<rusqlite::Result<Connection>>,
}

impl Spool {
    pub fn create() -> Spool {
        let (files, waiting) = mpsc::channel(WAITING_FILES);
        let written = spawn_blocking(move || write(waiting));
        Spool { files, written }
    }

    /// Puts a file. An error of the disk shows in [`Self::highest_first`], which is next after
    /// `false`.
    pub async fn put(&self, rank: Rank, file: File) -> bool {
        self.files.send((rank, file)).await.is_ok()
    }

    /// Ends the writing and gives the files in batches, from the highest rank to the lowest.
    pub async fn highest_first(
        self,
    ) -> Result<mpsc::Receiver<Result<Vec<File>, ConvexError>>, ConvexError> {
        drop(self.files);
        let database = self.written.await.map_err(failed)?.map_err(failed)?;
        let (batches, ready) = mpsc::channel(1);
        spawn_blocking(move || {
            if let Err(error) = read(&database, &batches) {
                // The reader may be gone; then the error is of no use.
                let _ = batches.blocking_send(Err(error));
            }
        });
        Ok(ready)
    }
}

fn write(mut waiting: mpsc::Receiver<(Rank, File)>) -> rusqlite::Result<Connection> {
    // The empty name stands for a private file in the system's temporary folder, which SQLite
    // unlinks as soon as it is open: it goes with the process, whatever ends that.
    let database = Connection::open("")?;
    database.execute_batch(SCHEMA)?;
    database.execute_batch("BEGIN")?;
    let mut insert = database.prepare("INSERT OR REPLACE INTO files VALUES (?, ?, ?)")?;
    while let Some((rank, file)) = waiting.blocking_recv() {
        insert.execute((rank.major, &*rank.minor, &*file.json))?;
    }
    drop(insert);
    database.execute_batch("COMMIT")?;
    Ok(database)
}

fn read(
    database: &Connection,
    batches: &mpsc::Sender<Result<Vec<File>, ConvexError>>,
) -> Result<(), ConvexError> {
    let mut select = database
        .prepare("SELECT json FROM files INDEXED BY ranks ORDER BY major DESC, minor DESC")
        .map_err(failed)?;
    let mut rows = select.query(()).map_err(failed)?;
    let mut batch = Batch::default();
    while let Some(row) = rows.next().map_err(failed)? {
        let json: Vec<u8> = row.get(0).map_err(failed)?;
        let file = Document::read(Bytes::from(json))?.file()?;
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

fn failed(error: impl std::fmt::Display) -> ConvexError {
    ConvexError::Spool(error.to_string())
}

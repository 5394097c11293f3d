//! The database file, its readers, and the state that the latest commit left.
//!
//! | table | row | order |
//! |---|---|---|
//! | `revisions` | one version of one document; without a body it is a tombstone | commit order: it *is* the log |
//! | `commits` | where in the log the transaction of a timestamp starts | timestamp |
//! | `entries` | index key to the revision that is current | key |
//! | `tablets` | what is known of a tablet, as JSON | |
//! | `dropped_indexes` | an index whose entries are still to be deleted | |
//! | `syncs` | how far a data sync has come, as JSON | |
//! | `clock` | the last timestamp and creation time given out | one row |
//! | `pruned` | how far the log was gone through to forget what is too old | one row |
//!
//! The file is in WAL mode with `synchronous=FULL`: a commit that returned survives the loss of the
//! process and of power, readers never wait for the writer, and each reader sees one state for as
//! long as it reads.

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::{Catalog, Tablet, TabletId};
use super::error::RequestError;

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS revisions (
        seq INTEGER PRIMARY KEY, ts INTEGER NOT NULL, tablet INTEGER NOT NULL, id BLOB NOT NULL,
        tagged INTEGER NOT NULL, body BLOB
    );
    DROP INDEX IF EXISTS revisions_by_document;
    CREATE UNIQUE INDEX IF NOT EXISTS revisions_latest_first ON revisions (tablet, id, ts DESC);
    CREATE TABLE IF NOT EXISTS commits (ts INTEGER PRIMARY KEY, first_seq INTEGER NOT NULL);
    CREATE TABLE IF NOT EXISTS entries (key BLOB PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS tablets (id INTEGER PRIMARY KEY, tablet TEXT NOT NULL);
    CREATE TABLE IF NOT EXISTS dropped_indexes (id INTEGER PRIMARY KEY);
    CREATE TABLE IF NOT EXISTS syncs (
        id TEXT PRIMARY KEY, updated INTEGER NOT NULL, status TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS syncs_by_update ON syncs (updated, id);
    CREATE TABLE IF NOT EXISTS clock (
        one INTEGER PRIMARY KEY CHECK (one = 1), ts INTEGER NOT NULL, creation_time REAL NOT NULL
    );
    CREATE TABLE IF NOT EXISTS pruned (one INTEGER PRIMARY KEY CHECK (one = 1), seq INTEGER NOT NULL);
";

/// Connections kept for the next reader. Each has a page cache of its own.
const IDLE_READERS: usize = 16;

/// What the latest commit left, as far as it is kept in memory.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub catalog: Catalog,
    /// The latest timestamp given out (ns since the epoch). Every later commit has a later one.
    pub ts: i64,
    /// The latest creation time given out (ms since the epoch).
    pub creation_time: f64,
}

impl State {
    /// Writes what has changed since `before`.
    pub fn save(&self, db: &Connection, before: &State) -> Result<(), RequestError> {
        if (self.ts, self.creation_time) != (before.ts, before.creation_time) {
            db.prepare_cached("INSERT OR REPLACE INTO clock VALUES (1, ?1, ?2)")?
                .execute(params![self.ts, self.creation_time])?;
        }
        let (new, old) = (&self.catalog, &before.catalog);
        for (id, tablet) in &new.tablets {
            let earlier = old.tablets.get(id);
            if earlier.is_none_or(|earlier| !Arc::ptr_eq(earlier, tablet)) {
                db.prepare_cached("INSERT OR REPLACE INTO tablets VALUES (?1, ?2)")?
                    .execute(params![id, serde_json::to_string(tablet.as_ref())?])?;
            }
        }
        for id in old.tablets.keys() {
            if !new.tablets.contains_key(id) {
                db.execute("DELETE FROM tablets WHERE id = ?1", [id])?;
            }
        }
        for id in new.dropped_indexes.difference(&old.dropped_indexes) {
            db.execute("INSERT INTO dropped_indexes VALUES (?1)", [id])?;
        }
        for id in old.dropped_indexes.difference(&new.dropped_indexes) {
            db.execute("DELETE FROM dropped_indexes WHERE id = ?1", [id])?;
        }
        Ok(())
    }
}

/// The database file and what is shared by its readers and its writer.
pub(super) struct Store {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
    state: RwLock<Arc<State>>,
}

impl Store {
    /// Opens or creates the file at `path`. Also returns the one connection that writes.
    pub fn open(path: &Path) -> Result<(Arc<Store>, Connection), rusqlite::Error> {
        let writer = Connection::open(path)?;
        // A page holds a handful of documents, which keeps nearly all bodies out of overflow
        // chains.
        writer.pragma_update(None, "page_size", 16_384)?;
        writer.pragma_update(None, "journal_mode", "WAL")?;
        writer.pragma_update(None, "synchronous", "FULL")?;
        configure(&writer)?;
        writer.execute_batch(SCHEMA)?;
        let state = load_state(&writer)?;
        let store = Store {
            path: path.to_owned(),
            idle: Mutex::default(),
            state: RwLock::new(Arc::new(state)),
        };
        Ok((Arc::new(store), writer))
    }

    pub fn state(&self) -> Arc<State> {
        self.state
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Makes a commit's state the one that is read.
    pub fn publish(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(state);
    }

    /// Starts reading. Blocks on the disk: not for async threads.
    pub fn reader(self: &Arc<Store>) -> Result<Reader, rusqlite::Error> {
        let idle = self
            .idle
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .pop();
        let db = match idle {
            Some(db) => db,
            None => {
                let db = Connection::open(&self.path)?;
                configure(&db)?;
                db.pragma_update(None, "query_only", true)?;
                db
            }
        };
        // The state first: the database may then be newer than it, and rows above its timestamp are
        // left out.
        let state = self.state();
        db.execute_batch("BEGIN")?;
        Ok(Reader {
            db: Some(db),
            store: self.clone(),
            state,
            rows: Cell::new(0),
        })
    }
}

fn configure(db: &Connection) -> Result<(), rusqlite::Error> {
    db.busy_timeout(Duration::from_secs(10))?;
    db.set_prepared_statement_cache_capacity(32);
    // Reading through the page cache of the system instead of copying pages: most of the speed of
    // large scans.
    db.pragma_update(None, "mmap_size", 1i64 << 40)?;
    db.pragma_update(None, "journal_size_limit", 64 << 20)
}

fn load_state(db: &Connection) -> Result<State, rusqlite::Error> {
    let mut query = db.prepare("SELECT tablet FROM tablets")?;
    let tablets = query.query_map([], |row| {
        let text = row.get_ref(0)?.as_str()?;
        serde_json::from_str::<Tablet>(text).map_err(|error| {
            rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, error.into())
        })
    })?;
    let mut dropped = db.prepare("SELECT id FROM dropped_indexes")?;
    let dropped = dropped.query_map([], |row| row.get(0))?;
    let catalog = Catalog::new(
        tablets.collect::<Result<Vec<_>, _>>()?,
        dropped.collect::<Result<_, _>>()?,
    );
    let clock = db
        .query_row("SELECT ts, creation_time FROM clock", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (ts, creation_time) = clock.unwrap_or((0, 0.0));
    Ok(State {
        catalog,
        ts,
        creation_time,
    })
}

/// One consistent view of the database, for one request.
pub(super) struct Reader {
    /// Present until it is dropped.
    db: Option<Connection>,
    store: Arc<Store>,
    pub state: Arc<State>,
    rows: Cell<u64>,
}

impl Reader {
    pub fn db(&self) -> Result<&Connection, rusqlite::Error> {
        self.db.as_ref().ok_or(rusqlite::Error::InvalidQuery)
    }

    /// Counts a row of any table or index that was looked at.
    pub fn touch(&self) {
        self.rows.set(self.rows.get() + 1);
    }

    /// How many rows were looked at so far.
    #[cfg(test)]
    pub fn rows_touched(&self) -> u64 {
        self.rows.get()
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        metrics::counter!("sluice_convex_embedded_rows_read_total").increment(self.rows.get());
        if let Some(db) = self.db.take()
            && db.execute_batch("ROLLBACK").is_ok()
        {
            let mut idle = self
                .store
                .idle
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            if idle.len() < IDLE_READERS {
                idle.push(db);
            }
        }
    }
}

/// The bytes of an internal id, as the database keeps them.
pub(super) fn id_bytes(internal: u128) -> [u8; 16] {
    internal.to_be_bytes()
}

/// Reads an internal id from a column.
pub(super) fn read_id(row: &rusqlite::Row, column: usize) -> Result<u128, rusqlite::Error> {
    row.get(column).map(u128::from_be_bytes)
}

/// The revision of a document that is current in `db`: its text and whether it is tagged. `None`
/// when it is not there.
pub(super) fn current_revision(
    db: &Connection,
    tablet: TabletId,
    internal_id: u128,
) -> Result<Option<(Vec<u8>, bool)>, rusqlite::Error> {
    let mut query = db.prepare_cached(
        "SELECT body, tagged FROM revisions WHERE tablet = ?1 AND id = ?2 ORDER BY ts DESC LIMIT 1",
    )?;
    let row: Option<(Option<Vec<u8>>, bool)> = query
        .query_row(params![tablet, id_bytes(internal_id)], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    Ok(row.and_then(|(body, tagged)| Some((body?, tagged))))
}

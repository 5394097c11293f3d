//! A Convex-compatible store in one file: documents and their log, served over Convex's own HTTP
//! API.
//!
//! It answers the streaming export and import, the data sync, Fivetran's calls, and three functions
//! (`sluice:byUser`, `sluice:getMany`, `sluice:remove`) exactly as a hosted Convex deployment does,
//! so that one client reads from both (`docs/convex.md` lists what is covered, and what differs).
//! What it guarantees:
//!
//! - A write that was answered is on the disk. Requests that arrive together share one flush.
//! - Every transaction has a timestamp (ns since the epoch) later than all before it, across
//!   restarts and clock changes.
//! - A snapshot shows one moment, however long its pages take to read and whatever is written
//!   meanwhile.
//!
//! How a request flows: `http` checks it and hands reads to a blocking thread with a
//! `store::Reader` of its own (`snapshot`, `deltas`, `data_sync`, `functions`), writes (`import`,
//! `table_import`, `fivetran`, `functions`) to the one `writer` as a `transaction::Transaction`.
//! Documents are stored as the text they are served as (`document`). What takes longer than a
//! request may is done by `housekeeping`, a little at a time.
//!
//! | metric | what |
//! |---|---|
//! | `sluice_convex_embedded_requests_total` {route, status}, `…_request_seconds` {route} | requests, until their head is answered |
//! | `sluice_convex_embedded_commits_total` {outcome}, `…_commit_seconds` | flushes to the disk |
//! | `sluice_convex_embedded_commit_transactions` | requests that shared a flush |
//! | `sluice_convex_embedded_rows_read_total` | rows of tables and indexes looked at |

mod auth;
mod catalog;
mod client_version;
mod data_sync;
mod deltas;
mod document;
mod error;
mod fivetran;
mod functions;
mod housekeeping;
mod http;
mod id;
mod import;
mod index_key;
mod log;
mod names;
mod page;
mod schema;
mod selection;
mod shape;
mod snapshot;
mod store;
mod table_import;
mod transaction;
mod value;
mod writer;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

pub use self::auth::{LimitedKey, LimitedKeyError, Permission};
pub use self::id::{DocumentId, FIRST_TABLE_NUMBER};

use self::auth::DeployKeys;
use self::store::Store;
use self::writer::Writer;
use crate::Secret;

/// Imports that are held in memory at a time. The bodies of others wait in files.
const CONCURRENT_IMPORTS: usize = 8;

/// Where the store lives and who may use it.
#[derive(Clone, Debug)]
pub struct EmbeddedConfig {
    /// The folder of the database; created if it is not there. One process at a time.
    pub data_dir: PathBuf,
    /// The key that permits everything. Requests carry it as `Authorization: Convex <deploy key>`.
    pub deploy_key: Secret,
    /// Further keys, which permit less.
    pub limited_keys: Vec<LimitedKey>,
    /// Whether the streaming export is switched on.
    pub export: bool,
    /// How far back the log can be read (Convex: 14 days).
    pub log_retention: Duration,
    /// How far back snapshots can be read (Convex: 5 days).
    pub snapshot_retention: Duration,
    /// How long a client may send nothing of a request's body.
    pub body_patience: Duration,
}

impl EmbeddedConfig {
    /// The export switched on, and the retention of a hosted deployment.
    pub fn new(data_dir: impl Into<PathBuf>, deploy_key: impl Into<Secret>) -> EmbeddedConfig {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        EmbeddedConfig {
            data_dir: data_dir.into(),
            deploy_key: deploy_key.into(),
            limited_keys: Vec::new(),
            export: true,
            log_retention: 14 * DAY,
            snapshot_retention: 5 * DAY,
            body_patience: Duration::from_secs(30),
        }
    }
}

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    /// The folder or the writing thread could not be created.
    #[error("the embedded store's folder cannot be used: {0}")]
    Io(#[from] std::io::Error),
    /// Another process has the store open.
    #[error("the embedded store in {0} is in use by another process")]
    InUse(PathBuf),
    /// The database file is not usable.
    #[error("the embedded store's database cannot be opened: {0}")]
    Database(#[from] rusqlite::Error),
}

/// The store. Cheap to clone; when the last clone (and the last router) is dropped, what was
/// accepted is written first.
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

struct Inner {
    config: EmbeddedConfig,
    keys: DeployKeys,
    store: Arc<Store>,
    writer: Writer,
    imports: Semaphore,
    /// Held, and given back last, so that no other process writes the same file.
    _lock: File,
}

impl Embedded {
    /// Opens the store, or creates it. Blocks on the disk.
    pub fn open(config: EmbeddedConfig) -> Result<Embedded, EmbeddedError> {
        std::fs::create_dir_all(&config.data_dir)?;
        let lock = lock(&config.data_dir)?;
        let retention = config.log_retention.max(config.snapshot_retention);
        let (store, db) = Store::open(&config.data_dir.join("convex.sqlite"))?;
        let writer = Writer::start(store.clone(), db, retention)?;
        let inner = Inner {
            keys: DeployKeys::new(&config),
            config,
            store,
            writer,
            imports: Semaphore::new(CONCURRENT_IMPORTS),
            _lock: lock,
        };
        Ok(Embedded {
            inner: Arc::new(inner),
        })
    }

    /// The HTTP API, with its paths under `/api`.
    pub fn router(&self) -> axum::Router {
        http::router(self.clone())
    }
}

fn lock(folder: &Path) -> Result<File, EmbeddedError> {
    let lock = File::create(folder.join("convex.lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(EmbeddedError::InUse(folder.to_owned())),
        Err(TryLockError::Error(error)) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;

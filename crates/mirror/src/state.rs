//! What a mirror keeps across restarts, in SQLite: the trees, how far the log was read, and the
//! changes that are sent and not answered yet.
//!
//! What belongs together is written in one transaction. A crash in between loses what was done since
//! on this machine, and the next scan finds it.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OpenFlags, OptionalExtension as _, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use sluice_client::hex;

use crate::error::MirrorError;
use crate::outcome::Sent;
use crate::tree::Id;
use crate::trees::{Ids, Row, Trees};

const SCHEMA: &str = "
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = NORMAL;
    CREATE TABLE IF NOT EXISTS node (id TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS value (name TEXT PRIMARY KEY, json TEXT NOT NULL) WITHOUT ROWID;
";

/// Changes that are sent together, until they are answered.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outbox {
    /// The position that they are based on.
    pub base: u64,
    /// In order.
    pub sent: Vec<Sent>,
}

/// How far the log was read.
#[derive(Default, Serialize, Deserialize)]
struct Reached {
    cursor: u64,
    last_change: Option<String>,
    own: Vec<(u64, Id)>,
}

/// Whose folder it is, and how it goes: what `sluice mirror status` shows beside the trees.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct About {
    /// The folder.
    pub folder: String,
    /// The API.
    pub api: String,
    /// The share.
    pub share: String,
    /// The share's name.
    pub share_name: String,
    /// This device.
    pub device: String,
    /// When all was in step last, in RFC 3339.
    pub in_step_at: Option<String>,
    /// What went wrong last, until all was in step again.
    pub last_error: Option<String>,
    /// What of the folder is left out, and why.
    pub skipped: Vec<(String, String)>,
}

/// Where the state of a folder's mirror is, unless it is said: outside the folder, so that a folder
/// that is not mounted is missed. None without a home.
pub fn usual_path(folder: &Path) -> Option<PathBuf> {
    let set = |name| {
        std::env::var_os(name)
            .filter(|it| !it.is_empty())
            .map(PathBuf::from)
    };
    let base = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = hex(&Sha256::digest(folder.as_os_str().as_encoded_bytes())[..12]);
    Some(base.join("sluice/mirrors").join(format!("{name}.db")))
}

/// What the system calls this machine.
pub fn machine_name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// The state of one mirror.
pub struct State {
    db: Connection,
    /// Held as long as a process keeps the folder in step.
    _lock: Option<File>,
}

impl State {
    /// Opens the state for the process that keeps the folder in step, and makes it if need be.
    ///
    /// # Errors
    /// [`MirrorError::Busy`] while another process does; [`MirrorError::State`].
    pub fn open(path: &Path) -> Result<Self, MirrorError> {
        let unusable = |error: std::io::Error| MirrorError::State(error.to_string());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(unusable)?;
        }
        let lock = File::create(path.with_extension("lock")).map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(MirrorError::Busy(path.to_owned())),
            Err(TryLockError::Error(error)) => return Err(unusable(error)),
        }
        let db = Connection::open(path)?;
        db.execute_batch(SCHEMA)?;
        Ok(Self {
            db,
            _lock: Some(lock),
        })
    }

    /// Opens the state to look at it; none when there is none.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn look(path: &Path) -> Result<Option<Self>, MirrorError> {
        if !path.exists() {
            return Ok(None);
        }
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Ok(Some(Self { db, _lock: None }))
    }

    /// Whether a process keeps the folder of a state in step.
    pub fn is_kept(path: &Path) -> bool {
        let lock = File::open(path.with_extension("lock"));
        lock.is_ok_and(|lock| matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock)))
    }

    /// The trees as they were kept.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn trees(&self) -> Result<Trees, MirrorError> {
        let mut trees = Trees::new(Ids::Random);
        let mut rows = self.db.prepare("SELECT id, row FROM node")?;
        let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            let (id, row): (String, String) = row?;
            trees.restore(&id, serde_json::from_str::<Row>(&row)?);
        }
        let reached: Reached = self.value("reached")?.unwrap_or_default();
        trees.cursor = reached.cursor;
        trees.last_change = reached.last_change;
        trees.own = reached.own.into_iter().collect();
        Ok(trees)
    }

    /// The changes that are not answered yet.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn outbox(&self) -> Result<Option<Outbox>, MirrorError> {
        Ok(self.value::<Option<Outbox>>("outbox")?.flatten())
    }

    /// What is known of the mirror.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn about(&self) -> Result<Option<About>, MirrorError> {
        self.value("about")
    }

    /// Keeps what is known of the mirror.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn set_about(&self, about: &About) -> Result<(), MirrorError> {
        set(&self.db, "about", about)
    }

    /// Keeps what has changed of the trees, and the changes that are not answered.
    ///
    /// # Errors
    /// [`MirrorError::State`].
    pub fn save(&mut self, trees: &mut Trees, outbox: Option<&Outbox>) -> Result<(), MirrorError> {
        let writing = self.db.transaction()?;
        for (id, row) in trees.take_changed() {
            if row.is_empty() {
                writing
                    .prepare_cached("DELETE FROM node WHERE id = ?")?
                    .execute([&id])?;
            } else {
                let json = serde_json::to_string(&row)?;
                let insert = "INSERT OR REPLACE INTO node (id, row) VALUES (?, ?)";
                writing.prepare_cached(insert)?.execute(params![id, json])?;
            }
        }
        let reached = Reached {
            cursor: trees.cursor,
            last_change: trees.last_change.clone(),
            own: trees.own.clone().into_iter().collect(),
        };
        set(&writing, "reached", &reached)?;
        set(&writing, "outbox", &outbox)?;
        writing.commit()?;
        Ok(())
    }

    fn value<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, MirrorError> {
        let mut select = self
            .db
            .prepare_cached("SELECT json FROM value WHERE name = ?")?;
        let json: Option<String> = select.query_row([name], |row| row.get(0)).optional()?;
        Ok(json.map(|json| serde_json::from_str(&json)).transpose()?)
    }
}

fn set(db: &Connection, name: &str, value: &impl Serialize) -> Result<(), MirrorError> {
    let json = serde_json::to_string(value)?;
    let insert = "INSERT OR REPLACE INTO value (name, json) VALUES (?, ?)";
    db.prepare_cached(insert)?.execute([name, &json])?;
    Ok(())
}

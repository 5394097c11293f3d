//! Documents: JSON objects with revisions, kept in RedisJSON, one namespace per service.
//!
//! A write is computed here, from the document at one revision, and made by one script that refuses
//! it when the document has moved on; then it is computed anew. One that only puts values in place
//! of others is made by a script alone. `docs/decisions/documents.md` says why. `keys` lists what is
//! kept.

mod accepted;
mod budget;
mod change;
mod condition;
mod envelope;
mod error;
mod events;
mod functions;
mod index;
mod keys;
mod list;
mod mutation;
mod number;
mod pointer;
mod purge;
mod steps;
mod version;
mod work;
mod write;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, RwLock};

use crate::library::METRICS;
use keys::Keys;
use sluice_valkey::Valkey;
use sluice_valkey::log::Since;

pub use accepted::Accepted;
pub use change::{Change, Expiry, ExpiryTime, Idempotency, Write};
pub use condition::{Conditions, Tags};
pub use envelope::{Data, Document};
pub use error::DocumentError;
pub use events::Watcher;
pub use index::{PARTS, Places};
pub use keys::{ENQUEUE_WINDOW, IDEMPOTENCY_TTL};
pub use list::DocumentPage;
pub use mutation::Mutation;
pub use purge::{PurgePlace, Purged};
pub use version::{NoVersion, Version};

/// What has happened to a document since a revision: the document as it is, or as each write left
/// it.
pub type Changes = Since<Document>;

/// Longest name of a service, and longest id, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Writers to different documents of one process rarely share one of so many turns.
const TURNS: usize = 256;

/// The documents of all services. Cheap to clone.
#[derive(Clone)]
pub struct Documents {
    valkey: Valkey,
    config: DocumentsConfig,
    has_module: Arc<OnceCell<()>>,
    turns: Arc<[RwLock<()>]>,
    work_turns: work::Turns,
}

/// What can be set about documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DocumentsConfig {
    /// Most bytes of a document's `data`, as compact JSON.
    pub max_bytes: usize,
    /// Most levels of a document's `data`, which is the first one itself. RedisJSON takes no more
    /// than 127.
    pub max_depth: usize,
    /// Most mutations in one call.
    pub max_mutations: usize,
    /// How long a deleted document can be restored.
    pub retention: Duration,
}

impl Default for DocumentsConfig {
    fn default() -> Self {
        DocumentsConfig {
            max_bytes: 1024 * 1024,
            max_depth: 64,
            max_mutations: 1_000,
            retention: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl Documents {
    /// Documents kept in `valkey`.
    pub fn new(valkey: &Valkey, config: DocumentsConfig) -> Documents {
        Documents {
            valkey: valkey.shared().measured(METRICS),
            config,
            has_module: Arc::default(),
            turns: (0..TURNS).map(|_| RwLock::default()).collect(),
            work_turns: work::Turns::default(),
        }
    }

    /// What was set.
    pub fn config(&self) -> &DocumentsConfig {
        &self.config
    }

    /// A document, unless it is deleted.
    ///
    /// # Errors
    /// [`DocumentError::NotFound`], [`DocumentError::NoJsonModule`], [`DocumentError::Store`].
    pub async fn get(&self, service: &str, id: &str) -> Result<Document, DocumentError> {
        self.check_module().await?;
        let mut cmd = redis::cmd("JSON.GET");
        cmd.arg(Keys::new(service, id).document);
        let json: Option<String> = self.valkey.query("document_get", &cmd).await?;
        let document = Document::parse(json.ok_or(DocumentError::NotFound)?)?;
        if document.deleted {
            return Err(DocumentError::NotFound);
        }
        Ok(document)
    }

    /// Asks the server for its JSON module until it has one.
    async fn check_module(&self) -> Result<(), DocumentError> {
        let check = async || match self.valkey.json_module().await? {
            Some(_) => Ok(()),
            None => Err(DocumentError::NoJsonModule),
        };
        self.has_module.get_or_try_init(check).await.copied()
    }
}

/// Whether this may be the name of a service, or an id: 1 to 128 of letters, digits, `_`, `-`, `.`,
/// `:`, but neither `.` nor `..`, which clients and proxies take out of a path.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME_BYTES).contains(&name.len())
        && !matches!(name, "." | "..")
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"_-.:".contains(&byte))
}

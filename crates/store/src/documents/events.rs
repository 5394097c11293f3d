//! Watching documents: what has changed, and when it is time to look.

use std::time::Duration;

use sluice_valkey::log::SinceReply;
use sluice_valkey::{Notice, Subscription};
use tokio::sync::watch;
use tokio::time::timeout;

use super::functions::FUNCTIONS;
use super::keys::Keys;
use super::{Changes, Document, DocumentError, Documents, Version};

/// Changes read at once, which bounds an answer to as many times the size of a document.
const CHUNK: usize = 8;
/// What the script can count up; no document gets there.
const MAX_REVISION: u64 = (1 << 53) - 2;

impl Documents {
    /// What has happened to a document, deleted or not, since it was at the revision `after`: the
    /// document as it is, or as each write left it.
    ///
    /// # Errors
    /// [`DocumentError::NotFound`], [`DocumentError::NoJsonModule`], [`DocumentError::Store`].
    pub async fn changes(
        &self,
        service: &str,
        id: &str,
        after: Option<Version>,
    ) -> Result<Changes, DocumentError> {
        self.check_module().await?;
        let keys = Keys::new(service, id);
        let mut cmd = FUNCTIONS
            .changes
            .read_only_command(&[&keys.document, &keys.changes]);
        let text = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        cmd.arg(text(after.map(|it| it.revision.min(MAX_REVISION))))
            .arg(CHUNK)
            .arg(text(after.and_then(|it| it.created_at)));
        let SinceReply(since) = FUNCTIONS.changes.run(&self.valkey, &cmd).await?;
        since
            .ok_or(DocumentError::NotFound)?
            .try_map(Document::parse, Document::parse)
    }

    /// Notifies when to look for changes of a document. Begin to watch before the first look, so
    /// that nothing is missed.
    pub fn watch(&self, service: &str, id: &str) -> Watcher {
        let (sender, nudges) = watch::channel(());
        let listen = move |_: Notice<'_>| {
            sender.send_replace(());
        };
        let channel = Keys::new(service, id).events;
        Watcher {
            nudges,
            _subscription: self.valkey.hub().subscribe(&channel, listen),
        }
    }
}

/// The nudges of one document, for as long as this is held. A nudge says only that there is
/// something to look at, so several may become one, and one comes when the subscription stands
/// (again).
pub struct Watcher {
    nudges: watch::Receiver<()>,
    _subscription: Subscription,
}

impl Watcher {
    /// Returns at the next nudge after the last call, or after `limit`: then it is time to look all
    /// the same, for a nudge may get lost with the connection.
    pub async fn nudged(&mut self, limit: Duration) {
        let _ = timeout(limit, self.nudges.changed()).await;
    }
}

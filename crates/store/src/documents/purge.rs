//! What the expiry of documents leaves behind.
//!
//! A document and its changes go by key expiry, and whatever else lies in its slot has a time of
//! its own. Its place in the index of its service lies in another slot: it stays until somebody
//! looks.

use super::keys::{INDEX_PATTERN, Keys, service_of_index};
use super::{DocumentError, Documents};
use crate::StoreError;

/// How many keys of the server one step passes in the search for indexes.
const SCAN_COUNT: usize = 1_000;
/// How many ids one step looks at.
const CHUNK: usize = 500;

/// One step through an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Ids that led nowhere and are forgotten.
    pub forgotten: u64,
    /// Where the next step begins; none after the last.
    pub next: Option<u64>,
}

impl Documents {
    /// Services that have an index, found by passing some of the server's keys; and where to go on,
    /// none after the last. Begin with 0. A service may be found more than once.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn services(&self, cursor: u64) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let mut cmd = redis::cmd("SCAN");
        cmd.arg(cursor)
            .arg("MATCH")
            .arg(INDEX_PATTERN)
            .arg("COUNT")
            .arg(SCAN_COUNT);
        let (next, keys): (u64, Vec<String>) =
            self.valkey.query("document_services", &cmd, None).await?;
        let services = keys.iter().filter_map(|key| service_of_index(key));
        Ok((services.collect(), Some(next).filter(|&next| next > 0)))
    }

    /// Takes some of those ids out of the index of a service whose documents are gone. Begin with
    /// the place 0.
    ///
    /// # Errors
    /// [`DocumentError::Store`].
    pub async fn purge(&self, service: &str, place: u64) -> Result<Purged, DocumentError> {
        let entries = self.entries(service, place, CHUNK).await?;
        let mut pipeline = redis::pipe();
        for (id, _) in &entries {
            pipeline.cmd("EXISTS").arg(Keys::new(service, id).document);
        }
        let found: Vec<bool> = match entries.is_empty() {
            true => Vec::new(),
            false => {
                self.valkey
                    .query_all("document_exist", &pipeline, None)
                    .await?
            }
        };
        let missing = entries
            .iter()
            .zip(found)
            .filter_map(|(entry, is_there)| (!is_there).then_some(entry))
            .collect();
        let forgotten = self.forget(service, missing).await?;
        let last = entries.last().map(|&(_, place)| place);
        Ok(Purged {
            forgotten,
            next: last.filter(|_| entries.len() == CHUNK),
        })
    }
}

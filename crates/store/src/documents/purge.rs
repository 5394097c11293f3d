//! What the expiry of documents leaves behind.
//!
//! A document and its changes go by key expiry, and whatever else lies in its slot has a time of
//! its own. Its place in the index of its service lies in another slot: it stays until a purge
//! looks for it.

use sluice_valkey::Spec;

use super::index::{IndexEntry, PARTS};
use super::keys::{Keys, SERVICES, index};
use super::{DocumentError, Documents};
use crate::StoreError;

/// How many names of services one step reads.
const SCAN_COUNT: usize = 100;
/// How many ids one step looks at.
const CHUNK: usize = 500;

/// Where a purge is in the index of a service.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PurgePlace {
    part: usize,
    place: u64,
}

/// One step through an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purged {
    /// Ids that led nowhere and are forgotten.
    pub forgotten: u64,
    /// Where the next step begins; none after the last.
    pub next: Option<PurgePlace>,
}

impl Documents {
    /// Some of the services that have documents; and where to go on, none after the last. Begin
    /// with 0. A service may be found more than once.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn services(&self, cursor: u64) -> Result<(Vec<String>, Option<u64>), StoreError> {
        let mut cmd = redis::cmd("SSCAN");
        cmd.arg(SERVICES).arg(cursor).arg("COUNT").arg(SCAN_COUNT);
        let (next, services): (u64, Vec<String>) =
            self.valkey.query("document_services", &cmd).await?;
        Ok((services, Some(next).filter(|&next| next > 0)))
    }

    /// Takes some of those ids out of the index of a service whose documents are gone, and the
    /// service out of those that have documents when none is left. Begin with the default place.
    ///
    /// # Errors
    /// [`DocumentError::Store`].
    pub async fn purge(&self, service: &str, from: PurgePlace) -> Result<Purged, DocumentError> {
        let PurgePlace { part, place } = from;
        let entries = self.entries_of(service, part, place, CHUNK).await?;
        let looking = entries.iter().map(|IndexEntry { id, .. }| {
            let mut cmd = redis::cmd("EXISTS");
            cmd.arg(Keys::new(service, id).document);
            cmd
        });
        let spec = Spec::command("document_exist");
        let found: Vec<bool> = self.valkey.query_all(spec, looking.collect()).await?;
        let missing: Vec<_> = entries
            .iter()
            .zip(found)
            .filter_map(|(entry, is_there)| (!is_there).then_some(entry))
            .collect();
        let forgotten = self.forget(service, &missing).await?;
        let next = match entries.last() {
            Some(last) if entries.len() == CHUNK => Some(PurgePlace {
                part,
                place: last.place,
            }),
            _ if part + 1 < PARTS => Some(PurgePlace {
                part: part + 1,
                place: 0,
            }),
            _ => None,
        };
        if next.is_none() {
            self.forget_service_if_empty(service).await?;
        }
        Ok(Purged { forgotten, next })
    }

    /// One that gets a document at this very moment is known again with its next one.
    async fn forget_service_if_empty(&self, service: &str) -> Result<(), StoreError> {
        let looking = (0..PARTS).map(|part| {
            let mut cmd = redis::cmd("EXISTS");
            cmd.arg(index(service, part));
            cmd
        });
        let spec = Spec::command("document_indexes");
        let found: Vec<bool> = self.valkey.query_all(spec, looking.collect()).await?;
        if !found.contains(&true) {
            let mut forget = redis::cmd("SREM");
            forget.arg(SERVICES).arg(service);
            self.valkey.query::<()>("forget_service", &forget).await?;
        }
        Ok(())
    }
}

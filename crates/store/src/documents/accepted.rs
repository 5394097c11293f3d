//! Writes that are accepted now and made by a job later.
//!
//! While one of them waits, a write that would be made at once is refused with
//! [`DocumentError::Waiting`] and has to queue up behind it. An accepted write is made by
//! [`Documents::write_accepted`], in one step with its leaving the set of accepted ones, so that it
//! is made once however often its job is run.

use super::change::{Change, Write};
use super::envelope::render;
use super::functions::FUNCTIONS;
use super::keys::{ACCEPTED_TTL, Keys};
use super::work::load;
use super::write::token;
use super::{Document, DocumentError, Documents, Version};
use crate::StoreError;

/// How many writes of a document that were accepted and not made can still be made by retrying
/// their jobs.
const RELEASED_LIMIT: usize = 100;

/// A write that others wait for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accepted {
    /// What names it; the same each time that it is sent under one idempotency key.
    pub token: String,
    /// Whether it was neither accepted nor made before.
    pub is_new: bool,
}

sluice_valkey::statuses! {
    /// How accepting a write went.
    enum AcceptStatus {
        Accepted = "accepted",
        /// It was accepted or made before.
        Known = "known",
        /// The record is of another request.
        Reused = "reused",
    }
}

impl Documents {
    /// Whether a write keeps to the rules that do not depend on the document.
    ///
    /// # Errors
    /// [`DocumentError::TooManyMutations`], [`DocumentError::Mutation`] for a path that is none,
    /// [`DocumentError::TooDeep`], [`DocumentError::TooLarge`].
    pub async fn check_write(&self, write: &Write) -> Result<(), DocumentError> {
        let load = load(&write.change, 0);
        self.work(load, || self.check_rules(write)).await
    }

    fn check_rules(&self, write: &Write) -> Result<(), DocumentError> {
        self.check_count(write)?;
        match &write.change {
            Change::Create(data, _) | Change::Replace(data, _) => {
                self.check(data, &render(data)?.json)
            }
            Change::Mutate(mutations, _) => {
                for (index, mutation) in mutations.iter().enumerate() {
                    mutation
                        .check()
                        .map_err(|reason| DocumentError::Mutation { index, reason })?;
                }
                Ok(())
            }
            Change::Merge(..) | Change::Delete | Change::Restore => Ok(()),
        }
    }

    /// Accepts a write, from when on no other may be made before it but those accepted earlier.
    /// Enqueue its job next, in the group of its document, within
    /// [`ENQUEUE_WINDOW`](super::ENQUEUE_WINDOW).
    ///
    /// # Errors
    /// [`DocumentError::IdempotencyKeyReused`], [`DocumentError::NoJsonModule`],
    /// [`DocumentError::Store`].
    pub async fn accept(
        &self,
        service: &str,
        id: &str,
        write: &Write,
    ) -> Result<Accepted, DocumentError> {
        self.check_module().await?;
        let keys = Keys::new(service, id);
        let token = token(write);
        let fingerprint = write.idempotency.as_ref().map(|it| &*it.fingerprint);
        let mut cmd = FUNCTIONS
            .accept
            .command(&[&keys.write(&token), &keys.accepted]);
        cmd.arg(&token)
            .arg(fingerprint.unwrap_or_default())
            .arg(ACCEPTED_TTL.as_millis() as u64);
        let is_new = match FUNCTIONS.accept.run(&self.valkey, &cmd).await? {
            AcceptStatus::Accepted => true,
            AcceptStatus::Known => false,
            AcceptStatus::Reused => return Err(DocumentError::IdempotencyKeyReused),
        };
        Ok(Accepted { token, is_new })
    }

    /// Lets other writes go before an accepted one that was refused, or never became a job.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn release(&self, service: &str, id: &str, token: &str) -> Result<(), StoreError> {
        let keys = Keys::new(service, id);
        let mut cmd = FUNCTIONS.release.command(&[&keys.accepted]);
        cmd.arg(token).arg(RELEASED_LIMIT);
        FUNCTIONS.release.run::<u8>(&self.valkey, &cmd).await?;
        Ok(())
    }

    /// A document as the write to this version left it; none when that is not kept any more.
    ///
    /// # Errors
    /// [`DocumentError::Malformed`], [`DocumentError::Store`].
    pub async fn at(
        &self,
        service: &str,
        id: &str,
        version: Version,
    ) -> Result<Option<Document>, DocumentError> {
        let entry = format!("{}-0", version.revision);
        let mut cmd = redis::cmd("XRANGE");
        cmd.arg(Keys::new(service, id).changes)
            .arg(&entry)
            .arg(&entry);
        let changes: Vec<(String, [String; 2])> = self.valkey.query("document_at", &cmd).await?;
        let kept = changes.into_iter().next();
        let kept = kept
            .map(|(_, [_, json])| Document::parse(json))
            .transpose()?;
        Ok(kept.filter(|kept| version.names(kept.version())))
    }
}

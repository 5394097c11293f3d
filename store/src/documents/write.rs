//! A write: what it is computed from, what it makes of it, and the script that makes it so.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::envelope::{Envelope, fits_depth, render};
use super::keys::{IDEMPOTENCY_TTL, Keys, WRITE_TTL, index};
use super::mutation::{Mutation, apply, merge};
use super::number::Correction;
use super::{Data, Document, DocumentError, Documents};
use crate::Script;

static READ: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "document_read",
        include_str!("../../../lua/documents/read.lua"),
    )
});
static WRITE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "document_write",
        include_str!("../../../lua/documents/write.lua"),
    )
});
static ANNOUNCE: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "document_announce",
        include_str!("../../../lua/documents/announce.lua"),
    )
});

/// A write that others keep outrunning is given up after this long.
const CONTENTION_LIMIT: Duration = Duration::from_secs(10);
/// The mean pause before a write that was outrun is computed anew.
const PAUSE: Duration = Duration::from_millis(2);

/// A change to a document, and what must hold for it.
#[derive(Debug, Clone, PartialEq)]
pub struct Write {
    /// What to change.
    pub change: Change,
    /// The revision that the document must be at.
    pub expected_revision: Option<u64>,
    /// What the caller calls this write, so that sending it again does not make it twice.
    pub idempotency: Option<Idempotency>,
}

/// What a write makes of a document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Change {
    /// A new document.
    Create(Data, Expiry),
    /// All data is replaced.
    Replace(Data, Expiry),
    /// Data is merged in (RFC 7396): fields that are null are taken away.
    Merge(Data, Expiry),
    /// Mutations in order, all or none.
    Mutate(Vec<Mutation>, Expiry),
    /// The document is deleted, and can be restored for some time.
    Delete,
    /// The deleted document is back.
    Restore,
}

/// When a document is to be gone, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub enum Expiry {
    /// When it was before; never, for a new document.
    #[default]
    Keep,
    /// Never.
    Never,
    /// From this millisecond on.
    At(u64),
}

/// A write's name and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// Unique to the caller and the kind of write; remembered for [`IDEMPOTENCY_TTL`].
    pub key: String,
    /// Differs between requests that ask for different things.
    pub fingerprint: String,
}

/// What a write is computed from.
struct Base {
    now: u64,
    current: Option<Envelope>,
}

/// What became of an attempt to write.
enum Outcome {
    Written(Document),
    Outrun,
}

impl Documents {
    /// Makes a write, or nothing of it. Without an expected revision, it is computed anew when another writer came first.
    ///
    /// # Errors
    /// Any [`DocumentError`]; the document is unchanged then, unless it is [`DocumentError::Store`] for a connection that
    /// failed until the end: then the write may have been made.
    pub async fn write(
        &self,
        service: &str,
        id: &str,
        write: &Write,
    ) -> Result<Document, DocumentError> {
        self.check_module().await?;
        if let Change::Mutate(mutations, _) = &write.change
            && mutations.len() > self.config.max_mutations
        {
            let limit = self.config.max_mutations;
            return Err(DocumentError::TooManyMutations { limit });
        }
        // Writers of one process would only outrun each other.
        let _turn = self.turn(service, id).lock().await;
        let keys = Keys::new(service, id);
        let record = Record::of(write, &keys);
        let begun = Instant::now();
        while begun.elapsed() < CONTENTION_LIMIT {
            let outcome = self.attempt(service, id, write, &keys, &record).await?;
            if let Outcome::Written(document) = outcome {
                return Ok(document);
            }
            metrics::counter!("sluice_document_writes_outrun_total").increment(1);
            tokio::time::sleep(PAUSE.mul_f64(rand::random_range(0.0..2.0))).await;
        }
        Err(DocumentError::Contended)
    }

    fn turn(&self, service: &str, id: &str) -> &tokio::sync::Mutex<()> {
        let mut hasher = DefaultHasher::new();
        (service, id).hash(&mut hasher);
        &self.turns[hasher.finish() as usize % self.turns.len()]
    }

    async fn attempt(
        &self,
        service: &str,
        id: &str,
        write: &Write,
        keys: &Keys,
        record: &Record,
    ) -> Result<Outcome, DocumentError> {
        let cmd = READ.command(&[&keys.document, &keys.changes, &record.key]);
        let (now, json, made, fingerprint): (u64, String, String, String) =
            READ.run(&self.valkey, &cmd).await?;
        if !made.is_empty() {
            if fingerprint != record.fingerprint {
                return Err(DocumentError::IdempotencyKeyReused);
            }
            if json.is_empty() {
                return Err(DocumentError::NotFound);
            }
            return Ok(Outcome::Written(Document::parse(json)?));
        }
        let current: Option<Envelope> = match json.as_str() {
            "" => None,
            json => Some(serde_json::from_str(json)?),
        };
        let base = Base { now, current };
        let base_revision = base.current.as_ref().map_or(0, |it| it.revision);
        let former_update = base.current.as_ref().map_or(0, |it| it.updated_at);
        let is_new = base.current.is_none();
        let next = base.next(write)?;
        let (data, corrections) = self.check(&next.data)?;
        if is_new {
            let mut cmd = ANNOUNCE.command(&[&index(service)]);
            cmd.arg(id);
            let _: u8 = ANNOUNCE.run(&self.valkey, &cmd).await?;
        }

        let (head, tail) = (next.head(service, id, &data), next.tail());
        let created = (!is_new).then(|| next.created_at.to_string());
        // A key goes once the clock is past its time.
        let gone = self.gone_at(&next, now).map(|at| (at - 1).to_string());
        let mut cmd = WRITE.command_with_capacity(
            &[&keys.document, &keys.changes, &record.key],
            9,
            head.len() + 256,
        );
        cmd.arg(base_revision)
            .arg(&head)
            .arg(created.as_deref().unwrap_or_default())
            .arg(former_update)
            .arg(&tail)
            .arg(gone.as_deref().unwrap_or_default())
            .arg(&keys.events)
            .arg(&record.fingerprint)
            .arg(record.ttl.as_millis() as u64);
        for float in &corrections {
            cmd.arg(&float.path).arg(&float.value).arg(&float.missing);
        }
        let (status, revision, updated_at): (u8, u64, u64) = WRITE.run(&self.valkey, &cmd).await?;
        match (status, write.expected_revision) {
            (1, _) if revision == next.revision => {
                let created_at = if is_new { updated_at } else { next.created_at };
                Ok(Outcome::Written(Document {
                    revision,
                    deleted: next.deleted,
                    json: format!(
                        r#"{head},"createdAt":{created_at},"updatedAt":{updated_at}{tail}"#
                    ),
                }))
            }
            (2, _) => Err(DocumentError::IdempotencyKeyReused),
            // It is gone, or made by another call of the same write: looking again tells.
            _ => Ok(Outcome::Outrun),
        }
    }

    /// When the document's keys are to go, in milliseconds since 1970.
    fn gone_at(&self, next: &Envelope, now: u64) -> Option<u64> {
        let purged = next
            .deleted
            .then(|| now + self.config.retention.as_millis() as u64);
        purged.into_iter().chain(next.expires_at).min()
    }

    /// The data as it is to be written, if it keeps to the limits.
    fn check(&self, data: &Data) -> Result<(String, Vec<Correction>), DocumentError> {
        let limit = self.config.max_depth;
        if !fits_depth(data, limit) {
            return Err(DocumentError::TooDeep { limit });
        }
        let (json, corrections) = render(data)?;
        let limit = self.config.max_bytes;
        if json.len() > limit {
            return Err(DocumentError::TooLarge { limit });
        }
        Ok((json, corrections))
    }
}

impl Base {
    /// The document as the write would leave it.
    fn next(self, write: &Write) -> Result<Envelope, DocumentError> {
        let Base { now, current } = self;
        let mut next = match (current, &write.change) {
            (None, Change::Create(..)) => Envelope {
                revision: 0,
                data: Data::new(),
                created_at: now,
                updated_at: now,
                deleted: false,
                expires_at: None,
            },
            (Some(_), Change::Create(..)) => return Err(DocumentError::AlreadyExists),
            (Some(current), Change::Restore) if current.deleted => current,
            (Some(_), Change::Restore) => return Err(DocumentError::NotDeleted),
            (Some(current), _) if !current.deleted => current,
            _ => return Err(DocumentError::NotFound),
        };
        let current = next.revision;
        if let Some(expected) = write.expected_revision.filter(|&it| it != current) {
            return Err(DocumentError::RevisionConflict { expected, current });
        }
        let expiry = match &write.change {
            Change::Create(data, expiry) | Change::Replace(data, expiry) => {
                next.data = data.clone();
                *expiry
            }
            Change::Merge(patch, expiry) => {
                merge(&mut next.data, patch);
                *expiry
            }
            Change::Mutate(mutations, expiry) => {
                next.data = apply(next.data, mutations)?;
                *expiry
            }
            Change::Delete => {
                next.deleted = true;
                Expiry::Keep
            }
            Change::Restore => {
                next.deleted = false;
                Expiry::Keep
            }
        };
        match expiry {
            Expiry::Keep => {}
            Expiry::Never => next.expires_at = None,
            Expiry::At(at) if at > now => next.expires_at = Some(at),
            Expiry::At(_) => return Err(DocumentError::AlreadyExpired),
        }
        next.revision += 1;
        Ok(next)
    }
}

/// Where a write is remembered, as what, and how long.
struct Record {
    key: String,
    fingerprint: String,
    ttl: Duration,
}

impl Record {
    fn of(write: &Write, keys: &Keys) -> Record {
        match &write.idempotency {
            Some(Idempotency { key, fingerprint }) => Record {
                key: keys.write(&format!("key:{key}")),
                fingerprint: fingerprint.clone(),
                ttl: IDEMPOTENCY_TTL,
            },
            None => Record {
                key: keys.write(&format!("{:032x}", rand::random::<u128>())),
                fingerprint: String::new(),
                ttl: WRITE_TTL,
            },
        }
    }
}

//! Making a write: look, compute, and the script that makes it so unless another writer was faster.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::{Duration, Instant};

use sluice_retry::jittered;

use super::budget::object_fits;
use super::change::{Base, Change, ExpiryTime, Idempotency, Write};
use super::envelope::{DATA_OMITTED, Envelope, Rendered, render};
use super::functions::FUNCTIONS;
use super::keys::{ENQUEUE_WINDOW, IDEMPOTENCY_TTL, Keys, MADE_TTL, PAST_TTL, WRITE_TTL};
use super::number::Correction;
use super::steps::Steps;
use super::work::load;
use super::{Data, Document, DocumentError, Documents};

/// A write that others keep outrunning is given up after this long.
const CONTENTION_LIMIT: Duration = Duration::from_secs(10);
/// The mean pause before a write that was outrun is computed anew.
const PAUSE: Duration = Duration::from_millis(2);

/// What there is before an attempt to write.
enum Basis {
    Found(Found),
    /// This very write has been made.
    MadeBefore(Document),
}

/// What a write is computed from.
struct Found {
    /// The server's time, in milliseconds since 1970.
    now: u64,
    /// The document; empty when there is none.
    json: String,
    /// Behind which revision a new document begins.
    begins_behind: u64,
}

/// A write as the script takes it.
struct Plan {
    former: Former,
    revision: u64,
    deleted: bool,
    /// The new document's JSON up to its times, and what follows them.
    head: String,
    tail: String,
    /// When its keys are to go, in milliseconds since 1970.
    gone_at: Option<u64>,
    is_as_kept: bool,
    corrections: Vec<Correction>,
}

/// The outcome of an attempt to write.
enum Outcome {
    Written(Document),
    Outrun,
}

sluice_valkey::statuses! {
    /// How a write went.
    enum WriteStatus {
        Written = "written",
        /// The document has moved on.
        Outrun = "outrun",
        /// The write was made by another call.
        Made = "made",
        /// The record is of another request.
        Reused = "reused",
        /// Other writes have to be made first, or this accepted one is none any more.
        Waiting = "waiting",
    }
}

sluice_valkey::statuses! {
    /// How a write went that Valkey makes where the document is.
    enum MutateStatus {
        Written = "written",
        /// Nothing was done; it has to be computed.
        Left = "left",
    }
}

sluice_valkey::statuses! {
    /// What a write begins from.
    enum ReadStatus {
        /// The document, or none.
        Found = "found",
        /// Other writes have to be made first.
        Waiting = "waiting",
        /// The document as this write left it.
        Made = "made",
    }
}

impl Documents {
    /// Makes a write, or nothing of it. Without an expected revision, it is computed anew when
    /// another writer came first.
    ///
    /// # Errors
    /// Any [`DocumentError`]; the document is unchanged then, unless it is [`DocumentError::Store`]
    /// for a connection that failed until the end: then the write may have been made.
    pub async fn write(
        &self,
        service: &str,
        id: &str,
        write: &Write,
    ) -> Result<Document, DocumentError> {
        let keys = Keys::new(service, id);
        let record = Record::of(write, &keys);
        self.make(service, id, write, &keys, &record).await
    }

    /// Makes an accepted write, once however often this is called, with all that
    /// [`Documents::write`] says.
    ///
    /// # Errors
    /// As [`Documents::write`], and [`DocumentError::NotAccepted`].
    pub async fn write_accepted(
        &self,
        service: &str,
        id: &str,
        write: &Write,
        token: &str,
    ) -> Result<Document, DocumentError> {
        let keys = Keys::new(service, id);
        let record = Record::of_accepted(write, &keys, token);
        self.make(service, id, write, &keys, &record).await
    }

    async fn make(
        &self,
        service: &str,
        id: &str,
        write: &Write,
        keys: &Keys,
        record: &Record,
    ) -> Result<Document, DocumentError> {
        self.check_module().await?;
        self.check_count(write)?;
        let turn = self.turn(service, id);
        if record.accepted.is_empty()
            && let Some(steps) = Steps::of(write, &self.config)
        {
            let _turn = turn.read().await;
            if let Some(document) = self.mutate(keys, record, steps).await? {
                return Ok(document);
            }
        }
        // Writers of one process would only outrun each other.
        let _turn = turn.write().await;
        let begun = Instant::now();
        while begun.elapsed() < CONTENTION_LIMIT {
            let outcome = self.attempt(service, id, write, keys, record).await?;
            if let Outcome::Written(document) = outcome {
                return Ok(document);
            }
            metrics::counter!("sluice_document_writes_outrun_total").increment(1);
            tokio::time::sleep(jittered(PAUSE)).await;
        }
        Err(DocumentError::Contended)
    }

    /// Makes a write where the document is; none when it was not made, and has to be computed.
    async fn mutate(
        &self,
        keys: &Keys,
        record: &Record,
        Steps { expected, steps }: Steps,
    ) -> Result<Option<Document>, DocumentError> {
        let bytes = steps.iter().map(|it| it.path.len() + it.value.len() + 16);
        let mut cmd = FUNCTIONS.mutate.command_with_capacity(
            &[
                &keys.document,
                &keys.changes,
                &record.key,
                &keys.accepted,
                &keys.past,
            ],
            6 + 3 * steps.len(),
            256 + bytes.sum::<usize>(),
        );
        cmd.arg(text(expected.map(|it| it.revision)))
            .arg(text(expected.and_then(|it| it.created_at)))
            .arg(self.config.max_bytes)
            .arg(&keys.events)
            .arg(&record.fingerprint)
            .arg(record.ttl.as_millis() as u64);
        for step in &steps {
            cmd.arg(step.op).arg(&step.path).arg(&step.value);
        }
        let (status, revision, created_at, json): (MutateStatus, u64, u64, String) =
            FUNCTIONS.mutate.run(&self.valkey, &cmd).await?;
        Ok((status == MutateStatus::Written).then_some(Document {
            revision,
            created_at,
            deleted: false,
            json,
        }))
    }

    fn turn(&self, service: &str, id: &str) -> &tokio::sync::RwLock<()> {
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
        let found = match self.look(service, id, keys, record).await? {
            Basis::Found(found) => found,
            Basis::MadeBefore(document) => return Ok(Outcome::Written(document)),
        };
        let load = load(&write.change, found.json.len());
        let planned = self.work(load, || self.plan(service, id, write, found));
        let Plan {
            former,
            revision,
            deleted,
            head,
            tail,
            gone_at,
            is_as_kept,
            corrections,
        } = planned.await?;
        if former.created_at.is_empty() {
            self.announce(service, id).await?;
        }

        let mut cmd = FUNCTIONS.write.command_with_capacity(
            &[
                &keys.document,
                &keys.changes,
                &record.key,
                &keys.accepted,
                &keys.past,
            ],
            12,
            head.len() + 256,
        );
        cmd.arg(former.revision)
            .arg(&head)
            .arg(&former.created_at)
            .arg(former.updated_at)
            .arg(&tail)
            .arg(text(gone_at))
            .arg(&keys.events)
            .arg(&record.fingerprint)
            .arg(record.ttl.as_millis() as u64)
            .arg(&record.accepted)
            .arg(text(gone_at.map(|at| later(at, PAST_TTL))))
            .arg(u8::from(!is_as_kept));
        for float in &corrections {
            cmd.arg(&float.path).arg(&float.value).arg(&float.missing);
        }
        let (status, created_at, updated_at, kept): (WriteStatus, u64, u64, String) =
            FUNCTIONS.write.run(&self.valkey, &cmd).await?;
        match status {
            WriteStatus::Written if !kept.is_empty() => {
                Ok(Outcome::Written(Document::parse(kept)?))
            }
            WriteStatus::Written => Ok(Outcome::Written(Document {
                revision,
                created_at,
                deleted,
                json: format!(r#"{head},"createdAt":{created_at},"updatedAt":{updated_at}{tail}"#),
            })),
            WriteStatus::Reused => Err(DocumentError::IdempotencyKeyReused),
            WriteStatus::Waiting if record.accepted.is_empty() => Err(DocumentError::Waiting),
            WriteStatus::Waiting => Err(DocumentError::NotAccepted),
            // Looking again tells what there is now.
            WriteStatus::Outrun | WriteStatus::Made => Ok(Outcome::Outrun),
        }
    }

    async fn look(
        &self,
        service: &str,
        id: &str,
        keys: &Keys,
        record: &Record,
    ) -> Result<Basis, DocumentError> {
        let mut cmd = FUNCTIONS.read.command(&[
            &keys.document,
            &keys.changes,
            &record.key,
            &keys.accepted,
            &keys.past,
        ]);
        cmd.arg(&record.accepted)
            .arg(ENQUEUE_WINDOW.as_millis() as u64);
        type Reply = (ReadStatus, u64, String, u64, Vec<String>);
        let (status, now, json, past, made): Reply = FUNCTIONS.read.run(&self.valkey, &cmd).await?;
        if status == ReadStatus::Waiting {
            return Err(DocumentError::Waiting);
        }
        if let [revision, fingerprint, created_at, updated_at, rest] = made.as_slice() {
            if *fingerprint != record.fingerprint {
                return Err(DocumentError::IdempotencyKeyReused);
            }
            let without_data = format!(
                r#"{{"service":"{service}","id":"{id}","revision":{revision},"createdAt":{created_at},"updatedAt":{updated_at}{DATA_OMITTED}{rest}"#
            );
            let made = Document::parse(without_data)?;
            let kept = Some(json).filter(|json| !json.is_empty());
            let kept = kept.map(Document::parse).transpose()?;
            // The change of that revision may be of a later document.
            let kept = kept.filter(|kept| kept.version() == made.version());
            return Ok(Basis::MadeBefore(kept.unwrap_or(made)));
        }
        Ok(Basis::Found(Found {
            now,
            json,
            begins_behind: if past > 0 { past + 1 } else { 0 },
        }))
    }

    /// Computes a write from what there is.
    fn plan(
        &self,
        service: &str,
        id: &str,
        write: &Write,
        found: Found,
    ) -> Result<Plan, DocumentError> {
        let base = Base {
            now: found.now,
            bytes: found.json.len(),
            begins_behind: found.begins_behind,
            current: match found.json.is_empty() {
                true => None,
                false => Some(serde_json::from_str(&found.json)?),
            },
        };
        let former = Former::of(&base);
        let next = base.next(write, &self.config)?;
        let Rendered {
            json: data,
            is_as_kept,
            corrections,
        } = render(&next.data)?;
        if write.change.is_of_data() {
            self.check(&next.data, &data)?;
        }
        Ok(Plan {
            former,
            revision: next.revision,
            deleted: next.deleted,
            head: next.head(service, id, &data),
            tail: next.tail(),
            gone_at: self.gone_at(&next, found.now),
            is_as_kept,
            corrections,
        })
    }

    /// When the document's keys are to go, in milliseconds since 1970; none for never.
    fn gone_at(&self, next: &Envelope, now: u64) -> Option<u64> {
        let purged = next.deleted.then(|| later(now, self.config.retention));
        let gone = purged.into_iter().chain(next.expires_at).min();
        // A key goes once the clock is past its time.
        gone.map(|at| at - 1)
    }

    /// Whether there are not too many mutations.
    pub(super) fn check_count(&self, write: &Write) -> Result<(), DocumentError> {
        let limit = self.config.max_mutations;
        match &write.change {
            Change::Mutate(mutations, _) if mutations.len() > limit => {
                Err(DocumentError::TooManyMutations { limit })
            }
            _ => Ok(()),
        }
    }

    /// Whether the data keeps to the limits.
    pub(super) fn check(&self, data: &Data, json: &str) -> Result<(), DocumentError> {
        let limit = self.config.max_depth;
        let mutation = None;
        if !object_fits(data, limit) {
            return Err(DocumentError::TooDeep { limit, mutation });
        }
        let limit = self.config.max_bytes;
        if json.len() > limit {
            return Err(DocumentError::TooLarge { limit, mutation });
        }
        Ok(())
    }
}

/// A time so much later, within what Valkey takes.
fn later(at: u64, by: Duration) -> u64 {
    let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
    at.saturating_add(by).min(ExpiryTime::MAX)
}

fn text(time: Option<u64>) -> String {
    time.map(|it| it.to_string()).unwrap_or_default()
}

/// What the script must find for the write to be made.
struct Former {
    /// Behind which the new one begins, when there was no document.
    revision: u64,
    /// Tells two documents of one id and revision apart; empty when there was none.
    created_at: String,
    /// 0 when there was no document.
    updated_at: u64,
}

impl Former {
    fn of(base: &Base) -> Former {
        match &base.current {
            Some(current) => Former {
                revision: current.revision,
                created_at: current.created_at.to_string(),
                updated_at: current.updated_at,
            },
            None => Former {
                revision: base.begins_behind,
                created_at: String::new(),
                updated_at: 0,
            },
        }
    }
}

/// Where a write is remembered, as what, and how long.
struct Record {
    key: String,
    fingerprint: String,
    ttl: Duration,
    /// The token of an accepted write, else empty.
    accepted: String,
}

impl Record {
    fn of_accepted(write: &Write, keys: &Keys, token: &str) -> Record {
        let named = write.idempotency.as_ref();
        Record {
            key: keys.write(token),
            fingerprint: named.map(|it| it.fingerprint.clone()).unwrap_or_default(),
            ttl: named.map_or(MADE_TTL, |_| IDEMPOTENCY_TTL),
            accepted: token.to_owned(),
        }
    }

    fn of(write: &Write, keys: &Keys) -> Record {
        let key = keys.write(&token(write));
        match &write.idempotency {
            Some(Idempotency { fingerprint, .. }) => Record {
                key,
                fingerprint: fingerprint.clone(),
                ttl: IDEMPOTENCY_TTL,
                accepted: String::new(),
            },
            None => Record {
                key,
                fingerprint: String::new(),
                ttl: WRITE_TTL,
                accepted: String::new(),
            },
        }
    }
}

/// The name under which a write is remembered: the same for each time that the caller sends it
/// under its own key.
pub(super) fn token(write: &Write) -> String {
    match &write.idempotency {
        Some(Idempotency { key, .. }) => format!("key:{key}"),
        None => format!("{:032x}", rand::random::<u128>()),
    }
}

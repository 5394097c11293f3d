//! The ledger: what is known of every file, and the one place from which a change is made known.

use redis::FromRedisValue;

use super::buckets::{Bucket, Buckets, rounds};
use super::functions::FUNCTIONS;
use super::keys::{BUCKETS, NUDGES, bucket_of, key};
use super::lead::{Lead, lock};
use super::record::time;
use super::{Known, Nudge, print};
use crate::StoreError;

/// Documents that a sweep looks at in one call of each bucket.
const SWEPT_AT_ONCE: usize = 64;

/// What the ledger knows about a document at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LedgerState {
    /// That, or something later: there is nothing to do.
    Settled,
    /// Nothing: it is new, or has gone.
    Unknown,
    /// Something earlier.
    Known(Known),
}

/// A change whose effects have been brought about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The document's `_id`.
    pub doc_id: Box<str>,
    /// When it changed, ns.
    pub ts: i64,
    /// The file as it is since then; `None`: it is gone.
    pub file: Option<Known>,
    /// What is told about it, in this order: at most one for each of two names.
    pub nudges: Vec<Nudge>,
}

/// A document that a walk has not come by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmarked {
    /// Its `_id`.
    pub doc_id: Box<str>,
    /// What is known of it.
    pub known: Known,
}

impl Lead {
    /// What the ledger knows about these documents, each as it was at a time (ns), in their order;
    /// one round trip. In a walk, whose generation is given, those which are settled are marked as
    /// come by.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now; [`StoreError::DataLost`]
    /// when the ledger lost what this lead wrote.
    pub async fn look(
        &self,
        documents: &[(&str, i64)],
        generation: Option<u16>,
    ) -> Result<Vec<LedgerState>, StoreError> {
        let buckets = Buckets::of(documents.iter().map(|(doc_id, _)| bucket_of(doc_id)));
        let generation = generation.map(u16::to_be_bytes);
        let commands = buckets.commands(&FUNCTIONS.look, "documents", |cmd, places| {
            cmd.arg(self.token)
                .arg(generation.as_ref().map_or(&b""[..], |bytes| bytes));
            for &place in places {
                let (doc_id, ts) = documents[place];
                cmd.arg(doc_id).arg(&time(ts)[..]);
            }
        });
        if commands.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<Vec<redis::Value>> =
            FUNCTIONS.look.run_all(&self.valkey, commands).await?;
        let mut looks = vec![LedgerState::Settled; documents.len()];
        for ((number, places), answer) in buckets.used().zip(answers) {
            let mut answer = answer.into_iter();
            check_open(answer.next())?;
            let settled = answer.next().and_then(bytes).unwrap_or_default();
            self.check_settled(number, settled)?;
            for (&place, found) in places.iter().zip(answer) {
                looks[place] = match bytes(found) {
                    None => LedgerState::Settled,
                    Some(record) if record.is_empty() => LedgerState::Unknown,
                    Some(record) => LedgerState::Known(Known::decode(documents[place].0, &record)?),
                };
            }
        }
        Ok(looks)
    }

    /// Whether a bucket is as this lead left it. After a loss of data it is not, and what is
    /// missing comes again when the tail goes on from the progress that was kept; to settle later
    /// changes first would pass over it.
    fn check_settled(&self, number: usize, settled: Vec<u8>) -> Result<(), StoreError> {
        let seen = &mut lock(&self.settled)[number];
        match seen {
            Some(seen) if *seen != settled => Err(StoreError::DataLost),
            _ => {
                *seen = Some(settled);
                Ok(())
            }
        }
    }

    /// Records changes whose effects have been brought about and makes them known, each once,
    /// however often it is called. Nudges of one user and id come in the order of the settlements;
    /// one round trip where these are all of different ones. Deltas are to come in the order of
    /// their times. Returns how many were new.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now.
    pub async fn settle(
        &self,
        settlements: &[Settlement],
        generation: u16,
        are_deltas: bool,
    ) -> Result<u64, StoreError> {
        // Nudges as the script takes them: JSON texts, which have no line breaks, a line each.
        let mut nudges = Vec::with_capacity(settlements.len());
        for Settlement { nudges: told, .. } in settlements {
            let lines: Vec<String> = told.iter().map(print).collect::<Result<_, _>>()?;
            nudges.push(lines.join("\n"));
        }
        let mut done = 0;
        for round in rounds(settlements) {
            done += self
                .settle_round(settlements, &nudges, &round, generation, are_deltas)
                .await?;
        }
        Ok(done)
    }

    async fn settle_round(
        &self,
        settlements: &[Settlement],
        nudges: &[String],
        round: &Buckets,
        generation: u16,
        are_deltas: bool,
    ) -> Result<u64, StoreError> {
        let commands = round.commands(&FUNCTIONS.settle, "documents", |cmd, places| {
            cmd.arg(self.token).arg(u8::from(are_deltas)).arg(NUDGES);
            for &place in places {
                let Settlement {
                    doc_id, ts, file, ..
                } = &settlements[place];
                let record = file
                    .as_ref()
                    .map(|file| file.encode(doc_id, *ts, generation));
                cmd.arg(&**doc_id)
                    .arg(&time(*ts)[..])
                    .arg(record.as_deref().unwrap_or_default())
                    .arg(&nudges[place]);
            }
        });
        let answers: Vec<(Bucket, u64)> = FUNCTIONS.settle.run_all(&self.valkey, commands).await?;
        if answers.iter().any(|(bucket, _)| *bucket == Bucket::Closed) {
            return Err(StoreError::Superseded);
        }
        if are_deltas {
            let mut settled = lock(&self.settled);
            for (number, places) in round.used() {
                let last = places.iter().map(|&place| time(settlements[place].ts));
                settled[number] = last.max().map(Vec::from).max(settled[number].take());
            }
        }
        Ok(answers.iter().map(|(_, done)| done).sum())
    }

    /// Documents that the walk of this generation has not come by (`None`: all), some of each
    /// bucket from these cursors on, and where to go on; begin with [`SweepCursors::default`]. One
    /// round trip.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now.
    pub async fn sweep(
        &self,
        generation: Option<u16>,
        cursors: &mut SweepCursors,
    ) -> Result<Vec<Unmarked>, StoreError> {
        let generation = generation.map(u16::to_be_bytes);
        let generation = generation.as_ref().map_or(&b""[..], |bytes| bytes);
        let mut commands = Vec::new();
        let mut asked = Vec::new();
        for (number, cursor) in cursors.0.iter().enumerate() {
            let Some(cursor) = cursor else { continue };
            let mut cmd = FUNCTIONS
                .sweep
                .command(&[&key(number, "state"), &key(number, "documents")]);
            cmd.arg(self.token)
                .arg(generation)
                .arg(cursor)
                .arg(SWEPT_AT_ONCE);
            commands.push(cmd);
            asked.push(number);
        }
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let answers: Vec<Vec<redis::Value>> =
            FUNCTIONS.sweep.run_all(&self.valkey, commands).await?;
        let mut unmarked = Vec::new();
        for (number, answer) in asked.into_iter().zip(answers) {
            let mut answer = answer.into_iter();
            check_open(answer.next())?;
            let next = answer.next().and_then(bytes).unwrap_or_default();
            cursors.0[number] = Some(next).filter(|next| next != b"0");
            while let (Some(doc_id), Some(record)) =
                (answer.next().and_then(bytes), answer.next().and_then(bytes))
            {
                let doc_id = String::from_utf8_lossy(&doc_id);
                unmarked.push(Unmarked {
                    known: Known::decode(&doc_id, &record)?,
                    doc_id: doc_id.into(),
                });
            }
        }
        Ok(unmarked)
    }
}

/// Where a sweep goes on in each bucket.
#[derive(Debug, Clone)]
pub struct SweepCursors([Option<Vec<u8>>; BUCKETS]);

impl Default for SweepCursors {
    fn default() -> Self {
        SweepCursors(std::array::from_fn(|_| Some(b"0".to_vec())))
    }
}

impl SweepCursors {
    /// Whether every bucket has been looked through.
    pub fn are_done(&self) -> bool {
        self.0.iter().all(Option::is_none)
    }
}

/// Whether a bucket that answers so is open to the caller.
pub(super) fn check_open(status: Option<redis::Value>) -> Result<(), StoreError> {
    match status.map(Bucket::from_redis_value) {
        Some(Ok(Bucket::Open)) => Ok(()),
        Some(Ok(Bucket::Closed)) => Err(StoreError::Superseded),
        _ => Err(StoreError::Corrupt("the ledger")),
    }
}

fn bytes(value: redis::Value) -> Option<Vec<u8>> {
    match value {
        redis::Value::BulkString(bytes) => Some(bytes),
        _ => None,
    }
}

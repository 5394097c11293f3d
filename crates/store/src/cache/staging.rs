//! Bulk sync: entries are staged in chunks that nobody reads, then take the place of the live set
//! in one step.

use redis::{Cmd, FromRedisValue, Value};
use sluice_valkey::{Function, Valkey};

use super::amend::text;
use super::functions::FUNCTIONS;
use super::keys::{Keys, STAGING_TTL};
use super::{Cache, Change, ChangeKind, Entry, Overflow, chunks, millis};
use crate::StoreError;

/// A set of entries on its way into the cache. A user has one: it ends when another attempt opens
/// its own, or the user is invalidated. Dropped without commit, it expires by itself after 15
/// minutes.
pub struct Staging {
    valkey: Valkey,
    keys: Keys,
    token: String,
    epoch: u64,
    limit: u64,
    sync_ttl_ms: u64,
    /// How many steps were made: chunks pushed, and changes applied.
    steps: u64,
    totals: Pushed,
}

/// Running totals of a staging set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pushed {
    /// Entries admitted.
    pub entries: u64,
    /// Entries left out because they did not fit.
    pub skipped: u64,
    /// Bytes of ids and serialized entries admitted.
    pub bytes: u64,
}

/// What a commit put in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Entries in the set.
    pub entries: u64,
    /// Entries left out because they did not fit.
    pub skipped: u64,
    /// Bytes of ids and serialized entries.
    pub bytes: u64,
    /// Names this state of the set; later ones are greater.
    pub generation: u64,
}

impl Cache {
    /// Starts a staging set for `user`, in place of what a former attempt may have left. It is
    /// bound to the user's epoch: after an invalidate nothing more is written to it.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when the user is being invalidated, and [`StoreError::Valkey`].
    pub async fn stage(&self, user: &str, policy: Overflow) -> Result<Staging, StoreError> {
        let staging = Staging {
            valkey: self.valkey.clone(),
            keys: self.keys(user),
            token: format!("{:032x}", rand::random::<u128>()),
            epoch: self.epoch(user).await?,
            limit: self.config.limit_bytes,
            sync_ttl_ms: millis(self.config.sync_ttl),
            steps: 0,
            totals: Pushed::default(),
        };
        let mut cmd = staging.command(&FUNCTIONS.stage_open, 3, 32);
        cmd.arg(staging.limit)
            .arg(match policy {
                Overflow::Refuse => "refuse",
                Overflow::Skip => "skip",
            })
            .arg(millis(STAGING_TTL));
        let opened: Vec<Value> = FUNCTIONS.stage_open.run(&self.valkey, &cmd).await?;
        accepted(&opened)?;
        Ok(staging)
    }
}

impl Staging {
    /// Admits entries in order. The bytes are counted, and the limit kept, inside Valkey; an id
    /// that is staged already, or was removed by [`Staging::amend`], is ignored. Returns the
    /// running totals.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] under [`Overflow::Refuse`] when an entry does not fit; what
    /// was staged is gone then. [`StoreError::Superseded`] when the user's cache was invalidated;
    /// [`StoreError::StagingLost`] when the staging set expired, was evicted, or made room for that
    /// of another attempt.
    pub async fn push(&mut self, entries: &[Entry]) -> Result<Pushed, StoreError> {
        for chunk in chunks(entries, |entry| entry.id.len() + entry.json.len()) {
            let bytes = chunk
                .iter()
                .map(|entry| entry.id.len() + entry.doc_id.len() + entry.json.len())
                .sum();
            let mut cmd = self.step(&FUNCTIONS.stage_push, 3 * chunk.len(), bytes);
            for entry in chunk {
                // What cannot fit is announced without its content: beyond the limit nothing needs
                // to travel.
                let fits = self.totals.bytes + entry.size() <= self.limit;
                cmd.arg(&*entry.id)
                    .arg(entry.doc_id_if_different())
                    .arg(if fits { &entry.json[..] } else { b"" });
            }
            self.run(&FUNCTIONS.stage_push, &cmd).await?;
        }
        Ok(self.totals)
    }

    /// Applies revisions and removals that were seen while staging. One that grew and no longer
    /// fits is refused, or leaves the set and is counted as skipped. A file that is not staged is
    /// added (if it fits) only when `add_new`. Of two documents with one id the newer is staged.
    ///
    /// Returns the ids that the document left which was staged: another one may be the newest now.
    /// It is added by a call of this with `add_new`.
    ///
    /// # Errors
    /// As [`Staging::push`].
    pub async fn amend(
        &mut self,
        changes: &[Change],
        add_new: bool,
    ) -> Result<Vec<String>, StoreError> {
        let mut left = Vec::new();
        for chunk in chunks(changes, Change::bytes) {
            let bytes = chunk.iter().map(Change::bytes).sum();
            let mut cmd = self.step(&FUNCTIONS.stage_amend, 1 + 3 * chunk.len(), bytes);
            cmd.arg(u8::from(add_new));
            for change in chunk {
                let (id, json) = match &change.kind {
                    ChangeKind::Put(entry) => (&*entry.id, &entry.json[..]),
                    ChangeKind::Remove { .. } => ("", &b""[..]),
                };
                cmd.arg(&*change.doc_id).arg(id).arg(json);
            }
            left.extend(self.run(&FUNCTIONS.stage_amend, &cmd).await?);
        }
        Ok(left)
    }

    /// Puts the set in the place of the live one, for all readers at once, and drops the user's
    /// single entries. `kind` is the name of the sync type; `allOne` and `allTwo` make a set that
    /// later files are added to, as long as nothing is skipped. `as_of` (ns) is the time up to
    /// which the set holds every change: [`Cache::amend`] passes over those until then.
    ///
    /// # Errors
    /// As [`Staging::push`]. Nothing readers see has changed then.
    pub async fn commit(self, kind: &str, as_of: i64) -> Result<Committed, StoreError> {
        let keys = &self.keys;
        let mut all_keys = self.set_keys().to_vec();
        all_keys.extend([
            &*keys.live.info,
            &keys.live.entries,
            &keys.live.order,
            &keys.live.docs,
            &keys.single_entries,
            &keys.single_expiry,
            &keys.single_docs,
            &keys.live_stamps,
        ]);
        let mut cmd = FUNCTIONS.stage_commit.command(&all_keys);
        cmd.arg(&self.token)
            .arg(self.epoch)
            .arg(kind)
            .arg(u8::from(matches!(kind, "allOne" | "allTwo")))
            .arg(self.sync_ttl_ms)
            .arg(as_of)
            .arg(self.steps);
        let reply: Vec<Value> = FUNCTIONS.stage_commit.run(&self.valkey, &cmd).await?;
        let numbers = accepted(&reply)?.iter().map(u64::from_redis_value_ref);
        let numbers: Result<Vec<u64>, _> = numbers.collect();
        match numbers.as_deref() {
            Ok(&[entries, skipped, bytes, generation]) => Ok(Committed {
                entries,
                skipped,
                bytes,
                generation,
            }),
            _ => Err(StoreError::Corrupt("a staging set")),
        }
    }

    /// Drops what was staged, unless another attempt has taken its place.
    ///
    /// # Errors
    /// [`StoreError::Valkey`]; the set then expires by itself.
    pub async fn abandon(self) -> Result<(), StoreError> {
        let mut cmd = FUNCTIONS.stage_abandon.command(&self.keys.staging());
        cmd.arg(&self.token);
        Ok(FUNCTIONS.stage_abandon.run(&self.valkey, &cmd).await?)
    }

    /// The running totals as last reported by Valkey.
    pub fn totals(&self) -> Pushed {
        self.totals
    }

    /// The keys of the staging scripts, in their order.
    fn set_keys(&self) -> [&str; 6] {
        let [info, entries, order, docs, skipped] = self.keys.staging();
        [&self.keys.epoch, info, entries, order, docs, skipped]
    }

    /// A call of one of the staging scripts, all of which are fenced by the token and the epoch.
    fn command(&self, function: &Function, args: usize, bytes: usize) -> Cmd {
        let mut cmd = function.command_with_capacity(&self.set_keys(), 4 + args, 96 + bytes);
        cmd.arg(&self.token).arg(self.epoch);
        cmd
    }

    /// As [`Staging::command`], of the next step, which is refused where the one before it is
    /// missing.
    fn step(&self, function: &Function, args: usize, bytes: usize) -> Cmd {
        let mut cmd = self.command(function, 2 + args, bytes);
        cmd.arg(self.steps + 1).arg(millis(STAGING_TTL));
        cmd
    }

    /// Runs a step and takes over the totals. Returns the ids behind them in its answer.
    async fn run(&mut self, function: &Function, cmd: &Cmd) -> Result<Vec<String>, StoreError> {
        let answer: Vec<Value> = function.run(&self.valkey, cmd).await?;
        match accepted(&answer)? {
            [
                Value::Int(entries),
                Value::Int(skipped),
                Value::Int(bytes),
                ..,
            ] => {
                self.totals = Pushed {
                    entries: entries.unsigned_abs(),
                    skipped: skipped.unsigned_abs(),
                    bytes: bytes.unsigned_abs(),
                };
                self.steps += 1;
                Ok(answer.into_iter().skip(4).filter_map(text).collect())
            }
            _ => Err(StoreError::Corrupt("a staging set")),
        }
    }
}

sluice_valkey::statuses! {
    /// How a call of a staging function went.
    enum Status {
        /// As it should.
        Staged = "staged",
        /// The epoch has moved on.
        Superseded = "superseded",
        /// An entry does not fit; the limit follows.
        Refused = "refused",
        /// The set is gone, or another attempt's.
        Lost = "lost",
    }
}

/// What follows the status in the answer of a staging function, when that is good.
fn accepted(answer: &[Value]) -> Result<&[Value], StoreError> {
    let (status, rest) = answer
        .split_first()
        .ok_or(StoreError::Corrupt("a staging set"))?;
    match (Status::from_redis_value_ref(status), rest) {
        (Ok(Status::Staged), rest) => Ok(rest),
        (Ok(Status::Superseded), _) => Err(StoreError::Superseded),
        (Ok(Status::Lost), _) => Err(StoreError::StagingLost),
        (Ok(Status::Refused), [Value::Int(limit)]) => Err(StoreError::LimitExceeded {
            limit: limit.unsigned_abs(),
        }),
        _ => Err(StoreError::Corrupt("a staging set")),
    }
}

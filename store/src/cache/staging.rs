//! Bulk sync: entries are staged in chunks that nobody reads, then take the place of the live set in one step.

use std::sync::LazyLock;

use redis::{Cmd, Value};

use super::amend::text;
use super::keys::{Keys, STAGING_TTL, SetKeys};
use super::{Cache, Change, ChangeKind, Entry, Overflow, chunks, millis};
use crate::{Script, StoreError, Valkey};

static OPEN: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "stage_open",
        include_str!("../../../lua/cache/stage_open.lua"),
    )
});
static PUSH: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "stage_push",
        include_str!("../../../lua/cache/stage_push.lua"),
    )
});
static AMEND: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "stage_amend",
        concat!(
            include_str!("../../../lua/cache/rivals.lua"),
            include_str!("../../../lua/cache/stage_amend.lua")
        ),
    )
});
static COMMIT: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "stage_commit",
        include_str!("../../../lua/cache/stage_commit.lua"),
    )
});

/// A set of entries on its way into the cache. Dropped without commit, it expires by itself after 15 minutes.
pub struct Staging {
    valkey: Valkey,
    keys: Keys,
    staged: SetKeys,
    skipped_key: String,
    token: String,
    limit: u64,
    sync_ttl_ms: u64,
    chunks_sent: u64,
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
    /// Starts a staging set for `user`. It is bound to the user's epoch: after an invalidate it can no longer be committed.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn stage(&self, user: &str, policy: Overflow) -> Result<Staging, StoreError> {
        let keys = self.keys(user);
        let token = format!("{:032x}", rand::random::<u128>());
        let staged = keys.staged(&token);
        let mut cmd = OPEN.command(&[&keys.epoch, &staged.info]);
        cmd.arg(self.config.limit_bytes)
            .arg(match policy {
                Overflow::Refuse => "refuse",
                Overflow::Skip => "skip",
            })
            .arg(millis(STAGING_TTL));
        OPEN.run::<u64>(&self.valkey, &cmd).await?;
        Ok(Staging {
            valkey: self.valkey.clone(),
            skipped_key: keys.skipped(&token),
            keys,
            staged,
            token,
            limit: self.config.limit_bytes,
            sync_ttl_ms: millis(self.config.sync_ttl),
            chunks_sent: 0,
            totals: Pushed::default(),
        })
    }
}

impl Staging {
    /// Admits entries in order. The bytes are counted, and the limit kept, inside Valkey; an id that is staged already, or
    /// was removed by [`Staging::amend`], is ignored. Returns the running totals.
    ///
    /// # Errors
    /// [`StoreError::LimitExceeded`] under [`Overflow::Refuse`] when an entry does not fit; what was staged is gone then.
    /// [`StoreError::Superseded`] when the user's cache was invalidated or the staging set expired.
    pub async fn push(&mut self, entries: &[Entry]) -> Result<Pushed, StoreError> {
        for chunk in chunks(entries, |entry| entry.id.len() + entry.json.len()) {
            let bytes = chunk
                .iter()
                .map(|entry| entry.id.len() + entry.doc_id.len() + entry.json.len())
                .sum();
            let mut cmd = self.command(&PUSH, 3 * chunk.len(), bytes);
            cmd.arg(self.chunks_sent + 1).arg(millis(STAGING_TTL));
            for entry in chunk {
                // What cannot fit is announced without its content: beyond the limit nothing needs to travel.
                let fits = self.totals.bytes + entry.size() <= self.limit;
                cmd.arg(&*entry.id)
                    .arg(entry.doc_id_if_different())
                    .arg(if fits { &entry.json[..] } else { b"" });
            }
            self.run(&PUSH, &cmd).await?;
            self.chunks_sent += 1;
        }
        Ok(self.totals)
    }

    /// Applies revisions and removals that were seen while staging. One that grew and no longer fits is refused, or leaves the
    /// set and is counted as skipped. A file that is not staged is added (if it fits) only when `add_new`. Of two documents
    /// with one id the newer is staged.
    ///
    /// Returns the ids that the document left which was staged: another one may be the newest now. It is added by a call of
    /// this with `add_new`.
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
            let mut cmd = self.command(&AMEND, 3 * chunk.len(), bytes);
            cmd.arg(u8::from(add_new)).arg(millis(STAGING_TTL));
            for change in chunk {
                let (id, json) = match &change.kind {
                    ChangeKind::Put(entry) => (&*entry.id, &entry.json[..]),
                    ChangeKind::Remove { .. } => ("", &b""[..]),
                };
                cmd.arg(&*change.doc_id).arg(id).arg(json);
            }
            left.extend(self.run(&AMEND, &cmd).await?);
        }
        Ok(left)
    }

    /// Puts the set in the place of the live one, for all readers at once, and drops the user's single entries. `kind` is the
    /// name of the sync type; `allOne` and `allTwo` make a set that later files are added to, as long as nothing is skipped.
    /// `as_of` (ns) is the time up to which the set holds every change: [`Cache::amend`] passes over those until then.
    ///
    /// # Errors
    /// As [`Staging::push`]. Nothing readers see has changed then.
    pub async fn commit(self, kind: &str, as_of: i64) -> Result<Committed, StoreError> {
        let Keys {
            epoch,
            live,
            live_stamps,
            single_entries,
            single_expiry,
            single_docs,
            ..
        } = &self.keys;
        let mut cmd = COMMIT.command(&[
            epoch,
            &self.staged.info,
            &self.staged.entries,
            &self.staged.order,
            &self.staged.docs,
            &self.skipped_key,
            &live.info,
            &live.entries,
            &live.order,
            &live.docs,
            single_entries,
            single_expiry,
            single_docs,
            live_stamps,
        ]);
        cmd.arg(&self.token)
            .arg(kind)
            .arg(u8::from(matches!(kind, "allOne" | "allTwo")))
            .arg(self.sync_ttl_ms)
            .arg(as_of);
        match COMMIT.run::<Vec<u64>>(&self.valkey, &cmd).await?[..] {
            [0, entries, skipped, bytes, generation] => Ok(Committed {
                entries,
                skipped,
                bytes,
                generation,
            }),
            [2, limit] => Err(StoreError::LimitExceeded { limit }),
            _ => Err(StoreError::Superseded),
        }
    }

    /// Drops what was staged.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`]; the set then expires by itself.
    pub async fn abandon(self) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("UNLINK");
        cmd.arg(&self.set_keys()[1..]);
        self.valkey.query("stage_abandon", &cmd, None).await
    }

    /// The running totals as last reported by Valkey.
    pub fn totals(&self) -> Pushed {
        self.totals
    }

    /// The keys of the staging scripts, in their order.
    fn set_keys(&self) -> [&str; 6] {
        [
            &self.keys.epoch,
            &self.staged.info,
            &self.staged.entries,
            &self.staged.order,
            &self.staged.docs,
            &self.skipped_key,
        ]
    }

    fn command(&self, script: &Script, args: usize, bytes: usize) -> Cmd {
        script.command_with_capacity(&self.set_keys(), 2 + args, 32 + bytes)
    }

    /// Runs a script and takes over the totals. Returns the ids behind them in its answer.
    async fn run(&mut self, script: &Script, cmd: &Cmd) -> Result<Vec<String>, StoreError> {
        let answer: Vec<Value> = script.run(&self.valkey, cmd).await?;
        match answer[..] {
            [
                Value::Int(0),
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
                Ok(answer.into_iter().skip(4).filter_map(text).collect())
            }
            [Value::Int(2), Value::Int(limit)] => Err(StoreError::LimitExceeded {
                limit: limit.unsigned_abs(),
            }),
            _ => Err(StoreError::Superseded),
        }
    }
}

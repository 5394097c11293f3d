//! What the worker that follows Convex keeps: who it is, how far it has come, and the ledger of all
//! files.
//!
//! Of all workers one tails, the one that holds the lease ([`Tail::claim`]). With it comes a token
//! that only grows; whatever is written here is written with it, and a worker that was overtaken
//! while it stood still is refused.
//!
//! The *ledger* knows of each document whose file it is, by which id, and when it last changed. A
//! tombstone of Convex names nothing but the `_id`, so this is what tells whose file was deleted.
//! It is also what makes each change known once, however often it comes: a change is *settled* by
//! one script that compares, records and publishes. [`keys`] lists what is kept.

mod buckets;
mod functions;
pub mod keys;
mod lead;
mod ledger;
mod names;
mod record;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use lead::Lead;
pub use ledger::{LedgerState, Settlement, SweepCursors, Unmarked};
pub use names::Naming;
pub use record::Known;

use functions::FUNCTIONS;
use sluice_valkey::Valkey;

use crate::StoreError;
use crate::library::METRICS;

/// How long the lease is good for without being extended.
pub const LEASE: Duration = Duration::from_secs(6);

/// What the tail keeps in Valkey. Cheap to clone.
#[derive(Clone)]
pub struct Tail {
    valkey: Valkey,
}

/// How far the tail has come: what the next worker goes on from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Deltas up to this time, ns, are settled; `None` until the first walk has come to its end.
    pub cursor: Option<i64>,
    /// Which walk was the last; documents that it came by, or that changed since, are marked with
    /// it.
    pub generation: u16,
    /// The walk that is under way.
    pub walk: Option<WalkProgress>,
    /// The time, ns, of a change that the log told of. As long as it still does, nothing went
    /// unsaid.
    pub witness: Option<i64>,
    /// The snapshot, ns, of the last walk that came to its end.
    pub compared: Option<i64>,
    /// The ledger knows the names of all its documents.
    #[serde(default)]
    pub named: bool,
}

/// How far a walk over all documents has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalkProgress {
    /// What it is for.
    pub purpose: Purpose,
    /// The time at which it sees the table, ns.
    pub snapshot: i64,
    /// Where the next page begins; `None`: at the beginning.
    pub cursor: Option<String>,
    /// All pages are done; what the walk has not come by is still to be removed.
    pub walked: bool,
    /// The time of the latest change it has seen, ns.
    pub newest: Option<i64>,
}

/// What a walk is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// The ledger is empty: it learns what there is. Nothing is made known, since nothing changed.
    Begin,
    /// Convex no longer has the deltas since the cursor: the walk finds what changed since then.
    Restart,
    /// The ledger is whole but for documents that went without a tombstone, which are looked for.
    /// Deltas go on meanwhile.
    Compare,
}

impl Purpose {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Purpose::Begin => "begin",
            Purpose::Restart => "restart",
            Purpose::Compare => "compare",
        }
    }
}

/// How the tail is doing, as the worker saw it last.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Health {
    /// When that was, ms since 1970 by the worker's clock.
    pub at: u64,
    /// How long ago it knew all there was in Convex, s.
    pub lag_secs: f64,
    /// Changes taken in since then.
    pub lag_rows: u64,
    /// What keeps it from going on, if anything does.
    pub trouble: Option<String>,
}

/// Who tails, how far, and how well.
#[derive(Debug, Clone, PartialEq)]
pub struct TailStatus {
    /// The worker that holds the lease; `None` when none does.
    pub worker: Option<String>,
    /// How far it has come.
    pub progress: Progress,
    /// How it is doing; `None` when none ever tailed.
    pub health: Option<Health>,
}

/// In one word, how the tail is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TailState {
    /// It knows all there is in Convex, to within [`TailStatus::LATE`].
    Ok,
    /// It is walking over all files, before it can follow the deltas.
    Loading,
    /// It is further behind than that.
    Behind,
    /// Something keeps it from going on.
    Failing,
    /// No worker tails: none is up, or all have it switched off.
    Unattended,
}

impl TailState {
    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            TailState::Ok => "ok",
            TailState::Loading => "loading",
            TailState::Behind => "behind",
            TailState::Failing => "failing",
            TailState::Unattended => "unattended",
        }
    }
}

impl TailStatus {
    /// How far behind it is said to be late.
    pub const LATE: Duration = Duration::from_secs(60);

    /// How it is doing, all in all.
    pub fn state(&self) -> TailState {
        let walk = self.progress.walk.as_ref();
        match (&self.worker, &self.health) {
            (_, Some(health)) if health.trouble.is_some() => TailState::Failing,
            (None, _) | (_, None) => TailState::Unattended,
            _ if walk.is_some_and(|walk| walk.purpose != Purpose::Compare) => TailState::Loading,
            (_, Some(health)) if health.lag_secs > Self::LATE.as_secs_f64() => TailState::Behind,
            _ => TailState::Ok,
        }
    }

    /// Up to when changes in Convex have been taken in, ms since 1970.
    pub fn settled_until_ms(&self) -> Option<u64> {
        let cursor = self.progress.cursor?;
        u64::try_from(cursor / 1_000_000).ok()
    }
}

/// A change that was made known, as it is published on [`keys::NUDGES`]: once for each document,
/// time and name. A document that got another id is told of twice: of the name that it left, then
/// of the one that it has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Nudge {
    /// What happened.
    pub change: NudgeKind,
    /// The file's owner; of a deleted one, who it was.
    pub user: String,
    /// The owner until then, when that was another user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub former_user: Option<String>,
    /// The file's id.
    pub id: String,
    /// The document's `_id`.
    pub doc_id: String,
    /// When, in ns since 1970: text, since the number is too long for JavaScript. Of a deletion
    /// that left no tombstone, a time by which it had happened.
    pub ts: String,
}

/// What happened to a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NudgeKind {
    /// It is new: there was none with this user and id.
    Created,
    /// It has another revision, or another owner, or one of several documents with this user and id
    /// came or went.
    Updated,
    /// It is gone: there is none with this user and id.
    Deleted,
}

sluice_valkey::statuses! {
    /// Who has the lease.
    enum ClaimStatus {
        /// The caller.
        Granted = "granted",
        /// Another worker.
        Held = "held",
    }
}

impl Tail {
    /// The tail as kept in `valkey`.
    pub fn new(valkey: &Valkey) -> Tail {
        Tail {
            valkey: valkey.pooled().measured(METRICS),
        }
    }

    /// The lease and where to go on, unless another worker holds it.
    ///
    /// # Errors
    /// [`StoreError::Valkey`]; [`StoreError::Corrupt`] when what is kept
    /// cannot be read.
    pub async fn claim(&self, worker: &str) -> Result<Option<Lead>, StoreError> {
        let mut cmd = FUNCTIONS.claim.command(&[keys::LEASE, keys::STATE]);
        cmd.arg(worker).arg(LEASE.as_millis() as u64);
        let (status, token, progress): (ClaimStatus, u64, String) =
            FUNCTIONS.claim.run(&self.valkey, &cmd).await?;
        match status {
            ClaimStatus::Granted => Lead::new(self.valkey.clone(), token, progress).map(Some),
            ClaimStatus::Held => Ok(None),
        }
    }

    /// Who tails, how far, and how well.
    ///
    /// # Errors
    /// As [`Tail::claim`].
    pub async fn status(&self) -> Result<TailStatus, StoreError> {
        let mut held = redis::cmd("EXISTS");
        held.arg(keys::LEASE);
        let held: bool = self.valkey.query("tail_status", &held).await?;
        let mut state = redis::cmd("HMGET");
        state
            .arg(keys::STATE)
            .arg(&["worker", "progress", "status"]);
        let (worker, progress, health): (Option<String>, Option<String>, Option<String>) =
            self.valkey.query("tail_status", &state).await?;
        Ok(TailStatus {
            worker: worker.filter(|_| held),
            progress: progress.map_or_else(|| Ok(Progress::default()), |text| parse(&text))?,
            health: health.map(|text| parse(&text)).transpose()?,
        })
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, StoreError> {
    serde_json::from_str(text).map_err(|_| StoreError::Corrupt("the state of the tail"))
}

fn print(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Corrupt("the state of the tail"))
}

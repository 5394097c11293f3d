//! Applying the changes of a device: one after the other, each by one function.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::change::{Change, ChangeFault, Prepared, Strategy};
use super::devices::check_id;
use super::functions::FUNCTIONS;
use super::names::Name;
use super::shares::call;
use super::{Caller, ChangeType, CursorFault, Filesync, FilesyncError, new_id};
use crate::StoreError;

/// Copy names that are offered at once.
const COPIES: usize = 8;
/// A change that is given copy names this often has found none.
pub(super) const ROUNDS: usize = 64;

/// The changes of a device.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The device.
    pub device: String,
    /// The share.
    pub share: String,
    /// What is to happen where changes conflict; without one the first conflict ends the batch.
    pub strategy: Option<Strategy>,
    /// The share's position that the device had applied; none for its stored cursor.
    pub base_cursor: Option<u64>,
    /// The device's clock when it sent this, in ms since 1970.
    pub sent_at: Option<i64>,
    /// Whether it may delete more than the share's guard lets pass.
    pub is_confirmed: bool,
    /// In the order in which they happened.
    pub changes: Vec<Change>,
}

/// What became of a batch: each change in exactly one of the lists, in order.
#[derive(Debug, Default)]
pub struct Applied {
    /// Changes that were made, as JSON.
    pub applied: Vec<Box<RawValue>>,
    /// Changes that were not, as JSON.
    pub conflicts: Vec<Box<RawValue>>,
    /// The highest position up to which everything behind the base was written by this batch.
    pub cursor: u64,
}

/// What ended a batch.
#[derive(Debug)]
pub struct Interrupted {
    /// Which change, from 0 on.
    pub index: usize,
    /// What was made before.
    pub applied: Vec<Box<RawValue>>,
    /// Why.
    pub reason: Interruption,
}

/// Why a batch ended.
#[derive(Debug)]
pub enum Interruption {
    /// A conflict without a strategy. `server` is the server's node as JSON, or `null`.
    Conflict {
        /// Whether only the base version is outdated.
        is_stale: bool,
        /// The server's node.
        server: Box<RawValue>,
    },
    /// The id of the change is that of another one.
    IdReused,
    /// More deletions than the share's guard lets pass.
    MassDelete,
}

sluice_valkey::statuses! {
    enum Status {
        Done = "done",
        Conflicts = "conflicts",
        Skipped = "skipped",
        Rejected = "rejected",
        Conflict = "conflict",
        Stale = "stale",
        Names = "names",
        NotFound = "not_found",
        Forbidden = "forbidden",
        NoDevice = "no_device",
        Inactive = "inactive",
        Reused = "reused",
        Reset = "reset",
        Guarded = "guarded",
    }
}

/// Status, item, first and last position, base, head.
type Answer = (Status, String, u64, u64, u64, u64);

impl Filesync {
    /// Applies the changes of a device. Sent again with the same ids, it answers as it did before.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`] for the share or the device, [`FilesyncError::Forbidden`],
    /// [`FilesyncError::DeviceInactive`], [`FilesyncError::CursorInvalid`] for a base past the head,
    /// [`FilesyncError::Interrupted`], [`FilesyncError::Store`]: what was made before stays made.
    pub async fn apply(&self, caller: &Caller, batch: &Batch) -> Result<Applied, FilesyncError> {
        check_id(caller.device(&batch.device))?;
        let mut run = Run::new(batch);
        for (index, change) in batch.changes.iter().enumerate() {
            let step = Step {
                files: self,
                caller,
                batch,
                change,
            };
            match run.take(&step).await? {
                None => {}
                Some(reason) => {
                    return Err(FilesyncError::Interrupted(Box::new(Interrupted {
                        index,
                        applied: run.answer.applied,
                        reason,
                    })));
                }
            }
        }
        Ok(run.answer)
    }
}

/// One change of a batch.
struct Step<'a> {
    files: &'a Filesync,
    caller: &'a Caller,
    batch: &'a Batch,
    change: &'a Change,
}

/// A batch while it is applied.
struct Run {
    answer: Applied,
    base: Option<u64>,
    /// What later changes must not build on.
    blocked: BTreeSet<String>,
    blocked_paths: Vec<String>,
    /// Ids that a device chose, and those that the server has instead.
    aliases: HashMap<String, String>,
}

/// What is read of an item.
#[derive(Deserialize)]
struct Item {
    resource_id: Option<String>,
    client_resource_id: Option<String>,
    outcome: String,
}

impl Run {
    fn new(batch: &Batch) -> Self {
        Self {
            answer: Applied {
                cursor: batch.base_cursor.unwrap_or_default(),
                ..Applied::default()
            },
            base: batch.base_cursor,
            blocked: BTreeSet::new(),
            blocked_paths: Vec::new(),
            aliases: HashMap::new(),
        }
    }

    async fn take(&mut self, step: &Step<'_>) -> Result<Option<Interruption>, FilesyncError> {
        let mut prepared = match step.change.prepare() {
            Ok(prepared) => prepared,
            Err(fault) => {
                self.block(step.change);
                self.answer.conflicts.push(rejected(step.change, &fault)?);
                return Ok(None);
            }
        };
        for id in [&mut prepared.r, &mut prepared.p].into_iter().flatten() {
            if let Some(alias) = self.aliases.get(id) {
                alias.clone_into(id);
            }
        }
        if self.is_below_blocked(&prepared) {
            self.block(step.change);
            self.answer.conflicts.push(skipped(step.change)?);
            return Ok(None);
        }
        let (status, item, first, last, base, _) =
            step.judged(&prepared, self.base, &self.blocked).await?;
        if self.base.is_none() {
            self.base = Some(base);
            self.answer.cursor = base;
        }
        match status {
            Status::Done => {
                if first == self.answer.cursor + 1 {
                    self.answer.cursor = last;
                }
                self.remember(step.change, &item)?;
                self.answer.applied.push(raw(item)?);
            }
            Status::Conflicts | Status::Rejected | Status::Skipped => {
                self.block(step.change);
                self.answer.conflicts.push(raw(item)?);
            }
            Status::Conflict | Status::Stale => {
                return Ok(Some(Interruption::Conflict {
                    is_stale: status == Status::Stale,
                    server: raw(item)?,
                }));
            }
            Status::Reused => return Ok(Some(Interruption::IdReused)),
            Status::Guarded => return Ok(Some(Interruption::MassDelete)),
            Status::NotFound => return Err(FilesyncError::NotFound("share")),
            Status::NoDevice => return Err(FilesyncError::NotFound("device")),
            Status::Forbidden => return Err(FilesyncError::Forbidden),
            Status::Inactive => return Err(FilesyncError::DeviceInactive),
            Status::Reset => return Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged)),
            Status::Names => return Err(StoreError::Corrupt("the names of a folder").into()),
        }
        Ok(None)
    }

    /// Ids that the server has for those of a creation.
    fn remember(&mut self, change: &Change, item: &str) -> Result<(), FilesyncError> {
        if change.change_type != Some(ChangeType::Created) {
            return Ok(());
        }
        let item: Item = serde_json::from_str(item).map_err(|_| corrupt())?;
        if let (Some(own), Some(id)) = (item.client_resource_id, item.resource_id)
            && item.outcome != "copied"
        {
            self.aliases.insert(own, id);
        }
        Ok(())
    }

    fn block(&mut self, change: &Change) {
        self.blocked.extend(change.resource_id.clone());
        let paths = [&change.new_path, &change.old_path];
        self.blocked_paths
            .extend(paths.into_iter().flatten().cloned());
    }

    fn is_below_blocked(&self, change: &Prepared) -> bool {
        let is_blocked =
            |id: &Option<String>| id.as_ref().is_some_and(|id| self.blocked.contains(id));
        let is_below = |path: &String| {
            let rest = |blocked: &String| path.strip_prefix(blocked.as_str());
            let mut below = self.blocked_paths.iter().filter_map(rest);
            below.any(|rest| rest.starts_with('/'))
        };
        is_blocked(&change.r)
            || is_blocked(&change.p)
            || [&change.path, &change.old]
                .into_iter()
                .flatten()
                .any(is_below)
    }
}

/// The names that a function wants copies of.
#[derive(Deserialize)]
struct Wanted {
    name: String,
    tried: usize,
    device: String,
}

/// Copies of names, by name, as a function takes them.
#[derive(Default)]
pub(super) struct Copies(BTreeMap<String, Vec<[String; 2]>>);

impl Copies {
    pub(super) fn json(&self) -> String {
        json!(self.0).to_string()
    }

    /// Adds those that a function wants.
    pub(super) fn add(&mut self, wanted: &str) -> Result<(), FilesyncError> {
        let wanted: Wanted = serde_json::from_str(wanted).map_err(|_| corrupt())?;
        let name = Name::parse(&wanted.name).map_err(|_| corrupt())?;
        let date = today();
        let numbers = wanted.tried + 1..=wanted.tried + COPIES;
        let copies = numbers.map(|number| name.copy(&wanted.device, &date, number));
        let copies = copies.map(|copy| [copy.text, copy.folded]);
        self.0.entry(wanted.name).or_default().extend(copies);
        Ok(())
    }
}

impl Step<'_> {
    /// Has the change judged and made.
    async fn judged(
        &self,
        prepared: &Prepared,
        base: Option<u64>,
        blocked: &BTreeSet<String>,
    ) -> Result<Answer, FilesyncError> {
        let text = |number: Option<i64>| number.map(|it| it.to_string()).unwrap_or_default();
        let blocked: BTreeMap<&String, bool> = blocked.iter().map(|id| (id, true)).collect();
        let kind = match self.change.resource_type {
            Some(super::ResourceType::Folder) => "fld",
            _ => "fil",
        };
        let sent = serde_json::to_string(self.change).map_err(|_| corrupt())?;
        let prepared = serde_json::to_string(prepared).map_err(|_| corrupt())?;
        let fingerprint = fingerprint(&sent);
        let mut copies = Copies::default();
        for _ in 0..ROUNDS {
            let mut call = call(&FUNCTIONS.apply, self.caller, &self.batch.share);
            call.arg(&self.batch.device)
                .arg(self.batch.strategy.map_or("", Strategy::name))
                .arg(base.map(|it| it.to_string()).unwrap_or_default())
                .arg(text(self.batch.sent_at))
                .arg(&prepared)
                .arg(&sent)
                .arg(&fingerprint)
                .arg(new_id("chg"))
                .arg(new_id(kind))
                .arg(new_id("cnf"))
                .arg(copies.json())
                .arg(json!(blocked).to_string())
                .arg(u8::from(self.batch.is_confirmed))
                .arg(new_id("call"));
            let answer: Answer = FUNCTIONS.apply.run(&self.files.valkey, &call).await?;
            if answer.0 != Status::Names {
                return Ok(answer);
            }
            copies.add(&answer.1)?;
        }
        Err(StoreError::Corrupt("the names of a folder").into())
    }
}

/// What tells a change, as JSON, from another of the same id.
fn fingerprint(change: &str) -> String {
    let hash = Sha256::digest(change);
    let bytes = hash.iter().take(12);
    bytes.map(|byte| format!("{byte:02x}")).collect()
}

/// The date, as names of copies have it.
fn today() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.unwrap_or_default().as_secs();
    let time = i64::try_from(seconds)
        .ok()
        .and_then(|it| DateTime::from_timestamp(it, 0));
    time.unwrap_or_default().format("%Y-%m-%d").to_string()
}

fn raw(json: String) -> Result<Box<RawValue>, FilesyncError> {
    RawValue::from_string(json).map_err(|_| corrupt())
}

fn corrupt() -> FilesyncError {
    StoreError::Corrupt("an outcome").into()
}

fn skipped(change: &Change) -> Result<Box<RawValue>, FilesyncError> {
    let item = json!({
        "id": change.id,
        "outcome": "skip",
        "reason": "depends_on",
        "resource_id": change.resource_id,
        "server": null,
        "next": "none",
    });
    raw(item.to_string())
}

fn rejected(change: &Change, fault: &ChangeFault) -> Result<Box<RawValue>, FilesyncError> {
    let item = json!({
        "id": change.id,
        "outcome": "rejected",
        "reason": "invalid",
        "code": fault.code,
        "detail": fault.detail,
        "resource_id": change.resource_id,
        "server": null,
        "next": "none",
    });
    raw(item.to_string())
}

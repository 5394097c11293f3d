//! Conflicts: listed, and resolved.

use std::collections::HashMap;

use redis::{Cmd, FromRedisValue, ParsingError, Value};
use serde_json::value::RawValue;

use super::apply::{Copies, ROUNDS};
use super::functions::FUNCTIONS;
use super::shares::call;
use super::{Caller, Filesync, FilesyncError, Strategy, new_id};
use crate::StoreError;

/// Most conflicts of a share in one answer.
const MAX_CONFLICTS: usize = 1_000;
/// Shares that are asked for their conflicts at once.
const SHARES: usize = 50;

/// A conflict.
#[derive(Debug)]
pub struct Conflict {
    /// The user whose change it is.
    pub user: String,
    /// The user's device.
    pub device: String,
    /// What callers are shown of it.
    pub json: Box<RawValue>,
}

/// The status, and the rest of the answer.
struct Answer(String, Vec<Value>);

impl FromRedisValue for Answer {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let mut parts = Vec::<Value>::from_redis_value(value)?;
        if parts.is_empty() {
            return Err("an answer without its status".into());
        }
        let status = String::from_redis_value(parts.remove(0))?;
        Ok(Self(status, parts))
    }
}

fn corrupt() -> FilesyncError {
    StoreError::Corrupt("a conflict").into()
}

impl Conflict {
    fn read(fields: Value) -> Result<Self, FilesyncError> {
        let fields: HashMap<String, String> =
            redis::from_redis_value(fields).map_err(|_| corrupt())?;
        let json = fields.get("json").and_then(|json| json.strip_suffix('}'));
        let json = json.ok_or_else(corrupt)?;
        let quoted = |name: &str| serde_json::json!(fields.get(name)).to_string();
        let result = fields.get("result").map_or("null", String::as_str);
        let json = format!(
            r#"{json},"resolved_at":{},"resolution":{},"result":{result}}}"#,
            quoted("resolved_at"),
            quoted("resolution"),
        );
        Ok(Self {
            user: fields.get("user").cloned().ok_or_else(corrupt)?,
            device: fields.get("device").cloned().ok_or_else(corrupt)?,
            json: RawValue::from_string(json).map_err(|_| corrupt())?,
        })
    }
}

fn listing(caller: &Caller, share: &str, with_resolved: bool) -> Cmd {
    let mut call = call(&FUNCTIONS.conflicts, caller, share);
    call.arg(u8::from(with_resolved)).arg(MAX_CONFLICTS);
    call
}

impl Filesync {
    /// Conflicts of a share, the newest first, at most 1,000: open ones, or all that are kept.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn conflicts(
        &self,
        caller: &Caller,
        share: &str,
        with_resolved: bool,
    ) -> Result<Vec<Conflict>, FilesyncError> {
        let call = listing(caller, share, with_resolved);
        let Answer(status, conflicts) = FUNCTIONS.conflicts.run(&self.valkey, &call).await?;
        if status != "found" {
            return Err(FilesyncError::NotFound("share"));
        }
        conflicts.into_iter().map(Conflict::read).collect()
    }

    /// As [`Filesync::conflicts`], of all shares that the caller can see.
    ///
    /// # Errors
    /// [`FilesyncError::Store`].
    pub async fn all_conflicts(
        &self,
        caller: &Caller,
        with_resolved: bool,
    ) -> Result<Vec<Conflict>, FilesyncError> {
        let shares = self.share_ids(caller).await?;
        let shares: Vec<&String> = shares.iter().collect();
        let mut all = Vec::new();
        for some in shares.chunks(SHARES) {
            let calls = some
                .iter()
                .map(|share| listing(caller, share, with_resolved));
            let answers: Vec<Answer> = FUNCTIONS
                .conflicts
                .run_all(&self.valkey, calls.collect())
                .await?;
            // A share that was revoked meanwhile has none.
            for Answer(_, conflicts) in answers {
                for conflict in conflicts {
                    all.push(Conflict::read(conflict)?);
                }
            }
            // Their ids begin with the time.
            all.sort_by(|one: &Conflict, other| other.json.get().cmp(one.json.get()));
            all.truncate(MAX_CONFLICTS);
        }
        Ok(all)
    }

    /// The share that has a conflict, whether the caller can see it or not.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn share_of_conflict(
        &self,
        caller: &Caller,
        id: &str,
    ) -> Result<String, FilesyncError> {
        let mut home = redis::cmd("SRANDMEMBER");
        home.arg(Self::keys(caller).of(&format!("home:{id}")));
        let share: Option<String> = self.valkey.query("filesync_home", &home).await?;
        share.ok_or(FilesyncError::NotFound("conflict"))
    }

    /// Resolves a conflict: judges the held change against the state of now. Again by the same
    /// strategy, it answers the same.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Forbidden`] for callers who may not write,
    /// [`FilesyncError::ResolvedOtherwise`], [`FilesyncError::Store`].
    pub async fn resolve_conflict(
        &self,
        caller: &Caller,
        share: &str,
        id: &str,
        strategy: Strategy,
    ) -> Result<Conflict, FilesyncError> {
        let mut copies = Copies::default();
        for _ in 0..ROUNDS {
            let mut call = call(&FUNCTIONS.resolve, caller, share);
            call.arg(id)
                .arg(strategy.name())
                .arg(new_id("chg"))
                .arg(new_id("fil"))
                .arg(copies.json());
            let Answer(status, mut rest) = FUNCTIONS.resolve.run(&self.valkey, &call).await?;
            let value = rest.pop().ok_or_else(corrupt)?;
            match status.as_str() {
                "done" => return Conflict::read(value),
                "not_found" => return Err(FilesyncError::NotFound("conflict")),
                "forbidden" => return Err(FilesyncError::Forbidden),
                "resolved" => {
                    let by = redis::from_redis_value(value).map_err(|_| corrupt())?;
                    return Err(FilesyncError::ResolvedOtherwise(by));
                }
                "names" => {
                    let wanted: String = redis::from_redis_value(value).map_err(|_| corrupt())?;
                    copies.add(&wanted)?;
                }
                _ => return Err(corrupt()),
            }
        }
        Err(corrupt())
    }
}

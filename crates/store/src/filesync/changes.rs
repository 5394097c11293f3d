//! Reading: pages of a share's log, of the feed over all shares, and snapshots.

use std::collections::VecDeque;

use redis::{FromRedisValue, ParsingError, Value};
use serde_json::json;
use serde_json::value::RawValue;

use super::functions::FUNCTIONS;
use super::names::parse_path;
use super::shares::call;
use super::{Caller, CursorFault, Filesync, FilesyncError};
use crate::StoreError;

/// Most bytes of a page's entries.
const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;
/// Entries that are read of a log at once: as many of the largest ones as there may be in memory.
const RANGE: usize = 2_000;
/// How often a log is looked at that is trimmed at the same time.
const LOOKS: usize = 8;
/// Entries of the feed that are looked at for a page that holds fewer.
const FEED_LOOK: usize = 5_000;

/// A page of changes.
#[derive(Debug)]
pub struct ChangePage {
    /// The changes as JSON objects, oldest first.
    pub changes: Vec<Box<RawValue>>,
    /// Where the next page begins.
    pub cursor: u64,
    /// Whether there is another page now.
    pub has_more: bool,
    /// The first position that is kept.
    pub floor: u64,
    /// The id of the change at `cursor`, if it is kept.
    pub last_change_id: Option<String>,
}

/// A page of a snapshot.
#[derive(Debug)]
pub struct SnapshotPage {
    /// Live nodes as JSON objects, in the order of their ids.
    pub items: Vec<Box<RawValue>>,
    /// The head of the share's log at the time of the page.
    pub head: u64,
    /// Behind which id the next page begins; none for the last one.
    pub next: Option<String>,
}

/// The parts of an answer, of which the first is its status.
struct Parts(VecDeque<String>);

impl FromRedisValue for Parts {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        Vec::from_redis_value(value).map(|parts| Self(parts.into()))
    }
}

impl Parts {
    /// What follows the status.
    fn found(mut self) -> Result<Self, FilesyncError> {
        match self.0.pop_front().as_deref() {
            Some("found") => Ok(self),
            Some("not_found") => Err(FilesyncError::NotFound("share")),
            Some("changed") => Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged)),
            Some("expired") => Err(FilesyncError::CursorInvalid(CursorFault::Expired)),
            _ => Err(StoreError::Corrupt("a page").into()),
        }
    }

    fn text(&mut self) -> Result<String, FilesyncError> {
        self.0
            .pop_front()
            .ok_or_else(|| StoreError::Corrupt("a page").into())
    }

    fn number(&mut self) -> Result<u64, FilesyncError> {
        let number = self.text()?.parse();
        number.map_err(|_| StoreError::Corrupt("a page").into())
    }

    fn json(&mut self) -> Result<Box<RawValue>, FilesyncError> {
        raw(self.text()?)
    }
}

fn raw(json: String) -> Result<Box<RawValue>, FilesyncError> {
    RawValue::from_string(json).map_err(|_| StoreError::Corrupt("an entry").into())
}

/// The position and the text of an entry as `XRANGE` answers it.
fn entry_of(entry: &Value) -> Option<(u64, &str)> {
    let Value::Array(entry) = entry else {
        return None;
    };
    let [Value::BulkString(id), Value::Array(fields)] = &entry[..] else {
        return None;
    };
    let [_, Value::BulkString(text)] = &fields[..] else {
        return None;
    };
    let position = std::str::from_utf8(id).ok()?.strip_suffix("-0")?;
    Some((position.parse().ok()?, std::str::from_utf8(text).ok()?))
}

/// The id of a change, which its entry begins with.
fn id_of(entry: &str) -> Option<String> {
    let rest = entry.strip_prefix(r#""id":""#)?;
    Some(rest.split_once('"')?.0.to_owned())
}

impl Filesync {
    /// Changes of a share behind a position; without one, none of them, and the head as `cursor`.
    /// With `since`, the change at the position must have that id.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::CursorInvalid`], [`FilesyncError::Store`].
    pub async fn changes(
        &self,
        caller: &Caller,
        share: &str,
        after: Option<u64>,
        since: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage, FilesyncError> {
        // Each time the log was trimmed meanwhile.
        for _ in 0..LOOKS {
            if let Some(page) = self.look(caller, share, after, since, limit).await? {
                return Ok(page);
            }
        }
        Err(StoreError::Corrupt("a log").into())
    }

    /// As [`Filesync::changes`]; none when the log was trimmed between the two commands of which this
    /// is made, since a function that hands out the log takes several times as long as `XRANGE`.
    async fn look(
        &self,
        caller: &Caller,
        share: &str,
        after: Option<u64>,
        since: Option<&str>,
        limit: usize,
    ) -> Result<Option<ChangePage>, FilesyncError> {
        let mut calls = vec![call(&FUNCTIONS.changes, caller, share)];
        calls[0]
            .arg(after.map(|it| it.to_string()).unwrap_or_default())
            .arg(since.unwrap_or_default());
        if let Some(after) = after {
            let key = format!("{}:log", Self::keys(caller).share(share));
            let mut range = redis::cmd("XRANGE");
            range
                .arg(key)
                .arg(format!("{}-0", after.saturating_add(1)))
                .arg("+");
            range.arg("COUNT").arg(limit.min(RANGE));
            calls.push(range);
        }
        let answers = FUNCTIONS.changes.run_all(&self.valkey, calls).await?;
        let mut answers: VecDeque<Value> = answers.into();
        let mut answer = || answers.pop_front().unwrap_or(Value::Nil);
        let parts = Parts::from_redis_value(answer());
        let mut parts = parts.map_err(|_| StoreError::Corrupt("a page"))?.found()?;
        let (head, floor, id) = (parts.number()?, parts.number()?, parts.text()?);
        let mut page = ChangePage {
            changes: Vec::new(),
            cursor: after.unwrap_or(head),
            has_more: false,
            floor,
            last_change_id: Some(id).filter(|id| !id.is_empty()),
        };
        if page.cursor == head {
            return Ok(Some(page));
        }
        let before = format!(
            r#","tenant_id":{},"share_id":{},"#,
            json!(caller.tenant),
            json!(share)
        );
        let Value::Array(entries) = answer() else {
            return Err(StoreError::Corrupt("a log").into());
        };
        let (mut bytes, mut last) = (0, "");
        for entry in &entries {
            let (position, entry) = entry_of(entry).ok_or(StoreError::Corrupt("a log"))?;
            bytes += entry.len();
            let is_full = bytes > MAX_PAGE_BYTES && !page.changes.is_empty();
            // What was entered since the function has looked may be none of the caller's business.
            if is_full || page.cursor == head {
                break;
            }
            if position != page.cursor + 1 {
                return Ok(None);
            }
            page.cursor = position;
            page.changes
                .push(raw(format!(r#"{{"position":{position}{before}{entry}}}"#))?);
            last = entry;
        }
        if last.is_empty() {
            return Ok(None);
        }
        page.last_change_id = id_of(last);
        page.has_more = page.cursor < head;
        Ok(Some(page))
    }

    /// Changes of all shares that the caller can see, behind a position of the tenant's feed; without
    /// one, none of them, and the head as `cursor`. Each also has its `tenant_position`. With `since`,
    /// the change at the position must have that id. The page has a `last_change_id` when the caller
    /// sees the change at its cursor.
    ///
    /// # Errors
    /// [`FilesyncError::CursorInvalid`], [`FilesyncError::Store`].
    pub async fn feed(
        &self,
        caller: &Caller,
        after: Option<u64>,
        since: Option<&str>,
        limit: usize,
    ) -> Result<ChangePage, FilesyncError> {
        let key = Self::keys(caller).of("feed");
        let mut call = FUNCTIONS.feed.command(&[&key]);
        call.arg(&caller.user)
            .arg(caller.groups_json())
            .arg(after.map(|it| it.to_string()).unwrap_or_default())
            .arg(since.unwrap_or_default())
            .arg(limit.min(FEED_LOOK))
            .arg(MAX_PAGE_BYTES);
        let parts: Parts = FUNCTIONS.feed.run(&self.valkey, &call).await?;
        let mut parts = parts.found()?;
        let (head, floor, looked) = (parts.number()?, parts.number()?, parts.number()?);
        let tenant = json!(caller.tenant);
        let mut page = ChangePage {
            changes: Vec::with_capacity(parts.0.len() / 4),
            cursor: looked,
            has_more: looked < head,
            floor,
            last_change_id: None,
        };
        while !parts.0.is_empty() {
            let (total, share) = (parts.number()?, parts.text()?);
            let (position, entry) = (parts.number()?, parts.text()?);
            page.last_change_id = id_of(&entry).filter(|_| total == looked);
            page.changes.push(raw(format!(
                r#"{{"tenant_position":{total},"position":{position},"tenant_id":{tenant},"share_id":{},{entry}}}"#,
                json!(share)
            ))?);
        }
        Ok(page)
    }

    /// A page of the live nodes of a share, behind an id, `limit` of them looked at; with `under` only
    /// those in that folder, at any depth.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Store`].
    pub async fn snapshot(
        &self,
        caller: &Caller,
        share: &str,
        after: Option<&str>,
        limit: usize,
        under: Option<&str>,
    ) -> Result<SnapshotPage, FilesyncError> {
        let mut call = call(&FUNCTIONS.snapshot, caller, share);
        call.arg(after.unwrap_or_default())
            .arg(limit)
            .arg(under.unwrap_or_default());
        let parts: Parts = FUNCTIONS.snapshot.run(&self.valkey, &call).await?;
        let mut parts = parts.found()?;
        let (head, next) = (parts.number()?, parts.text()?);
        let mut items = Vec::with_capacity(parts.0.len());
        while !parts.0.is_empty() {
            items.push(parts.json()?);
        }
        Ok(SnapshotPage {
            items,
            head,
            next: Some(next).filter(|next| !next.is_empty()),
        })
    }

    /// The live node at a path, as JSON.
    ///
    /// # Errors
    /// [`FilesyncError::NotFound`], [`FilesyncError::Change`] for a path that breaks a rule,
    /// [`FilesyncError::Store`].
    pub async fn resolve(
        &self,
        caller: &Caller,
        share: &str,
        path: &str,
    ) -> Result<Box<RawValue>, FilesyncError> {
        let names = parse_path(path).map_err(|error| super::ChangeFault {
            code: "SYNC_NAME",
            detail: format!("a path {error}"),
        })?;
        let mut call = call(&FUNCTIONS.resolve_path, caller, share);
        for name in names {
            call.arg(name.folded);
        }
        let parts: Parts = FUNCTIONS.resolve_path.run(&self.valkey, &call).await?;
        match parts.found() {
            Err(FilesyncError::NotFound(_)) => Err(FilesyncError::NotFound("path")),
            parts => parts?.json(),
        }
    }
}

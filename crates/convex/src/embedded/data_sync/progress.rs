//! How far syncs are, for their pages and for the list of those that are active.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::{OptionalExtension, params};
use serde_json::{Value as Json, json};

use super::{SyncCursor, Targets};
use crate::embedded::error::RequestError;
use crate::embedded::store::Reader;

/// How long a sync counts as active after its latest page (ms).
const ACTIVE: i64 = 3 * 24 * 60 * 60 * 1000;
/// How often progress is written down at least (ms).
const RECORD_EVERY: i64 = 5_000;
const DEFAULT_SYNCS: usize = 50;
const MAX_SYNCS: usize = 100;

/// How far a sync is after a page.
#[derive(Debug)]
pub(in crate::embedded) struct Progress {
    sync: String,
    status: Json,
}

impl Progress {
    pub(super) fn new(cursor: &SyncCursor, targets: &Targets, latest: i64) -> Progress {
        let documents = |tablet: &u128| targets.get(tablet).map_or(0, |tablet| tablet.shape.count);
        let current = cursor
            .current
            .and_then(|walk| Some((walk, targets.get(&walk.tablet)?)));
        let status = match current {
            Some((walk, tablet)) => json!({
                "type": "snapshotting",
                "numTablesSynced": cursor.synced.len(),
                "totalTables": targets.len(),
                "currentComponent": tablet.component,
                "currentTable": tablet.name,
                "numDocumentsInCurrentTable": walk.documents,
                "totalDocumentsInCurrentTable": documents(&walk.tablet),
                "numDocumentsSynced": cursor.documents,
                "totalDocuments": targets.keys().map(documents).sum::<i64>(),
            }),
            None => json!({
                "type": if cursor.ts < latest { "stale" } else { "upToDate" },
                "totalTables": targets.len(),
                "numDocumentsSynced": cursor.documents,
                "syncedTs": cursor.ts,
            }),
        };
        Progress {
            sync: cursor.sync.clone(),
            status,
        }
    }

    /// The status as a page tells it.
    pub(super) fn page_status(&self) -> Json {
        match &self.status["syncedTs"] {
            Json::Null => json!({ "type": self.status["type"] }),
            ts => json!({ "type": self.status["type"], "snapshotTs": ts }),
        }
    }

    /// What to write down, unless that would tell nothing new. `now` is in ms since the epoch.
    pub fn to_record(&self, reader: &Reader, now: i64) -> Result<Option<SyncRecord>, RequestError> {
        let mut query = reader
            .db()?
            .prepare_cached("SELECT updated, status FROM syncs WHERE id = ?1")?;
        let recorded: Option<(i64, String)> = query
            .query_row([&self.sync], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((updated, status)) = &recorded {
            let status: Json = serde_json::from_str(status)?;
            let same = |name: &str| self.status[name] == status[name];
            let same_count = self.status["type"] != "upToDate" || same("numDocumentsSynced");
            if same("type") && same_count && now - updated < RECORD_EVERY {
                return Ok(None);
            }
        }
        Ok(Some(SyncRecord {
            id: self.sync.clone(),
            updated: now,
            forget_before: now - ACTIVE,
            status: self.status.to_string(),
        }))
    }
}

/// A row of `syncs`.
pub(in crate::embedded) struct SyncRecord {
    pub id: String,
    /// In ms since the epoch.
    pub updated: i64,
    /// Rows that were last updated before this are of no more use.
    pub forget_before: i64,
    pub status: String,
}

/// A page of `list_active_syncs`, its arguments checked.
pub(in crate::embedded) struct ActiveSyncs {
    limit: usize,
    /// Update time and name of the last one that was listed.
    after: Option<(i64, String)>,
}

impl ActiveSyncs {
    /// Errors: 400 `LimitOutOfRange` or `InvalidCursor`.
    pub fn new(limit: Option<i64>, cursor: Option<&str>) -> Result<ActiveSyncs, RequestError> {
        let limit = match limit {
            None => DEFAULT_SYNCS,
            Some(limit) => usize::try_from(limit)
                .ok()
                .filter(|limit| (1..=MAX_SYNCS).contains(limit))
                .ok_or_else(|| {
                    RequestError::bad_request(
                        "LimitOutOfRange",
                        format!("limit has to be between 1 and {MAX_SYNCS}."),
                    )
                })?,
        };
        let after = cursor.map(|cursor| {
            let json = URL_SAFE_NO_PAD.decode(cursor).ok();
            json.and_then(|json| serde_json::from_slice(&json).ok())
                .ok_or_else(|| {
                    RequestError::bad_request(
                        "InvalidCursor",
                        "The cursor is not one that this server gave out.",
                    )
                })
        });
        Ok(ActiveSyncs {
            limit,
            after: after.transpose()?,
        })
    }

    /// The syncs that fetched a page lately, the latest first. `now` is in ms since the epoch.
    pub fn list(&self, reader: &Reader, now: i64) -> Result<Json, RequestError> {
        let mut query = reader.db()?.prepare_cached(
            "SELECT updated, id, status FROM syncs
             WHERE updated >= ?1 AND (updated, id) < (?2, ?3) ORDER BY updated DESC, id DESC LIMIT ?4",
        )?;
        let (before, id) = self.after.clone().unwrap_or((i64::MAX, String::new()));
        let limit = self.limit as i64 + 1;
        let mut rows = query.query(params![now - ACTIVE, before, id, limit])?;
        let (mut syncs, mut last, mut more) = (Vec::new(), None, false);
        while let Some(row) = rows.next()? {
            if syncs.len() == self.limit {
                more = true;
                break;
            }
            let (updated, id): (i64, String) = (row.get(0)?, row.get(1)?);
            let status: Json =
                serde_json::from_str(row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?)?;
            syncs.push(json!({ "syncId": id, "lastUpdated": updated, "status": status }));
            last = Some((updated, id));
        }
        let pagination = match last.filter(|_| more) {
            Some(last) => {
                let cursor = URL_SAFE_NO_PAD.encode(serde_json::to_vec(&last)?);
                json!({ "hasMore": true, "nextCursor": cursor })
            }
            None => json!({ "hasMore": false }),
        };
        Ok(json!({ "syncs": syncs, "pagination": pagination }))
    }
}

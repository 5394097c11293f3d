//! `list_snapshot`: all documents as they were at one timestamp, page by page (section 7 of the
//! wire contract).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::catalog::{Tablet, TabletId};
use super::error::RequestError;
use super::id::DocumentId;
use super::page::{PageSink, RowHead, write_fields};
use super::selection::{Columns, Selection};
use super::store::{Reader, id_bytes, read_id};
use super::value::{Format, write_string};

/// Documents of a page.
const PAGE_DOCUMENTS: usize = 1024;
/// Work on a page.
const PAGE_TIME: Duration = Duration::from_secs(60);
/// Earlier revisions of one document that are stepped over before the scan jumps instead, so that a
/// page's cost does not depend on how often its documents were changed.
const STEPS_BEFORE_JUMP: usize = 4;

/// Where a page starts: after this document of this tablet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SnapshotCursor {
    tablet: u128,
    after: DocumentId,
}

#[derive(Serialize, Deserialize)]
struct CursorText {
    tablet: String,
    id: String,
}

impl SnapshotCursor {
    /// Error: 400 `InvalidListSnapshotCursor`.
    pub fn parse(text: &str) -> Result<SnapshotCursor, RequestError> {
        let parse = || {
            let cursor: CursorText = serde_json::from_str(text).ok()?;
            let tablet = URL_SAFE_NO_PAD.decode(cursor.tablet).ok()?;
            Some(SnapshotCursor {
                tablet: u128::from_be_bytes(tablet.try_into().ok()?),
                after: DocumentId::parse(&cursor.id)?,
            })
        };
        parse().ok_or_else(invalid_cursor)
    }

    /// The beginning of a tablet. No document has the internal id 0.
    fn start_of(tablet: &Tablet) -> SnapshotCursor {
        SnapshotCursor {
            tablet: tablet.public_id,
            after: DocumentId {
                table: tablet.number,
                internal: 0,
            },
        }
    }

    fn text(&self) -> Result<String, RequestError> {
        let text = serde_json::to_string(&CursorText {
            tablet: URL_SAFE_NO_PAD.encode(self.tablet.to_be_bytes()),
            id: self.after.to_string(),
        })?;
        Ok(text)
    }
}

fn invalid_cursor() -> RequestError {
    RequestError::bad_request(
        "InvalidListSnapshotCursor",
        "The cursor is not one that this server gave out.",
    )
}

/// One page's request, its arguments checked.
pub(super) struct SnapshotPage {
    pub snapshot: i64,
    pub cursor: Option<SnapshotCursor>,
    pub selection: Selection,
    pub format: Format,
}

impl SnapshotPage {
    /// Writes the page.
    pub fn write(&self, reader: &Reader, sink: &mut PageSink) -> Result<(), RequestError> {
        let tablets = reader.state.catalog.visible_at(self.snapshot);
        if let Some(cursor) = self.cursor
            && !tablets
                .iter()
                .any(|tablet| tablet.public_id == cursor.tablet)
        {
            return Err(invalid_cursor());
        }
        let mut selected = tablets.into_iter().filter_map(|tablet| {
            let reached = self
                .cursor
                .is_none_or(|cursor| tablet.public_id >= cursor.tablet);
            Some((tablet, self.selection.columns(tablet).filter(|_| reached)?))
        });
        sink.push("{\"values\":[");
        let mut next = None;
        if let Some((tablet, columns)) = selected.next() {
            let start = SnapshotCursor::start_of(tablet);
            let start = self
                .cursor
                .filter(|cursor| cursor.tablet == tablet.public_id)
                .unwrap_or(start);
            next = self
                .write_tablet(reader, tablet, columns, start, sink)?
                .or_else(|| {
                    selected
                        .next()
                        .map(|(tablet, _)| SnapshotCursor::start_of(tablet))
                });
        }
        sink.push(&format!("],\"snapshot\":{},\"cursor\":", self.snapshot));
        match &next {
            Some(cursor) => write_string(&cursor.text()?, sink.text()),
            None => sink.push("null"),
        }
        sink.push(&format!(",\"hasMore\":{}}}", next.is_some()));
        Ok(())
    }

    /// Writes documents of one tablet. Returns where to go on, unless the tablet ran out.
    fn write_tablet(
        &self,
        reader: &Reader,
        tablet: &Tablet,
        columns: &Columns,
        start: SnapshotCursor,
        sink: &mut PageSink,
    ) -> Result<Option<SnapshotCursor>, RequestError> {
        let head = RowHead::new(tablet);
        let began = Instant::now();
        let mut written = 0;
        let last = scan(
            reader,
            tablet.id,
            self.snapshot,
            start.after.internal,
            |row| {
                if let Some(text) = row.body {
                    if written > 0 {
                        sink.push(",");
                    }
                    head.write(row.ts, None, sink.text());
                    write_fields(text, row.tagged, columns, self.format, sink.text())?;
                    sink.flush_full()?;
                    written += 1;
                }
                Ok(written == PAGE_DOCUMENTS || began.elapsed() > PAGE_TIME)
            },
        )?;
        Ok(last.map(|internal| SnapshotCursor {
            tablet: tablet.public_id,
            after: DocumentId {
                table: tablet.number,
                internal,
            },
        }))
    }
}

/// A document in its revision at a snapshot.
pub(super) struct SnapshotRow<'a> {
    pub internal_id: u128,
    pub ts: i64,
    pub tagged: bool,
    /// `None`: it was deleted.
    pub body: Option<&'a [u8]>,
}

/// Walks a tablet's documents after one of them, in the order of their ids, until `visit` returns
/// true. Returns the last one's internal id then, and `None` when the tablet ran out.
///
/// Along the index this costs a step a revision, and a look into the log for each document.
/// Revisions later than the snapshot are passed over in the index.
pub(super) fn scan(
    reader: &Reader,
    tablet: TabletId,
    snapshot: i64,
    after: u128,
    mut visit: impl FnMut(SnapshotRow) -> Result<bool, RequestError>,
) -> Result<Option<u128>, RequestError> {
    let mut query = reader.db()?.prepare_cached(
        "SELECT id, ts, tagged, body FROM revisions INDEXED BY revisions_latest_first
         WHERE tablet = ?1 AND id > ?2 AND ts <= ?3 ORDER BY id, ts DESC",
    )?;
    let mut last = after;
    // Started again whenever one document's earlier revisions are worth jumping over.
    loop {
        let mut rows = query.query(params![tablet, id_bytes(last), snapshot])?;
        let mut superseded = 0;
        loop {
            let Some(row) = rows.next()? else {
                return Ok(None);
            };
            reader.touch();
            let internal_id = read_id(row, 0)?;
            if internal_id == last {
                superseded += 1;
                if superseded > STEPS_BEFORE_JUMP {
                    break;
                }
                continue;
            }
            (last, superseded) = (internal_id, 0);
            let body = row.get_ref(3)?.as_blob_or_null();
            let enough = visit(SnapshotRow {
                internal_id,
                ts: row.get(1)?,
                tagged: row.get(2)?,
                body: body.map_err(rusqlite::Error::from)?,
            })?;
            if enough {
                return Ok(Some(last));
            }
        }
    }
}

#[cfg(test)]
mod tests;

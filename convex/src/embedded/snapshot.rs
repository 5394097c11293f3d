//! `list_snapshot`: all documents as they were at one timestamp, page by page (section 7 of the wire contract).

use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rusqlite::params;
use serde::{Deserialize, Serialize};

use super::catalog::Tablet;
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
/// Revisions of one document that are stepped over before the scan jumps instead, so that a page's cost does not depend on how
/// often its documents were changed.
const STEPS_BEFORE_JUMP: usize = 8;

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
        let mut body = reader.db()?.prepare_cached(
            "SELECT tagged, body FROM revisions WHERE seq = ?1 AND body IS NOT NULL",
        )?;
        let began = Instant::now();
        let mut scan = SnapshotScan {
            reader,
            tablet: tablet.id,
            snapshot: self.snapshot,
            after: start.after.internal,
        };
        let mut written = 0;
        scan.each(|internal, ts, seq| {
            let mut rows = body.query([seq])?;
            if let Some(row) = rows.next()? {
                if written > 0 {
                    sink.push(",");
                }
                let text = row.get_ref(1)?.as_blob().map_err(rusqlite::Error::from)?;
                head.write(ts, None, sink.text());
                write_fields(text, row.get(0)?, columns, self.format, sink.text())?;
                sink.flush_full()?;
                written += 1;
            }
            if written < PAGE_DOCUMENTS && began.elapsed() < PAGE_TIME {
                return Ok(None);
            }
            Ok(Some(SnapshotCursor {
                tablet: tablet.public_id,
                after: DocumentId {
                    table: tablet.number,
                    internal,
                },
            }))
        })
    }
}

/// Walks a tablet's documents in the order of their ids, each in its revision at a snapshot (which may be a tombstone).
struct SnapshotScan<'a> {
    reader: &'a Reader,
    tablet: u32,
    snapshot: i64,
    after: u128,
}

impl SnapshotScan<'_> {
    /// Calls `visit` with internal id, timestamp and log position until it returns something.
    fn each<T>(
        &mut self,
        mut visit: impl FnMut(u128, i64, i64) -> Result<Option<T>, RequestError>,
    ) -> Result<Option<T>, RequestError> {
        let db = self.reader.db()?;
        let mut scan = db.prepare_cached(
            "SELECT id, ts, seq FROM revisions WHERE tablet = ?1 AND id > ?2 ORDER BY id, ts DESC",
        )?;
        let mut jump = db.prepare_cached(
            "SELECT id, ts, seq FROM revisions WHERE tablet = ?1 AND id = ?2 AND ts <= ?3 ORDER BY ts DESC LIMIT 1",
        )?;
        // Restarted whenever one document's revisions are worth jumping over.
        loop {
            let mut rows = scan.query(params![self.tablet, id_bytes(self.after)])?;
            let mut done = self.after;
            let mut steps = 0;
            let jumped = loop {
                let Some(row) = rows.next()? else { break false };
                self.reader.touch();
                let (internal, ts) = (read_id(row, 0)?, row.get(1)?);
                if internal != self.after {
                    (self.after, steps) = (internal, 0);
                }
                if internal != done && ts <= self.snapshot {
                    done = internal;
                    if let Some(value) = visit(internal, ts, row.get(2)?)? {
                        return Ok(Some(value));
                    }
                }
                steps += 1;
                if steps > STEPS_BEFORE_JUMP {
                    break true;
                }
            };
            if !jumped {
                return Ok(None);
            }
            if done != self.after {
                let mut rows =
                    jump.query(params![self.tablet, id_bytes(self.after), self.snapshot])?;
                if let Some(row) = rows.next()? {
                    self.reader.touch();
                    if let Some(value) = visit(self.after, row.get(1)?, row.get(2)?)? {
                        return Ok(Some(value));
                    }
                }
            }
        }
    }
}

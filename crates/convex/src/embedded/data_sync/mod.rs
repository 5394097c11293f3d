//! `/v1/data/sync`: a copy that is kept up to date, page by page, with a cursor that says how far
//! it is (section 10 of the wire contract).
//!
//! A sync goes in two directions by turns. Along the ids, it walks one table after the other as
//! they were at the cursor's timestamp. Along the log, it moves that timestamp on, and gives out
//! the new revisions of the documents it has walked past. Once every table was walked, only the log
//! is left.

mod cursor;
mod progress;

use std::collections::BTreeMap;

pub(super) use self::cursor::SyncCursor;
pub(super) use self::progress::{ActiveSyncs, Progress, SyncRecord};

use self::cursor::Walk;
use super::catalog::Tablet;
use super::error::RequestError;
use super::id::DocumentId;
use super::page::{PageSink, write_fields};
use super::selection::Selection;
use super::store::Reader;
use super::value::{Format, write_string};
use super::{log, snapshot};

/// How far the cursor's timestamp may lie back for a page to walk a table there (ns). Behind that,
/// the log comes first.
const FRESH: i64 = 30_000_000_000;
/// After so many documents, bytes of them, or rows that were looked at, a page ends (in the log:
/// with its transaction).
const PAGE_DOCUMENTS: u64 = 16_384;
const PAGE_BYTES: usize = 64 << 20;
const PAGE_ROWS: usize = 32_768;

/// The tablets to sync, by the ids they are known by outside.
type Targets<'a> = BTreeMap<u128, &'a Tablet>;

/// Which sync a page is of.
pub(super) enum Sync {
    /// One that starts with it, under this name.
    New(String),
    /// One that is here.
    At(SyncCursor),
}

/// One page's request, its arguments checked.
pub(super) struct SyncPage {
    pub sync: Sync,
    pub selection: Selection,
}

impl SyncPage {
    /// Writes the page, all but its last brace. Returns how far the sync is after it.
    ///
    /// Errors: 400 `InvalidDataSyncCursor` for a cursor from the future.
    pub fn write(&self, reader: &Reader, sink: &mut PageSink) -> Result<Progress, RequestError> {
        let targets = targets(reader, &self.selection);
        let latest = reader.state.ts;
        let mut cursor = match &self.sync {
            Sync::New(name) => SyncCursor::start(name.clone(), latest),
            Sync::At(cursor) => cursor.clone(),
        };
        if cursor.ts > latest {
            return Err(cursor::invalid("The cursor is ahead of this deployment."));
        }
        let known = cursor.tablets();
        cursor.reconcile(&targets);
        sink.push("{\"values\":[");
        match cursor.current {
            Some(walk) if latest - cursor.ts < FRESH => {
                self.walk_table(reader, &mut cursor, walk, &targets, sink)?
            }
            _ => self.walk_log(reader, &mut cursor, sink)?,
        }
        sink.push("],\"truncates\":[");
        let mut separator = "";
        for (public_id, tablet) in &targets {
            if cursor.tracks(*public_id) && !known.contains(public_id) {
                sink.push(separator);
                write_name(tablet, sink);
                sink.push("}");
                separator = ",";
            }
        }
        let progress = Progress::new(&cursor, &targets, latest);
        sink.push(&format!(
            "],\"status\":{},\"syncId\":",
            progress.page_status()
        ));
        write_string(&cursor.sync, sink.text());
        sink.push(",\"pagination\":{\"hasMore\":true,\"nextCursor\":");
        write_string(&cursor.text()?, sink.text());
        sink.push("}");
        Ok(progress)
    }

    /// Goes on through a table's documents as they were at the cursor's timestamp.
    fn walk_table(
        &self,
        reader: &Reader,
        cursor: &mut SyncCursor,
        walk: Walk,
        targets: &Targets,
        sink: &mut PageSink,
    ) -> Result<(), RequestError> {
        let Some(tablet) = targets.get(&walk.tablet) else {
            return Ok(());
        };
        let (mut count, mut bytes, mut read) = (0, 0, 0);
        let last = snapshot::scan(reader, tablet.id, cursor.ts, walk.after, |row| {
            read += 1;
            if let Some(text) = row.body {
                let id = row.internal_id;
                self.write_value(tablet, id, row.ts, Some((text, row.tagged)), count, sink)?;
                bytes += text.len();
                count += 1;
            }
            Ok(count == PAGE_DOCUMENTS || bytes >= PAGE_BYTES || read == PAGE_ROWS)
        })?;
        cursor.documents += count;
        match last {
            Some(after) => {
                cursor.current = Some(Walk {
                    after,
                    documents: walk.documents + count,
                    ..walk
                });
            }
            None => {
                cursor.synced.insert(walk.tablet);
                cursor.start_next_table(targets);
            }
        }
        Ok(())
    }

    /// Goes on through the log, and moves the cursor's timestamp.
    fn walk_log(
        &self,
        reader: &Reader,
        cursor: &mut SyncCursor,
        sink: &mut PageSink,
    ) -> Result<(), RequestError> {
        let (mut count, mut bytes, mut read) = (0, 0, 0);
        let last = log::walk(reader, cursor.ts, |revision| {
            read += 1;
            let tablet = reader.state.catalog.tablets.get(&revision.tablet);
            let captured =
                tablet.filter(|tablet| cursor.captures(tablet.public_id, revision.internal_id));
            if let Some(tablet) = captured {
                let body = revision.body.map(|text| (text, revision.tagged));
                let id = revision.internal_id;
                self.write_value(tablet, id, revision.ts, body, count, sink)?;
                bytes += body.map_or(0, |(text, _)| text.len());
                count += 1;
            }
            Ok(count >= PAGE_DOCUMENTS || bytes >= PAGE_BYTES || read >= PAGE_ROWS)
        })?;
        cursor.documents += count;
        cursor.ts = last.unwrap_or(reader.state.ts);
        Ok(())
    }

    fn write_value(
        &self,
        tablet: &Tablet,
        internal: u128,
        ts: i64,
        body: Option<(&[u8], bool)>,
        count: u64,
        sink: &mut PageSink,
    ) -> Result<(), RequestError> {
        let Some(columns) = self.selection.columns(tablet) else {
            return Ok(());
        };
        if count > 0 {
            sink.push(",");
        }
        write_name(tablet, sink);
        let deleted = body.is_none();
        sink.push(&format!(",\"ts\":{ts},\"deleted\":{deleted},\"value\":{{"));
        match body {
            Some((text, tagged)) => {
                write_fields(text, tagged, columns, Format::Export, sink.text())?
            }
            None => {
                let id = DocumentId {
                    table: tablet.number,
                    internal,
                };
                sink.push(&format!("\"_id\":\"{id}\"}}"));
            }
        }
        sink.push("}");
        sink.flush_full()
    }
}

/// The cursor of a sync that goes on where `document_deltas` is, with all tables walked. Error: 400
/// `InvalidDataSyncCursor`.
pub(super) fn cursor_from_deltas(
    reader: &Reader,
    ts: i64,
    selection: &Selection,
    sync: String,
) -> Result<SyncCursor, RequestError> {
    if ts < 0 || ts > reader.state.ts {
        return Err(cursor::invalid("The cursor is ahead of this deployment."));
    }
    let mut cursor = SyncCursor::start(sync, ts);
    cursor.synced = targets(reader, selection).into_keys().collect();
    Ok(cursor)
}

fn targets<'a>(reader: &'a Reader, selection: &Selection) -> Targets<'a> {
    let tablets = reader.state.catalog.live().map(AsRef::as_ref);
    let selected = tablets.filter(|tablet: &&Tablet| selection.columns(tablet).is_some());
    selected.map(|tablet| (tablet.public_id, tablet)).collect()
}

/// Writes `{"component":…,"table":…`.
fn write_name(tablet: &Tablet, sink: &mut PageSink) {
    sink.push("{\"component\":");
    write_string(&tablet.component, sink.text());
    sink.push(",\"table\":");
    write_string(&tablet.name, sink.text());
}

//! `document_deltas`: the log after a timestamp, in whole transactions (section 8 of the wire contract).

use rusqlite::OptionalExtension;

use super::error::RequestError;
use super::id::DocumentId;
use super::page::{PageSink, RowHead, write_fields};
use super::selection::Selection;
use super::store::{Reader, read_id};
use super::value::Format;

/// Log rows after which a page ends with its transaction.
const PAGE_ROWS: u64 = 128;

/// One page's request, its arguments checked.
pub(super) struct DeltaPage {
    /// Exclusive (ns since the epoch).
    pub cursor: i64,
    pub selection: Selection,
    pub format: Format,
}

impl DeltaPage {
    /// Writes the page.
    pub fn write(&self, reader: &Reader, sink: &mut PageSink) -> Result<(), RequestError> {
        sink.push("{\"values\":[");
        let (cursor, has_more) = match self.write_rows(reader, sink)? {
            Some(last) => (last, true),
            None => (reader.state.ts.max(self.cursor), false),
        };
        sink.push(&format!("],\"cursor\":{cursor},\"hasMore\":{has_more}}}"));
        Ok(())
    }

    /// Writes the rows that are selected. Returns the timestamp the page ends with when the log goes on after it.
    fn write_rows(
        &self,
        reader: &Reader,
        sink: &mut PageSink,
    ) -> Result<Option<i64>, RequestError> {
        let first: Option<i64> = reader
            .db()?
            .prepare_cached("SELECT first_seq FROM commits WHERE ts > ?1 ORDER BY ts LIMIT 1")?
            .query_row([self.cursor], |row| row.get(0))
            .optional()?;
        let Some(first) = first else { return Ok(None) };
        let mut query = reader.db()?.prepare_cached(
            "SELECT ts, tablet, id, tagged, body FROM revisions WHERE seq >= ?1 ORDER BY seq",
        )?;
        let mut rows = query.query([first])?;
        let (mut read, mut last, mut separator) = (0, self.cursor, "");
        while let Some(row) = rows.next()? {
            let ts: i64 = row.get(0)?;
            if ts > reader.state.ts {
                break;
            }
            if read >= PAGE_ROWS && ts != last {
                return Ok(Some(last));
            }
            reader.touch();
            read += 1;
            last = ts;
            if self.write_row(reader, row, ts, separator, sink)? {
                separator = ",";
            }
        }
        Ok(None)
    }

    /// Writes one row, unless its table is not selected or its tablet is gone.
    fn write_row(
        &self,
        reader: &Reader,
        row: &rusqlite::Row,
        ts: i64,
        separator: &str,
        sink: &mut PageSink,
    ) -> Result<bool, RequestError> {
        let tablet = reader.state.catalog.tablets.get(&row.get(1)?);
        let Some(tablet) = tablet.filter(|tablet| tablet.dropped.is_none()) else {
            return Ok(false);
        };
        let Some(columns) = self.selection.columns(tablet) else {
            return Ok(false);
        };
        let body = row
            .get_ref(4)?
            .as_blob_or_null()
            .map_err(rusqlite::Error::from)?;
        sink.push(separator);
        RowHead::new(tablet).write(ts, Some(body.is_none()), sink.text());
        match body {
            Some(text) => write_fields(text, row.get(3)?, columns, self.format, sink.text())?,
            None => {
                let id = DocumentId {
                    table: tablet.number,
                    internal: read_id(row, 2)?,
                };
                sink.push(&format!("\"_id\":\"{id}\"}}"));
            }
        }
        sink.flush_full()?;
        Ok(true)
    }
}

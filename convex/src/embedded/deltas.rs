//! `document_deltas`: the log after a timestamp, in whole transactions (section 8 of the wire contract).

use super::error::RequestError;
use super::id::DocumentId;
use super::log::{self, Revision};
use super::page::{PageSink, RowHead, write_fields};
use super::selection::Selection;
use super::store::Reader;
use super::value::Format;

/// Log rows after which a page ends with its transaction.
const PAGE_ROWS: usize = 128;

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
        let (mut read, mut separator) = (0, "");
        let last = log::walk(reader, self.cursor, |revision| {
            read += 1;
            if self.write_row(reader, &revision, separator, sink)? {
                separator = ",";
            }
            Ok(read >= PAGE_ROWS)
        })?;
        let (cursor, has_more) = match last {
            Some(last) => (last, true),
            None => (reader.state.ts.max(self.cursor), false),
        };
        sink.push(&format!("],\"cursor\":{cursor},\"hasMore\":{has_more}}}"));
        Ok(())
    }

    /// Writes one row, unless its table is not selected or its tablet is gone.
    fn write_row(
        &self,
        reader: &Reader,
        revision: &Revision,
        separator: &str,
        sink: &mut PageSink,
    ) -> Result<bool, RequestError> {
        let tablet = reader.state.catalog.tablets.get(&revision.tablet);
        let Some(tablet) = tablet.filter(|tablet| tablet.dropped.is_none()) else {
            return Ok(false);
        };
        let Some(columns) = self.selection.columns(tablet) else {
            return Ok(false);
        };
        sink.push(separator);
        let deleted = revision.body.is_none();
        RowHead::new(tablet).write(revision.ts, Some(deleted), sink.text());
        match revision.body {
            Some(text) => write_fields(text, revision.tagged, columns, self.format, sink.text())?,
            None => {
                let id = DocumentId {
                    table: tablet.number,
                    internal: revision.internal_id,
                };
                sink.push(&format!("\"_id\":\"{id}\"}}"));
            }
        }
        sink.flush_full()?;
        Ok(true)
    }
}

//! `document_deltas`: the log after a timestamp, in whole transactions (section 8 of the wire
//! contract).

use super::catalog::{Tablet, TabletId};
use super::error::RequestError;
use super::id::DocumentId;
use super::log::{self, Revision};
use super::page::{PageSink, RowHead, write_fields};
use super::selection::{Columns, Selection};
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
        // Rows of one table mostly follow each other.
        let mut head: Option<(TabletId, RowHead)> = None;
        let last = log::walk(reader, self.cursor, |revision| {
            read += 1;
            if let Some((tablet, columns)) = self.selected(reader, revision.tablet) {
                let head = match &mut head {
                    Some((of, head)) if *of == tablet.id => head,
                    other => &mut other.insert((tablet.id, RowHead::new(tablet))).1,
                };
                sink.push(separator);
                head.write(revision.ts, Some(revision.body.is_none()), sink.text());
                self.write_rest(&revision, tablet, columns, sink)?;
                separator = ",";
            }
            Ok(read >= PAGE_ROWS)
        })?;
        let (cursor, has_more) = match last {
            Some(last) => (last, true),
            // Also for a cursor in the future: what is committed before then is not missed.
            None => (reader.state.ts, false),
        };
        sink.push(&format!("],\"cursor\":{cursor},\"hasMore\":{has_more}}}"));
        Ok(())
    }

    /// A tablet and its columns, unless it is not selected or gone.
    fn selected<'a>(
        &'a self,
        reader: &'a Reader,
        tablet: TabletId,
    ) -> Option<(&'a Tablet, &'a Columns)> {
        let tablet = reader.state.catalog.tablets.get(&tablet)?;
        let columns = self.selection.columns(tablet)?;
        tablet.dropped.is_none().then_some((tablet, columns))
    }

    /// Writes what comes after a row's head.
    fn write_rest(
        &self,
        revision: &Revision,
        tablet: &Tablet,
        columns: &Columns,
        sink: &mut PageSink,
    ) -> Result<(), RequestError> {
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
        sink.flush_full()
    }
}

//! The log: every revision of every document, in the order of the commits.

use rusqlite::OptionalExtension;

use super::catalog::TabletId;
use super::error::RequestError;
use super::store::{Reader, read_id};

/// One revision of one document.
pub(super) struct Revision<'a> {
    /// When it was committed (ns since the epoch).
    pub ts: i64,
    pub tablet: TabletId,
    pub internal_id: u128,
    pub tagged: bool,
    /// `None`: the document was deleted.
    pub body: Option<&'a [u8]>,
}

/// Walks the log after a timestamp until `visit` returns true, and then on to the end of that
/// transaction. Returns the last timestamp it came to, unless the log ran out.
pub(super) fn walk(
    reader: &Reader,
    after: i64,
    mut visit: impl FnMut(Revision) -> Result<bool, RequestError>,
) -> Result<Option<i64>, RequestError> {
    let first: Option<i64> = reader
        .db()?
        .prepare_cached("SELECT first_seq FROM commits WHERE ts > ?1 ORDER BY ts LIMIT 1")?
        .query_row([after], |row| row.get(0))
        .optional()?;
    let Some(first) = first else { return Ok(None) };
    let mut query = reader.db()?.prepare_cached(
        "SELECT ts, tablet, id, tagged, body FROM revisions WHERE seq >= ?1 ORDER BY seq",
    )?;
    let mut rows = query.query([first])?;
    let (mut last, mut enough) = (after, false);
    while let Some(row) = rows.next()? {
        let ts: i64 = row.get(0)?;
        // What was committed since this view of the store was taken.
        if ts > reader.state.ts {
            break;
        }
        if enough && ts != last {
            return Ok(Some(last));
        }
        reader.touch();
        last = ts;
        let body = row.get_ref(4)?.as_blob_or_null();
        enough |= visit(Revision {
            ts,
            tablet: row.get(1)?,
            internal_id: read_id(row, 2)?,
            tagged: row.get(3)?,
            body: body.map_err(rusqlite::Error::from)?,
        })?;
    }
    Ok(None)
}

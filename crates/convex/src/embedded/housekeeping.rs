//! What is done a little at a time beside the requests: filling new indexes, deleting the entries
//! of dropped ones, and forgetting what is too old to be asked for (superseded revisions,
//! tombstones, and tablets that were dropped).
//!
//! A share of it goes with each commit, in proportion to what that wrote, so that the work does not
//! pile up and costs no flush of its own; the rest is done while no request waits, in steps short
//! enough for one that arrives.

use rusqlite::{Connection, OptionalExtension, params};

use super::catalog::{Catalog, TabletId};
use super::document::Stored;
use super::error::RequestError;
use super::index_key;
use super::store::{State, id_bytes, read_id};
use super::transaction::Current;

/// Does a share of each kind of work, of about so many rows. `cutoff` is the earliest time that can
/// still be read at (ns since the epoch). Returns whether there is more to do.
pub(super) fn step(
    db: &Connection,
    state: &mut State,
    cutoff: i64,
    rows: usize,
) -> Result<bool, RequestError> {
    let filling = state.catalog.live().find_map(|tablet| {
        let index = tablet.indexes.iter().find(|index| !index.is_ready())?;
        Some((tablet.id, index.id))
    });
    let mut more = false;
    if let Some((tablet, index)) = filling {
        fill_index(db, &mut state.catalog, tablet, index, rows)?;
        more = true;
    }
    more |= delete_entries(db, &mut state.catalog, rows)?;
    more |= prune_revisions(db, cutoff, rows)?;
    more |= prune_tablet(db, &mut state.catalog, cutoff, rows)?;
    Ok(more)
}

/// Goes on filling an index, with the entries of at most so many documents. Those it has not come
/// to are entered by whoever writes them, so that nothing is missing at the end.
pub(super) fn fill_index(
    db: &Connection,
    catalog: &mut Catalog,
    tablet: TabletId,
    index: u32,
    documents: usize,
) -> Result<(), RequestError> {
    let Some(tablet) = catalog.tablet_mut(tablet) else {
        return Ok(());
    };
    let id = tablet.id;
    let Some(index) = tablet.indexes.iter_mut().find(|known| known.id == index) else {
        return Ok(());
    };
    let Some(start) = index.filled_to else {
        return Ok(());
    };
    // With max(), SQLite takes the other columns from the row that has the maximum: the current
    // revision.
    let mut query = db.prepare_cached(
        "SELECT id, max(ts), seq FROM revisions WHERE tablet = ?1 AND id > ?2 GROUP BY id ORDER BY id LIMIT ?3",
    )?;
    let mut body = db
        .prepare_cached("SELECT body, tagged FROM revisions WHERE seq = ?1 AND body IS NOT NULL")?;
    let mut put = db.prepare_cached("INSERT OR REPLACE INTO entries VALUES (?1, ?2)")?;
    let mut rows = query.query(params![id, id_bytes(start), documents as i64])?;
    let (mut read, mut last) = (0, start);
    while let Some(row) = rows.next()? {
        read += 1;
        last = read_id(row, 0)?;
        let seq: i64 = row.get(2)?;
        let stored = body
            .query_row([seq], |row| {
                Ok(Stored {
                    text: row.get(0)?,
                    tagged: row.get(1)?,
                })
            })
            .optional()?;
        if let Some(stored) = stored {
            let current = Current {
                internal_id: last,
                fields: stored.fields()?,
                bytes: stored.text.len(),
            };
            let time = current.creation_time();
            let key = index_key::key(index, &current.fields, time, last);
            put.execute(params![key, seq])?;
        }
    }
    index.filled_to = (read == documents).then_some(last);
    Ok(())
}

/// Deletes entries of a dropped index.
fn delete_entries(
    db: &Connection,
    catalog: &mut Catalog,
    rows: usize,
) -> Result<bool, RequestError> {
    let Some(index) = catalog.dropped_indexes.first().copied() else {
        return Ok(false);
    };
    let start = index_key::prefix(index, []);
    let end = index_key::end_of(&start);
    let deleted = db
        .prepare_cached(
            "DELETE FROM entries WHERE key IN (SELECT key FROM entries WHERE key >= ?1 AND key < ?2 LIMIT ?3)",
        )?
        .execute(params![start, end, rows as i64])?;
    if deleted < rows {
        catalog.dropped_indexes.remove(&index);
    }
    Ok(true)
}

/// Goes on through the log up to `cutoff`: each revision there supersedes those before it of its
/// document, and a tombstone then stands for nothing.
fn prune_revisions(db: &Connection, cutoff: i64, rows: usize) -> Result<bool, RequestError> {
    let reached: Option<i64> = db
        .prepare_cached("SELECT seq FROM pruned")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let mut log = db.prepare_cached(
        "SELECT seq, ts, tablet, id, body IS NULL FROM revisions WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut supersede =
        db.prepare_cached("DELETE FROM revisions WHERE tablet = ?1 AND id = ?2 AND ts < ?3 + ?4")?;
    let mut revisions = log.query(params![reached.unwrap_or(0), rows as i64])?;
    let (mut read, mut last) = (0, None);
    while let Some(row) = revisions.next()? {
        let (seq, ts): (i64, i64) = (row.get(0)?, row.get(1)?);
        if ts > cutoff {
            break;
        }
        read += 1;
        let (tablet, id, tombstone): (u32, [u8; 16], bool) =
            (row.get(2)?, row.get(3)?, row.get(4)?);
        supersede.execute(params![tablet, id, ts, tombstone])?;
        last = Some((seq, ts));
    }
    if let Some((seq, ts)) = last {
        db.prepare_cached("INSERT OR REPLACE INTO pruned VALUES (1, ?1)")?
            .execute([seq])?;
        db.prepare_cached("DELETE FROM commits WHERE ts < ?1")?
            .execute([ts])?;
    }
    Ok(read == rows)
}

/// Deletes documents of a tablet that was dropped before `cutoff`, and then what is known of it.
fn prune_tablet(
    db: &Connection,
    catalog: &mut Catalog,
    cutoff: i64,
    rows: usize,
) -> Result<bool, RequestError> {
    let gone = catalog
        .tablets
        .values()
        .find(|tablet| tablet.dropped.is_some_and(|dropped| dropped <= cutoff));
    let Some(id) = gone.map(|tablet| tablet.id) else {
        return Ok(false);
    };
    let deleted = db
        .prepare_cached(
            "DELETE FROM revisions WHERE seq IN (SELECT seq FROM revisions WHERE tablet = ?1 LIMIT ?2)",
        )?
        .execute(params![id, rows as i64])?;
    if deleted < rows {
        catalog.tablets.remove(&id);
    }
    Ok(true)
}

#[cfg(test)]
mod tests;

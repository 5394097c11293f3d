//! Forgetting what is too old to be asked for: superseded revisions, tombstones, and tablets that were dropped.
//!
//! A little is done with each commit, in proportion to what it wrote, so that the work neither piles up nor stalls anyone, and costs
//! no flush of its own.

use rusqlite::{Connection, OptionalExtension, params};

use super::error::RequestError;
use super::store::State;

/// Rows looked at with every commit, besides twice as many as it wrote.
const BASE_ROWS: i64 = 256;

/// Forgets what no request can ask for that reads at `cutoff` or later (ns since the epoch).
pub(super) fn prune(
    db: &Connection,
    state: &mut State,
    cutoff: i64,
    rows_written: i64,
) -> Result<(), RequestError> {
    let limit = BASE_ROWS + 2 * rows_written;
    prune_revisions(db, cutoff, limit)?;
    prune_tablets(db, state, cutoff, limit)
}

/// Goes on through the log up to `cutoff`: each revision there supersedes those before it of its document, and a tombstone then
/// stands for nothing.
fn prune_revisions(db: &Connection, cutoff: i64, limit: i64) -> Result<(), RequestError> {
    let reached: Option<i64> = db
        .prepare_cached("SELECT seq FROM pruned")?
        .query_row([], |row| row.get(0))
        .optional()?;
    let mut log = db.prepare_cached(
        "SELECT seq, ts, tablet, id, body IS NULL FROM revisions WHERE seq > ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut supersede =
        db.prepare_cached("DELETE FROM revisions WHERE tablet = ?1 AND id = ?2 AND ts < ?3 + ?4")?;
    let mut rows = log.query(params![reached.unwrap_or(0), limit])?;
    let mut last = None;
    while let Some(row) = rows.next()? {
        let (seq, ts): (i64, i64) = (row.get(0)?, row.get(1)?);
        if ts > cutoff {
            break;
        }
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
    Ok(())
}

fn prune_tablets(
    db: &Connection,
    state: &mut State,
    cutoff: i64,
    limit: i64,
) -> Result<(), RequestError> {
    let gone = state
        .catalog
        .tablets
        .values()
        .find(|tablet| tablet.dropped.is_some_and(|dropped| dropped <= cutoff));
    let Some(id) = gone.map(|tablet| tablet.id) else {
        return Ok(());
    };
    let deleted = db
        .prepare_cached(
            "DELETE FROM revisions WHERE seq IN (SELECT seq FROM revisions WHERE tablet = ?1 LIMIT ?2)",
        )?
        .execute(params![id, limit])?;
    if deleted == 0 {
        db.prepare_cached("DELETE FROM tablets WHERE id = ?1")?
            .execute([id])?;
        state.catalog.tablets.remove(&id);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;
    use std::time::Duration;

    use super::super::catalog::ROOT;
    use super::super::document::Draft;
    use super::super::store::Store;
    use super::super::value::{Object, Value};
    use super::super::writer::Writer;

    fn draft(version: f64) -> Draft {
        Draft::new(Object::from([("v".to_owned(), Value::Float64(version))])).unwrap()
    }

    fn revisions(store: &Arc<Store>) -> i64 {
        let reader = store.reader().unwrap();
        let count = reader
            .db()
            .unwrap()
            .query_row("SELECT count(*) FROM revisions", [], |row| row.get(0));
        count.unwrap()
    }

    /// Three revisions of one document, then its end.
    async fn live_and_die(store: &Arc<Store>, writer: &Writer) {
        writer
            .write(|transaction| {
                let table = transaction.table("t");
                transaction.insert(table, &draft(0.0));
                Ok(())
            })
            .await
            .unwrap();
        let document = {
            let reader = store.reader().unwrap();
            let query = reader
                .db()
                .unwrap()
                .query_row("SELECT id FROM revisions", [], |row| row.get(0));
            u128::from_be_bytes(query.unwrap())
        };
        for version in 1..=3 {
            writer
                .write(move |transaction| {
                    let table = transaction.table("t");
                    let current = transaction.get(table, document)?.unwrap();
                    match version {
                        3 => transaction.delete(table, &current),
                        _ => transaction.replace(table, &current, &draft(version.into())),
                    }
                    Ok(())
                })
                .await
                .unwrap();
        }
    }

    #[tokio::test]
    async fn what_is_too_old_is_forgotten_and_what_is_current_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let (store, db) = Store::open(&dir.path().join("db")).unwrap();
        let writer = Writer::start(store.clone(), db, Duration::ZERO).unwrap();
        live_and_die(&store, &writer).await;
        writer.write(|_| Ok(())).await.unwrap();
        assert_eq!(revisions(&store), 0);
        let insert = |transaction: &mut super::super::transaction::Transaction| {
            let table = transaction.table("t");
            transaction.insert(table, &draft(0.0));
            Ok(())
        };
        writer.write(insert).await.unwrap();
        writer.write(|_| Ok(())).await.unwrap();
        assert_eq!(revisions(&store), 1);
        writer
            .write(|transaction| {
                transaction.clear_table("t");
                Ok(())
            })
            .await
            .unwrap();
        for _ in 0..2 {
            writer.write(|_| Ok(())).await.unwrap();
        }
        assert_eq!(revisions(&store), 0);
        let state = store.state();
        assert_eq!(state.catalog.tablets.len(), 1);
        assert!(state.catalog.table(ROOT, "t").is_some());
    }

    #[tokio::test]
    async fn nothing_is_forgotten_that_can_still_be_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let (store, db) = Store::open(&dir.path().join("db")).unwrap();
        let writer = Writer::start(store.clone(), db, Duration::from_secs(3600)).unwrap();
        live_and_die(&store, &writer).await;
        writer.write(|_| Ok(())).await.unwrap();
        assert_eq!(revisions(&store), 4);
    }
}

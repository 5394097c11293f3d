//! What is forgotten and what is not; indexes that are filled while documents change.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rusqlite::Connection;

use super::step;
use crate::embedded::catalog::{PRIMARY_KEY, ROOT};
use crate::embedded::document::Draft;
use crate::embedded::error::RequestError;
use crate::embedded::index_key;
use crate::embedded::store::{State, Store};
use crate::embedded::transaction::Transaction;
use crate::embedded::value::{Object, Value};
use crate::embedded::writer::Writer;

fn draft(version: f64) -> Draft {
    Draft::new(Object::from([("v".to_owned(), Value::Float64(version))])).unwrap()
}

fn count(store: &Arc<Store>, table: &str) -> i64 {
    let reader = store.reader().unwrap();
    let query = format!("SELECT count(*) FROM {table}");
    let count = reader.db().unwrap().query_row(&query, [], |row| row.get(0));
    count.unwrap()
}

/// Three revisions of one document, then its end.
async fn live_and_die(store: &Arc<Store>, writer: &Writer) {
    insert(writer, 1).await;
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
                let table = transaction.table(ROOT, "t")?;
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

async fn insert(writer: &Writer, documents: u32) {
    let insert = move |transaction: &mut Transaction| {
        let table = transaction.table(ROOT, "t")?;
        for n in 0..documents {
            transaction.insert(table, &draft(n.into()));
        }
        Ok(())
    };
    writer.write(insert).await.unwrap();
}

async fn clear(writer: &Writer) {
    writer
        .write(|transaction| transaction.clear_table(ROOT, "t"))
        .await
        .unwrap();
}

/// Waits until housekeeping has come so far, without any request.
async fn until(done: impl Fn() -> bool) {
    while !done() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_too_old_is_forgotten_and_what_is_current_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = Store::open(&dir.path().join("db")).unwrap();
    let writer = Writer::start(store.clone(), db, Duration::ZERO).unwrap();
    live_and_die(&store, &writer).await;
    writer.write(|_| Ok(())).await.unwrap();
    assert_eq!(count(&store, "revisions"), 0);
    insert(&writer, 1).await;
    writer.write(|_| Ok(())).await.unwrap();
    assert_eq!(count(&store, "revisions"), 1);
    clear(&writer).await;
    until(|| count(&store, "revisions") == 0 && store.state().catalog.tablets.len() == 1).await;
    assert!(store.state().catalog.table(ROOT, "t").is_some());
}

#[tokio::test]
async fn nothing_is_forgotten_that_can_still_be_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = Store::open(&dir.path().join("db")).unwrap();
    let writer = Writer::start(store.clone(), db, Duration::from_secs(3600)).unwrap();
    live_and_die(&store, &writer).await;
    writer.write(|_| Ok(())).await.unwrap();
    assert_eq!(count(&store, "revisions"), 4);
}

#[tokio::test]
async fn a_large_table_that_was_dropped_goes_without_any_request() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = Store::open(&dir.path().join("db")).unwrap();
    let writer = Writer::start(store.clone(), db, Duration::ZERO).unwrap();
    insert(&writer, 6_000).await;
    writer
        .write(|transaction| {
            let table = transaction.table(ROOT, "t")?;
            transaction.add_index(table, PRIMARY_KEY, vec![vec!["v".to_owned()]]);
            Ok(())
        })
        .await
        .unwrap();
    until(|| count(&store, "entries") == 6_000).await;
    clear(&writer).await;
    until(|| count(&store, "revisions") == 0 && count(&store, "entries") == 0).await;
    until(|| store.state().catalog.dropped_indexes.is_empty()).await;
    // It is the same after a restart.
    drop((writer, store));
    let (store, _) = Store::open(&dir.path().join("db")).unwrap();
    assert!(store.state().catalog.dropped_indexes.is_empty());
    assert_eq!(store.state().catalog.tablets.len(), 1);
}

/// What happens between two shares of housekeeping, to the document of this number.
#[derive(Clone, Copy, Debug)]
enum Change {
    Insert(u8),
    Replace(usize, u8),
    Delete(usize),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    let change = prop_oneof![
        any::<u8>().prop_map(Change::Insert),
        (any::<usize>(), any::<u8>()).prop_map(|(at, v)| Change::Replace(at, v)),
        any::<usize>().prop_map(Change::Delete),
    ];
    prop::collection::vec(change, 0..60)
}

/// A database that is written to by hand.
struct Hand {
    db: Connection,
    state: State,
}

impl Hand {
    fn write(&mut self, operation: impl FnOnce(&mut Transaction) -> Result<(), RequestError>) {
        let mut transaction = Transaction::new(&self.db, self.state.clone(), 0);
        operation(&mut transaction).unwrap();
        self.state = transaction.flush().unwrap();
    }

    /// The ids of the documents that are there.
    fn documents(&self) -> Vec<u128> {
        let mut query = self
            .db
            .prepare("SELECT id, max(ts), body IS NULL FROM revisions GROUP BY id")
            .unwrap();
        let rows = query.query_map([], |row| Ok((row.get(0)?, row.get(2)?)));
        let rows = rows.unwrap().map(|row| row.unwrap());
        let current = rows.filter(|(_, deleted): &([u8; 16], bool)| !deleted);
        current.map(|(id, _)| u128::from_be_bytes(id)).collect()
    }

    fn change(&mut self, change: Change) {
        let documents = self.documents();
        self.write(|transaction| {
            let table = transaction.table(ROOT, "t")?;
            let at = |at: usize| documents.get(at % documents.len().max(1)).copied();
            match change {
                Change::Insert(v) => transaction.insert(table, &draft(v.into())),
                Change::Replace(place, v) => {
                    if let Some(id) = at(place) {
                        let current = transaction.get(table, id)?.unwrap();
                        transaction.replace(table, &current, &draft(v.into()));
                    }
                }
                Change::Delete(place) => {
                    if let Some(id) = at(place) {
                        let current = transaction.get(table, id)?.unwrap();
                        transaction.delete(table, &current);
                    }
                }
            }
            Ok(())
        });
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn an_index_that_is_filled_while_documents_change_has_exactly_those_there_are(
        before in changes(), meanwhile in changes(), share in 1..20usize,
    ) {
        let dir = tempfile::tempdir().unwrap();
        let (store, db) = Store::open(&dir.path().join("db")).unwrap();
        db.pragma_update(None, "synchronous", "OFF").unwrap();
        let state = store.state().as_ref().clone();
        let mut hand = Hand { db, state };
        hand.change(Change::Insert(0));
        for change in before {
            hand.change(change);
        }
        let table = hand.state.catalog.table(ROOT, "t").unwrap().id;
        // Added by hand, so that its first share is not filled with it.
        let mut state = hand.state.clone();
        let index = crate::embedded::catalog::Index {
            id: state.catalog.next_index_id(),
            name: PRIMARY_KEY.to_owned(),
            fields: vec![vec!["v".to_owned()]],
            filled_to: Some(0),
        };
        state.catalog.tablet_mut(table).unwrap().indexes.push(index.clone());
        hand.state = state;
        let mut meanwhile = meanwhile.into_iter();
        loop {
            let more = step(&hand.db, &mut hand.state, i64::MIN, share).unwrap();
            if let Some(change) = meanwhile.next() {
                hand.change(change);
            } else if !more {
                break;
            }
        }
        prop_assert!(hand.state.catalog.table(ROOT, "t").unwrap().index(PRIMARY_KEY).unwrap().is_ready());
        let mut expected = BTreeSet::new();
        let documents = hand.documents();
        hand.write(|transaction| {
            for id in documents {
                let current = transaction.get(table, id)?.unwrap();
                expected.insert(index_key::key(&index, &current.fields, current.creation_time(), id));
            }
            Ok(())
        });
        let mut query = hand.db.prepare("SELECT key FROM entries").unwrap();
        let found = query.query_map([], |row| row.get::<_, Vec<u8>>(0)).unwrap();
        prop_assert_eq!(found.map(Result::unwrap).collect::<BTreeSet<_>>(), expected);
    }
}

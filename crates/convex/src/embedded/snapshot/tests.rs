//! What pages cost: the rows that are looked at, whatever else the store holds.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::embedded::catalog::ROOT;
use crate::embedded::deltas::DeltaPage;
use crate::embedded::document::Draft;
use crate::embedded::store::Store;
use crate::embedded::transaction::Transaction;
use crate::embedded::value::{Object, Value};
use crate::embedded::writer::Writer;

const DOCUMENTS: usize = 3_000;
/// Times that some documents were changed.
const CHANGES: usize = 40;
const CHANGED: usize = 20;

fn draft(version: usize) -> Draft {
    let version = Value::Float64(version as f64);
    Draft::new(Object::from([("v".to_owned(), version)])).unwrap()
}

async fn write(
    writer: &Writer,
    operation: impl FnOnce(&mut Transaction) -> Result<(), RequestError> + Send + 'static,
) {
    writer.write(operation).await.unwrap();
}

/// Inserts documents into a table, and changes the first ones over and over. Returns the time in
/// between.
async fn populate(store: &Arc<Store>, writer: &Writer, table: &'static str) -> i64 {
    write(writer, move |transaction| {
        let tablet = transaction.table(ROOT, table)?;
        (0..DOCUMENTS).for_each(|n| transaction.insert(tablet, &draft(n)));
        Ok(())
    })
    .await;
    let inserted = store.state().ts;
    let tablet = store.state().catalog.table(ROOT, table).unwrap().id;
    let mut first = Vec::new();
    scan(&store.reader().unwrap(), tablet, inserted, 0, |row| {
        first.push(row.internal_id);
        Ok(first.len() == CHANGED)
    })
    .unwrap();
    for change in 0..CHANGES {
        let first = first.clone();
        write(writer, move |transaction| {
            for id in first {
                let current = transaction.get(tablet, id)?.unwrap();
                transaction.replace(tablet, &current, &draft(change));
            }
            Ok(())
        })
        .await;
    }
    inserted
}

#[tokio::test]
async fn a_page_costs_what_it_holds_whatever_else_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = Store::open(&dir.path().join("db")).unwrap();
    let writer = Writer::start(store.clone(), db, Duration::MAX).unwrap();
    let inserted = populate(&store, &writer, "t").await;
    populate(&store, &writer, "other").await;
    let selection = || {
        let parameters = serde_json::json!({ "tableName": "t" });
        Selection::from_parameters(parameters.as_object().unwrap()).unwrap()
    };
    let cost = |snapshot: i64, cursor: Option<SnapshotCursor>| {
        let reader = store.reader().unwrap();
        let page = SnapshotPage {
            snapshot,
            cursor,
            selection: selection(),
            format: Format::Clean,
        };
        let mut sink = PageSink::detached();
        page.write(&reader, &mut sink).unwrap();
        let page: serde_json::Value = serde_json::from_slice(sink.text()).unwrap();
        assert_eq!(page["values"].as_array().unwrap().len(), PAGE_DOCUMENTS);
        let next = SnapshotCursor::parse(page["cursor"].as_str().unwrap()).unwrap();
        (reader.rows_touched() as usize, next)
    };
    let now = store.state().ts;
    // Of a document that was changed, some earlier revisions are stepped over; of the others, none.
    let (first, next) = cost(now, None);
    assert!(
        first <= PAGE_DOCUMENTS + CHANGED * (STEPS_BEFORE_JUMP + 1),
        "{first}"
    );
    assert_eq!(cost(now, Some(next)).0, PAGE_DOCUMENTS);
    // Before the changes there is nothing to step over.
    assert_eq!(cost(inserted, None).0, PAGE_DOCUMENTS);

    let reader = store.reader().unwrap();
    let page = DeltaPage {
        cursor: now - 1,
        selection: selection(),
        format: Format::Clean,
    };
    page.write(&reader, &mut PageSink::detached()).unwrap();
    assert_eq!(reader.rows_touched() as usize, CHANGED);
    let reader = store.reader().unwrap();
    let page = DeltaPage {
        cursor: inserted,
        ..page
    };
    page.write(&reader, &mut PageSink::detached()).unwrap();
    // 128 rows, and on to the end of the transaction.
    assert_eq!(reader.rows_touched() as usize, 140);
}

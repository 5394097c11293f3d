//! What the functions cost.
#![allow(clippy::unwrap_used)]
use super::*;
use crate::embedded::document::Draft;
use crate::embedded::store::Store;
use crate::embedded::writer::Writer;

fn object(json: serde_json::Value) -> Object {
    serde_json::from_value(json).unwrap()
}

fn rows_for(
    store: &std::sync::Arc<Store>,
    path: &str,
    args: serde_json::Value,
) -> (u64, serde_json::Value) {
    let reader = store.reader().unwrap();
    let mut sink = PageSink::detached();
    let query = Query::parse(path, object(args)).unwrap();
    query
        .run(&reader, Format::Clean, &mut sink)
        .map_err(|_| "failed")
        .unwrap();
    (
        reader.rows_touched(),
        serde_json::from_slice(sink.text()).unwrap(),
    )
}

#[tokio::test]
async fn a_users_files_cost_the_same_whatever_else_the_table_holds() {
    let dir = tempfile::tempdir().unwrap();
    let (store, db) = Store::open(&dir.path().join("db")).unwrap();
    let writer = Writer::start(store.clone(), db, std::time::Duration::MAX).unwrap();
    let insert = async |user: &'static str, count: usize| {
        let insert = writer.write(move |transaction| {
            let files = transaction.table(ROOT, FILES)?;
            for n in 0..count {
                let fields =
                    object(serde_json::json!({ "user": user, "id": format!("{user}_{n}") }));
                transaction.insert(files, &Draft::new(fields)?);
            }
            Ok(())
        });
        insert.await.unwrap();
    };
    insert("a", 10).await;
    let page =
        serde_json::json!({ "user": "a", "paginationOpts": { "numItems": 5, "cursor": null } });
    let many = serde_json::json!({ "user": "a", "ids": ["a_1", "a_2"] });
    let alone = (
        rows_for(&store, "sluice:byUser", page.clone()),
        rows_for(&store, "sluice:getMany", many.clone()),
    );
    // One row more than the page has, to know that there is more.
    assert_eq!((alone.0.0, alone.1.0), (6, 2));
    insert("b", 5000).await;
    insert("Z", 5000).await;
    let crowded = (
        rows_for(&store, "sluice:byUser", page),
        rows_for(&store, "sluice:getMany", many),
    );
    assert_eq!(crowded, alone);
}

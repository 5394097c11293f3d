//! `/v1/data/sync`, its cursors, and the list of syncs, of the embedded store.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Server, answer};

const SYNC: &str = "/api/v1/data/sync";
const LIST: &str = "/api/v1/data/list_active_syncs";
const CONVERT: &str = "/api/data_sync_cursor_from_deltas";

fn next(page: &Value) -> &Value {
    &page["pagination"]["nextCursor"]
}

/// Pages up to the one that is up to date.
async fn catch_up(server: &Server, cursor: &Value, selection: &Value) -> Vec<Value> {
    let mut pages = vec![server.sync(cursor, selection).await];
    loop {
        let last = pages.last().unwrap();
        if last["status"]["type"] == json!("upToDate") {
            return pages;
        }
        let page = server.sync(&next(last).clone(), selection).await;
        pages.push(page);
    }
}

fn values(pages: &[Value]) -> Vec<Value> {
    let values = pages.iter().map(|page| page["values"].as_array().unwrap());
    values.flatten().cloned().collect()
}

#[tokio::test]
async fn a_sync_walks_the_tables_and_then_follows_the_log() {
    let server = Server::start().await;
    server.add_key("a", "k").await;
    server
        .import("a", Some("k"), (0..3).map(|k| json!({ "k": k })))
        .await;
    server.import("b", None, [json!({ "zero": -0.0 })]).await;
    let first = server.sync(&Value::Null, &Value::Null).await;
    assert_eq!(first["status"], json!({ "type": "snapshotting" }));
    let pages = catch_up(&server, &Value::Null, &Value::Null).await;
    let tables: BTreeSet<String> = pages
        .iter()
        .flat_map(|page| page["truncates"].as_array().unwrap())
        .map(|truncate| truncate.to_string())
        .collect();
    assert_eq!(
        tables.into_iter().collect::<Vec<_>>(),
        [
            r#"{"component":"","table":"a"}"#,
            r#"{"component":"","table":"b"}"#
        ]
    );
    let found = values(&pages);
    assert_eq!(found.len(), 4);
    let names: Vec<&String> = found[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["component", "deleted", "table", "ts", "value"]);
    assert!(found.iter().all(|value| value["deleted"] == json!(false)));
    let b = found.iter().find(|v| v["table"] == json!("b")).unwrap();
    assert_eq!(b["value"]["zero"].to_string(), "-0.0");
    let last = pages.last().unwrap();
    assert!(last["status"]["snapshotTs"].is_i64());
    assert_eq!(last["pagination"]["hasMore"], json!(true));

    server
        .import("a", Some("k"), [json!({ "k": 1, "new": true })])
        .await;
    server
        .import("a", Some("k"), [json!({ "k": 2, "_ab_cdc_deleted_at": 1 })])
        .await;
    let pages = catch_up(&server, next(last), &Value::Null).await;
    let found = values(&pages);
    assert_eq!(found.len(), 2);
    assert_eq!(found[0]["value"]["new"], json!(true));
    assert_eq!(found[1]["deleted"], json!(true));
    assert_eq!(found[1]["value"].as_object().unwrap().len(), 1);
    assert!(
        pages
            .iter()
            .all(|page| page["truncates"] == json!([]) && page["syncId"] == last["syncId"])
    );
}

#[tokio::test]
async fn a_table_is_truncated_whenever_it_starts_anew() {
    let server = Server::start().await;
    server.import("a", None, [json!({ "n": 1 })]).await;
    server.import("b", None, [json!({ "n": 2 })]).await;
    let only = |table: &str| json!({ "_other": "excluded", "": { "_other": "excluded", table: { "_other": "included" } } });
    let pages = catch_up(&server, &Value::Null, &only("a")).await;
    let cursor = next(pages.last().unwrap()).clone();

    // A table that is selected later.
    let both = json!({ "_other": "included" });
    let pages = catch_up(&server, &cursor, &both).await;
    assert_eq!(
        pages[0]["truncates"],
        json!([{ "component": "", "table": "b" }])
    );
    assert_eq!(values(&pages).len(), 1);
    let cursor = next(pages.last().unwrap()).clone();

    // One that is deselected stays as it was, and starts from scratch when it comes back.
    let pages = catch_up(&server, &cursor, &only("a")).await;
    assert_eq!(pages[0]["truncates"], json!([]));
    let cursor = next(pages.last().unwrap()).clone();
    let pages = catch_up(&server, &cursor, &both).await;
    assert_eq!(
        (pages[0]["truncates"].clone(), values(&pages).len()),
        (json!([{ "component": "", "table": "b" }]), 1)
    );
    let cursor = next(pages.last().unwrap()).clone();

    // One that was cleared.
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["a"] }),
        )
        .await;
    server.import("a", None, [json!({ "n": 3 })]).await;
    let pages = catch_up(&server, &cursor, &both).await;
    assert_eq!(
        pages[0]["truncates"],
        json!([{ "component": "", "table": "a" }])
    );
    assert_eq!(values(&pages).len(), 1);
}

#[tokio::test]
async fn a_walked_documents_later_revisions_come_from_the_log() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    let records = (0..20_000).map(|k| json!({ "k": k }));
    server.import("t", Some("k"), records).await;
    let first = server.sync(&Value::Null, &Value::Null).await;
    assert_eq!(first["values"].as_array().unwrap().len(), 16_384);
    // One on each side of where the walk is.
    let changed = [
        json!({ "k": 5, "new": true }),
        json!({ "k": 19_000, "new": true }),
    ];
    server.import("t", Some("k"), changed).await;
    let pages = catch_up(&server, next(&first), &Value::Null).await;
    let rest = values(&pages);
    let k = |value: &Value| value["value"]["k"].as_f64().unwrap() as u64;
    let of = |key: u64| rest.iter().filter(move |value| k(value) == key);
    // The walk goes on at the snapshot; then the log brings both, each newer than what was given
    // out before.
    assert_eq!(of(5).count(), 1);
    let revisions: Vec<bool> = of(19_000)
        .map(|value| value["value"]["new"] == json!(true))
        .collect();
    assert_eq!(revisions, [false, true]);
}

#[tokio::test]
async fn a_delta_cursor_becomes_a_sync_cursor() {
    let server = Server::start().await;
    server.import("t", None, [json!({ "n": 1 })]).await;
    let now = server.now().await;
    server.import("t", None, [json!({ "n": 2 })]).await;
    let (status, body) = server.post(CONVERT, json!({ "cursor": now })).await;
    assert_eq!(status, 200);
    let pages = catch_up(&server, &body["cursor"], &Value::Null).await;
    let found = values(&pages);
    assert_eq!((found.len(), &found[0]["value"]["n"]), (1, &json!(2.0)));
    assert!(pages.iter().all(|page| page["truncates"] == json!([])));
}

#[tokio::test]
async fn cursors_and_selections_that_cannot_be_are_refused() {
    let server = Server::start().await;
    server.import("t", None, [json!({})]).await;
    let now = server.now().await.as_i64().unwrap();
    let day = 24 * 60 * 60 * 1_000_000_000i64;
    let without_id = json!({ "_other": "included", "": { "_other": "included", "t": { "_other": "included", "_id": "excluded" } } });
    let bad_table =
        json!({ "_other": "included", "": { "_other": "included", "not-a-name": "excluded" } });
    let cases = [
        (
            SYNC,
            json!({ "cursor": "nonsense" }),
            "InvalidDataSyncCursor",
        ),
        (SYNC, json!({ "cursor": "e30" }), "InvalidDataSyncCursor"),
        (SYNC, json!({ "cursor": 5 }), "BadJsonBody"),
        // Typed here: nothing falls through to everything.
        (
            SYNC,
            json!({ "selection": { "": "excluded" } }),
            "BadJsonBody",
        ),
        (
            SYNC,
            json!({ "selection": without_id }),
            "InvalidDataSyncSelection",
        ),
        (
            SYNC,
            json!({ "selection": bad_table }),
            "InvalidDataSyncSelection",
        ),
        (CONVERT, json!({}), "BadJsonBody"),
        (
            CONVERT,
            json!({ "cursor": now + day }),
            "InvalidDataSyncCursor",
        ),
        (
            CONVERT,
            json!({ "cursor": now - 15 * day }),
            "DataSyncCursorExpired",
        ),
        (
            CONVERT,
            json!({ "cursor": now, "selection": without_id }),
            "InvalidDataSyncSelection",
        ),
    ];
    for (path, body, code) in cases {
        let (status, answer) = server.post(path, body.clone()).await;
        assert_eq!(
            (status, answer["code"].as_str()),
            (400, Some(code)),
            "{path} {body}"
        );
    }
}

#[tokio::test]
async fn an_old_cursor_has_expired() {
    let server = Server::with(|config| config.log_retention = std::time::Duration::ZERO).await;
    server.import("t", None, [json!({})]).await;
    let page = server.sync(&Value::Null, &Value::Null).await;
    let (status, body) = server.post(SYNC, json!({ "cursor": next(&page) })).await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("DataSyncCursorExpired"))
    );
}

#[tokio::test]
async fn active_syncs_are_listed_the_latest_first() {
    let server = Server::start().await;
    assert_eq!(
        server.get(LIST).await,
        (
            200,
            json!({ "syncs": [], "pagination": { "hasMore": false } })
        )
    );
    server
        .import("t", None, (0..3).map(|n| json!({ "n": n })))
        .await;
    let clients = [
        ("airbyte-export-0.4.0", "airbyte-"),
        ("fivetran-export-2.0.2", "fivetran-"),
        ("other-1.0.0", ""),
    ];
    let mut ids = Vec::new();
    for (client, prefix) in clients {
        let request = server.request(Method::POST, SYNC).json(&json!({}));
        let (status, page) = answer(request.header("Convex-Client", client)).await;
        assert_eq!(status, 200);
        let id = page["syncId"].as_str().unwrap().to_owned();
        assert_eq!(id.len(), prefix.len() + 36);
        assert!(id.starts_with(prefix));
        ids.insert(0, id);
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
    }
    let (_, list) = server.get(LIST).await;
    let listed: Vec<&str> = list["syncs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|sync| sync["syncId"].as_str().unwrap())
        .collect();
    assert_eq!(listed, ids);
    let status = &list["syncs"][0]["status"];
    assert_eq!(
        (&status["totalTables"], &status["numDocumentsSynced"]),
        (&json!(1), &json!(3))
    );
    assert!(status["syncedTs"].is_i64() && list["syncs"][0]["lastUpdated"].is_i64());

    let (_, first) = server.get(&format!("{LIST}?limit=2")).await;
    assert_eq!(first["syncs"].as_array().unwrap().len(), 2);
    assert_eq!(first["pagination"]["hasMore"], json!(true));
    let cursor = first["pagination"]["nextCursor"].as_str().unwrap();
    let (_, second) = server.get(&format!("{LIST}?limit=2&cursor={cursor}")).await;
    assert_eq!(
        (&second["syncs"][0]["syncId"], &second["pagination"]),
        (&json!(ids[2]), &json!({ "hasMore": false }))
    );
    for (query, code) in [
        ("limit=0", "LimitOutOfRange"),
        ("limit=101", "LimitOutOfRange"),
        ("limit=x", "BadQueryArgs"),
        ("cursor=x", "InvalidCursor"),
    ] {
        let (status, body) = server.get(&format!("{LIST}?{query}")).await;
        assert_eq!((status, &body["code"]), (400, &json!(code)), "{query}");
    }
}

#[tokio::test]
async fn a_running_syncs_progress_is_told() {
    let server = Server::start().await;
    for table in ["a", "b"] {
        server
            .import(table, None, (0..16_400).map(|n| json!({ "n": n })))
            .await;
    }
    let page = server.sync(&Value::Null, &Value::Null).await;
    let (_, list) = server.get(LIST).await;
    let mut status = list["syncs"][0]["status"].clone();
    assert_eq!(list["syncs"][0]["syncId"], page["syncId"]);
    let table = status["currentTable"].take();
    assert!(table == json!("a") || table == json!("b"));
    assert_eq!(
        status,
        json!({
            "type": "snapshotting", "numTablesSynced": 0, "totalTables": 2,
            "currentComponent": "", "currentTable": null,
            "numDocumentsInCurrentTable": 16_384, "totalDocumentsInCurrentTable": 16_400,
            "numDocumentsSynced": 16_384, "totalDocuments": 32_800,
        })
    );
    catch_up(&server, next(&page), &Value::Null).await;
    let (_, list) = server.get(LIST).await;
    assert_eq!(list["syncs"][0]["status"]["numDocumentsSynced"], 32_800);
}

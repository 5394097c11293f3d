//! `document_deltas` of the embedded store.

use serde_json::{Value, json};

use super::server::{Server, sizes, values};

#[tokio::test]
async fn pages_hold_whole_transactions_in_the_order_of_the_log() {
    let server = Server::start().await;
    let start = server.now().await;
    for _ in 0..3 {
        server
            .import("t", None, (0..100).map(|n| json!({ "n": n })))
            .await;
    }
    let pages = server.deltas("t", &start).await;
    // 100 rows are fewer than 128; the second transaction passes it and is finished.
    assert_eq!(sizes(&pages), [200, 100]);
    let rows = values(&pages);
    let order: Vec<(i64, &str)> = rows
        .iter()
        .map(|d| (d["_ts"].as_i64().unwrap(), d["_id"].as_str().unwrap()))
        .collect();
    assert!(order.is_sorted_by(|a, b| a < b));
    assert!(rows.iter().all(|d| d["_deleted"] == json!(false)));
    assert_eq!(pages[0]["cursor"], pages[0]["values"][199]["_ts"]);
    let (_, again) = server
        .post(
            "/api/document_deltas",
            json!({ "cursor": pages[1]["cursor"] }),
        )
        .await;
    assert_eq!(
        (&again["values"], &again["hasMore"]),
        (&json!([]), &json!(false))
    );
    assert!(again["cursor"].as_i64() >= pages[1]["cursor"].as_i64());
}

#[tokio::test]
async fn every_revision_appears_and_a_tombstone_has_only_the_id() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    let start = server.now().await;
    server
        .import("t", Some("k"), [json!({ "k": 1, "v": "a" })])
        .await;
    server
        .import("t", Some("k"), [json!({ "k": 1, "v": "b" })])
        .await;
    server
        .import("t", Some("k"), [json!({ "k": 1, "_ab_cdc_deleted_at": 5 })])
        .await;
    let rows = values(&server.deltas("t", &start).await);
    assert_eq!(rows.len(), 3);
    assert_eq!((&rows[0]["v"], &rows[1]["v"]), (&json!("a"), &json!("b")));
    assert_eq!(rows[0]["_creationTime"], rows[1]["_creationTime"]);
    let names: Vec<&String> = rows[2].as_object().unwrap().keys().collect();
    assert_eq!(names, ["_component", "_deleted", "_id", "_table", "_ts"]);
    assert_eq!(
        (&rows[2]["_deleted"], &rows[2]["_id"]),
        (&json!(true), &rows[0]["_id"])
    );
    assert_eq!(server.documents("t").await.len(), 0);
}

#[tokio::test]
async fn changes_to_one_document_in_one_transaction_are_one_revision() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    let start = server.now().await;
    let records = [
        json!({ "k": 1, "v": "a" }),
        json!({ "k": 1, "v": "b" }),
        json!({ "k": 2, "v": "c" }),
    ];
    server.import("t", Some("k"), records).await;
    // Inserted and deleted at once: never there.
    server
        .import(
            "t",
            Some("k"),
            [
                json!({ "k": 3 }),
                json!({ "k": 3, "_ab_cdc_deleted_at": 1 }),
            ],
        )
        .await;
    let rows = values(&server.deltas("t", &start).await);
    let versions: Vec<&Value> = rows.iter().map(|d| &d["v"]).collect();
    assert_eq!(versions.len(), 2);
    assert!(versions.contains(&&json!("b")) && versions.contains(&&json!("c")));
}

#[tokio::test]
async fn other_tables_leave_empty_pages_that_move_on() {
    let server = Server::start().await;
    let start = server.now().await;
    for _ in 0..2 {
        server
            .import("noise", None, (0..200).map(|n| json!({ "n": n })))
            .await;
    }
    server.import("t", None, [json!({})]).await;
    let pages = server.deltas("t", &start).await;
    assert_eq!(sizes(&pages), [0, 0, 1]);
    assert!(pages[0]["cursor"].as_i64() > start.as_i64());
}

#[tokio::test]
async fn a_cleared_table_leaves_no_tombstones() {
    let server = Server::start().await;
    let start = server.now().await;
    server.import("t", None, [json!({ "old": true })]).await;
    let (_, schemas) = server.get("/api/json_schemas").await;
    assert!(schemas["t"]["properties"]["old"].is_object());
    let (status, body) = server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["t", "new"] }),
        )
        .await;
    assert_eq!((status, body), (200, Value::Null));
    assert_eq!(values(&server.deltas("t", &start).await).len(), 0);
    server.import("t", None, [json!({ "old": false })]).await;
    let rows = values(&server.deltas("t", &start).await);
    assert_eq!((rows.len(), &rows[0]["old"]), (1, &json!(false)));
    let (_, schemas) = server.get("/api/json_schemas").await;
    assert!(schemas["new"].is_object());
}

#[tokio::test]
async fn snapshot_then_deltas_miss_nothing() {
    let server = Server::start().await;
    server.import("t", None, [json!({ "n": 1 })]).await;
    let (_, page) = server.get("/api/list_snapshot?tableName=t").await;
    server.import("t", None, [json!({ "n": 2 })]).await;
    let rows = values(&server.deltas("t", &page["snapshot"]).await);
    assert_eq!((rows.len(), &rows[0]["n"]), (1, &json!(2.0)));
}

#[tokio::test]
async fn cursors_that_cannot_be_read_from_are_refused() {
    let server = Server::start().await;
    let now = server.now().await.as_i64().unwrap();
    let day = 24 * 60 * 60 * 1_000_000_000i64;
    let cases = [
        (json!({}), 400, "DocumentDeltasCursorRequired"),
        (
            json!({ "cursor": null }),
            400,
            "DocumentDeltasCursorRequired",
        ),
        (
            json!({ "cursor": now - 15 * day }),
            400,
            "InvalidWindowToReadDocuments",
        ),
        (json!({ "cursor": -5 }), 500, "InternalServerError"),
        (json!({ "cursor": "5" }), 400, "BadJsonBody"),
        (json!({ "cursor": now, "format": "xml" }), 400, "BadFormat"),
    ];
    for (request, status, code) in cases {
        let (got, body) = server.post("/api/document_deltas", request.clone()).await;
        assert_eq!(
            (got, body["code"].as_str().unwrap()),
            (status, code),
            "{request}"
        );
    }
    let (status, body) = server.get("/api/document_deltas?cursor=").await;
    assert_eq!((status, &body["code"]), (400, &json!("BadQueryArgs")));
    let (status, body) = server
        .get(&format!("/api/document_deltas?cursor={now}"))
        .await;
    assert_eq!((status, &body["hasMore"]), (200, &json!(false)));
}

#[tokio::test]
async fn a_cursor_in_the_future_is_answered_with_the_present() {
    let server = Server::start().await;
    let far = 9_000_000_000_000_000_000i64;
    let (_, page) = server
        .post("/api/document_deltas", json!({ "cursor": far }))
        .await;
    let present = page["cursor"].as_i64().unwrap();
    assert!(present > 0 && present < far);
    server.import("t", None, [json!({})]).await;
    assert_eq!(values(&server.deltas("t", &json!(present)).await).len(), 1);
}

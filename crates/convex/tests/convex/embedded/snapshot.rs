//! `list_snapshot` of the embedded store.

use std::collections::BTreeSet;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::server::{KEY, Server, sizes, values};

fn numbered(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|n| json!({ "n": n }))
}

#[tokio::test]
async fn a_walk_over_several_pages_meets_each_document_once() {
    let server = Server::start().await;
    server.import("t", None, numbered(2500)).await;
    let pages = server.walk("t").await;
    assert_eq!(sizes(&pages), [1024, 1024, 452]);
    assert!(
        pages
            .iter()
            .all(|page| page["snapshot"] == pages[0]["snapshot"])
    );
    let documents = values(&pages);
    let numbers: BTreeSet<u64> = documents
        .iter()
        .map(|d| d["n"].as_f64().unwrap() as u64)
        .collect();
    assert_eq!(numbers.len(), 2500);
    let ids: Vec<&str> = documents
        .iter()
        .map(|d| d["_id"].as_str().unwrap())
        .collect();
    assert!(ids.is_sorted_by(|a, b| a < b));
}

#[tokio::test]
async fn a_table_of_exactly_one_page_ends_with_an_empty_one() {
    let server = Server::start().await;
    server.import("t", None, numbered(1024)).await;
    assert_eq!(sizes(&server.walk("t").await), [1024, 0]);
}

#[tokio::test]
async fn a_table_that_is_not_there_is_one_empty_page() {
    let server = Server::start().await;
    let (status, page) = server.get("/api/list_snapshot?tableName=nothing").await;
    assert_eq!(status, 200);
    assert_eq!(page["values"], json!([]));
    assert_eq!(
        (&page["cursor"], &page["hasMore"]),
        (&Value::Null, &json!(false))
    );
    assert!(page["snapshot"].as_i64().unwrap() > 1_700_000_000_000_000_000);
}

#[tokio::test]
async fn pages_never_span_two_tables() {
    let server = Server::start().await;
    for table in ["a", "b", "c"] {
        server.import(table, None, numbered(3)).await;
    }
    let mut next = json!({});
    let mut tables = Vec::new();
    loop {
        let (_, page) = server.post("/api/list_snapshot", next).await;
        let names: BTreeSet<&str> = page["values"]
            .as_array()
            .unwrap()
            .iter()
            .map(|d| d["_table"].as_str().unwrap())
            .collect();
        assert_eq!(names.len(), 1);
        tables.push(names.first().unwrap().to_string());
        if page["hasMore"] == json!(false) {
            break;
        }
        next = json!({ "cursor": page["cursor"], "snapshot": page["snapshot"] });
    }
    tables.sort();
    assert_eq!(tables, ["a", "b", "c"]);
}

#[tokio::test]
async fn rows_carry_their_metadata_and_no_deleted_mark() {
    let server = Server::start().await;
    server.import("t", None, [json!({ "name": "x" })]).await;
    let row = &server.documents("t").await[0];
    let names: Vec<&String> = row.as_object().unwrap().keys().collect();
    assert_eq!(
        names,
        [
            "_component",
            "_creationTime",
            "_id",
            "_table",
            "_ts",
            "name"
        ]
    );
    assert_eq!(
        (&row["_component"], &row["_table"]),
        (&json!(""), &json!("t"))
    );
    assert!(row["_ts"].is_i64() || row["_ts"].is_u64());
    let created = row["_creationTime"].as_f64().unwrap();
    assert!((created - row["_ts"].as_i64().unwrap() as f64 / 1e6).abs() < 60_000.0);
}

#[tokio::test]
async fn a_snapshot_does_not_change_while_documents_do() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    let record = |n: usize, v: usize| json!({ "k": n, "v": v });
    server
        .import("t", Some("k"), (0..1500).map(|n| record(n, 0)))
        .await;
    let (_, first) = server.get("/api/list_snapshot?tableName=t").await;

    // More revisions than a scan steps over, a deletion, an insertion, on both sides of the page's
    // end.
    for version in 1..=20 {
        server
            .import("t", Some("k"), [record(0, version), record(1400, version)])
            .await;
    }
    let deleted = json!({ "k": 1450, "_ab_cdc_deleted_at": "2026-01-01" });
    server
        .import("t", Some("k"), [deleted, record(9000, 1)])
        .await;

    let next =
        json!({ "tableName": "t", "cursor": first["cursor"], "snapshot": first["snapshot"] });
    let (_, second) = server.post("/api/list_snapshot", next).await;
    let documents = values(&[first.clone(), second]);
    assert_eq!(documents.len(), 1500);
    assert!(documents.iter().all(|d| d["v"] == json!(0.0)));
    let snapshot = first["snapshot"].as_i64().unwrap();
    assert!(
        documents
            .iter()
            .all(|d| d["_ts"].as_i64().unwrap() <= snapshot)
    );

    let now = server.documents("t").await;
    assert_eq!(now.len(), 1500);
    assert_eq!(now.iter().filter(|d| d["v"] == json!(20.0)).count(), 2);
}

#[tokio::test]
async fn a_walk_goes_on_over_a_table_that_is_cleared_meanwhile() {
    let server = Server::start().await;
    server.import("t", None, numbered(1030)).await;
    let (_, first) = server.get("/api/list_snapshot?tableName=t").await;
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["t"] }),
        )
        .await;
    let next =
        json!({ "tableName": "t", "cursor": first["cursor"], "snapshot": first["snapshot"] });
    let (_, second) = server.post("/api/list_snapshot", next).await;
    assert_eq!(second["values"].as_array().unwrap().len(), 6);
    assert_eq!(sizes(&server.walk("t").await), [0]);
}

#[tokio::test]
async fn snapshots_outside_the_window_and_foreign_cursors_are_refused() {
    let server = Server::start().await;
    server.import("t", None, numbered(1)).await;
    let now = server.now().await.as_i64().unwrap();
    let minute = 60_000_000_000;
    let cases = [
        (json!({ "snapshot": now + minute }), 400, "SnapshotTooNew"),
        (
            json!({ "snapshot": now - 5 * 24 * 60 * minute - minute }),
            400,
            "SnapshotTooOld",
        ),
        (json!({ "snapshot": -1 }), 500, "InternalServerError"),
        (json!({ "cursor": "" }), 400, "InvalidListSnapshotCursor"),
        (
            json!({ "cursor": "{\"tablet\":\"x\",\"id\":\"y\"}" }),
            400,
            "InvalidListSnapshotCursor",
        ),
        (
            json!({ "tableName": "not-a-name" }),
            500,
            "InternalServerError",
        ),
        (json!({ "format": "xml" }), 400, "BadFormat"),
        // The format is looked at last.
        (
            json!({ "format": "xml", "cursor": "x" }),
            400,
            "InvalidListSnapshotCursor",
        ),
        (json!({ "snapshot": "1" }), 400, "BadJsonBody"),
    ];
    for (request, status, code) in cases {
        let (got, body) = server.post("/api/list_snapshot", request.clone()).await;
        assert_eq!(
            (got, body["code"].as_str().unwrap()),
            (status, code),
            "{request}"
        );
        assert!(body["message"].is_string());
    }
    // What is unknown is ignored, and a cursor is taken without its snapshot.
    let (_, page) = server
        .post("/api/list_snapshot", json!({ "unknown": 1 }))
        .await;
    let id = &page["values"][0]["_id"];
    server.import("t", None, numbered(1100)).await;
    let (_, page) = server.post("/api/list_snapshot", json!({})).await;
    let on = json!({ "cursor": page["cursor"] });
    let (status, rest) = server.post("/api/list_snapshot", on).await;
    assert_eq!(
        (status, rest["values"].as_array().unwrap().len()),
        (200, 77)
    );
    assert!(page["values"][0]["_id"] == *id && rest["snapshot"].is_i64());
    let old = json!({ "tableName": "t", "snapshot": now - minute });
    let (status, page) = server.post("/api/list_snapshot", old).await;
    assert_eq!((status, &page["values"]), (200, &json!([])));
}

#[tokio::test]
async fn a_selection_chooses_tables_and_columns() {
    let server = Server::start().await;
    server.import("a", None, [json!({ "x": 1, "y": 2 })]).await;
    server.import("b", None, [json!({ "x": 1 })]).await;
    let rows = async |body: Value| {
        let mut body = body;
        let mut rows = Vec::new();
        loop {
            let (status, page) = server.post("/api/list_snapshot", body.clone()).await;
            assert_eq!(status, 200, "{page}");
            rows.extend(page["values"].as_array().unwrap().clone());
            if page["hasMore"] == json!(false) {
                break rows;
            }
            body["cursor"] = page["cursor"].clone();
            body["snapshot"] = page["snapshot"].clone();
        }
    };
    let only_a = json!({ "_other": "excluded", "": { "_other": "excl", "a": { "_other": "incl", "y": "excluded", "_creationTime": "excluded" } } });
    let found = rows(json!({ "selection": only_a })).await;
    assert_eq!(found.len(), 1);
    let names: Vec<&String> = found[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["_component", "_id", "_table", "_ts", "x"]);

    let all_but_a = json!({ "_other": "included", "": { "_other": "included", "a": "excluded" } });
    let found = rows(json!({ "selection": all_but_a })).await;
    assert!(found.iter().all(|d| d["_table"] == json!("b")) && found.len() == 1);
    assert_eq!(rows(json!({ "component": "other" })).await.len(), 0);
    assert_eq!(rows(json!({ "component": "" })).await.len(), 2);
    assert_eq!(rows(json!({ "table_name": "b" })).await.len(), 1);
    // Without _other it is not a selection, and everything is exported.
    assert_eq!(
        rows(json!({ "selection": { "": "excluded" } })).await.len(),
        2
    );

    let no_id = json!({ "_other": "included", "": { "_other": "included", "a": { "_other": "included", "_id": "excluded" } } });
    let (status, _) = server
        .post("/api/list_snapshot", json!({ "selection": no_id }))
        .await;
    assert_eq!(status, 500);
}

#[tokio::test]
async fn formats_differ_only_where_the_values_do() {
    let server = Server::start().await;
    server
        .import(
            "t",
            None,
            [json!({ "zero": -0.0, "three": 3, "nested": [{ "a": 1.5 }] })],
        )
        .await;
    let text = async |format: &str| {
        let path = format!("/api/list_snapshot?tableName=t&format={format}");
        let response = server
            .request(reqwest::Method::GET, &path)
            .send()
            .await
            .unwrap();
        response.text().await.unwrap()
    };
    for format in ["json", "convex_clean_json", "export_json"] {
        assert!(
            text(format)
                .await
                .contains(r#""nested":[{"a":1.5}],"three":3.0,"zero":-0.0}"#),
            "{format}"
        );
    }
    for format in ["convex_encoded_json", "convex_json"] {
        let text = text(format).await;
        assert!(
            text.contains(r#""three":3.0,"zero":{"$float":"AAAAAAAAAIA="}}"#),
            "{text}"
        );
    }
}

#[test]
fn readers_that_stall_hold_no_thread_and_get_the_whole_page_in_the_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let server = Server::start().await;
        server.import("small", None, [json!({})]).await;
        // More than sockets keep for a reader.
        let text = "x".repeat(900_000);
        let large = (0..12).map(|n| json!({ "n": n, "text": text }));
        server.import("large", None, large).await;
        let (_, page) = server.get("/api/list_snapshot?tableName=small").await;
        let path = format!(
            "/api/list_snapshot?tableName=large&snapshot={}",
            page["snapshot"]
        );
        let page = server.request(Method::GET, &path).send().await.unwrap();
        let page = page.text().await.unwrap();
        assert!(page.len() > 12 * text.len());

        let mut readers = Vec::new();
        for _ in 0..5 {
            let socket = tokio::net::TcpSocket::new_v4().unwrap();
            socket.set_recv_buffer_size(16 * 1024).unwrap();
            let address = server.url.strip_prefix("http://").unwrap();
            let mut reader = socket.connect(address.parse().unwrap()).await.unwrap();
            let head = format!("GET {path} HTTP/1.0\r\nAuthorization: Convex {KEY}\r\n\r\n");
            reader.write_all(head.as_bytes()).await.unwrap();
            readers.push(reader);
        }
        // A thread that waited for its reader would do so for longer.
        let others = timeout(Duration::from_secs(10), async {
            for reader in &mut readers {
                let mut begin = [0; 15];
                reader.read_exact(&mut begin).await.unwrap();
                assert_eq!(&begin, b"HTTP/1.0 200 OK");
            }
            server.documents("small").await
        });
        assert_eq!(others.await.unwrap().len(), 1);
        for mut reader in readers {
            let mut rest = String::new();
            reader.read_to_string(&mut rest).await.unwrap();
            let (_, body) = rest.split_once("\r\n\r\n").unwrap();
            assert!(body == page, "{} of {} bytes", body.len(), page.len());
        }
    });
}

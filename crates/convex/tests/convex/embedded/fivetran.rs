//! The calls of Fivetran's destination, of the embedded store.

use serde_json::{Value, json};

use super::server::{Server, values};

const PREFIX: &str = "/api/streaming_import";

async fn call(server: &Server, path: &str, body: Value) -> (u16, String) {
    let (status, body) = server.post(&format!("{PREFIX}/{path}"), body).await;
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}

async fn ok(server: &Server, path: &str, body: Value) {
    assert_eq!(call(server, path, body).await, (200, String::new()));
}

/// A table as the connector creates it, with soft deletion or without.
fn definition(table: &str, soft: bool) -> Value {
    let with = |mut fields: Vec<&'static str>| {
        if soft {
            fields.insert(0, "fivetran.deleted");
        }
        fields
    };
    json!({ "tableDefinition": {
        "tableName": table,
        "indexes": [
            { "indexDescriptor": "_fivetran_by_primary_key", "fields": with(vec!["id"]) },
            { "indexDescriptor": "_fivetran_by_synced", "fields": with(vec!["fivetran.synced", "_creationTime"]) },
        ],
        "documentType": { "type": "any" },
    } })
}

fn row(operation: &str, row: Value) -> Value {
    json!({ "table": "t", "operation": operation, "row": row })
}

/// An id as the tagged encoding has it.
fn int(n: i64) -> Value {
    use base64::Engine;
    let bytes = base64::engine::general_purpose::STANDARD.encode(n.to_le_bytes());
    json!({ "$integer": bytes })
}

async fn documents(server: &Server, format: &str) -> Vec<Value> {
    let path = format!("/api/list_snapshot?tableName=t&format={format}");
    let (_, page) = server.get(&path).await;
    values(&[page])
}

#[tokio::test]
async fn there_is_no_schema() {
    let server = Server::start().await;
    let (status, schema) = server.get(&format!("{PREFIX}/get_schema")).await;
    assert_eq!((status, schema), (200, Value::Null));
}

#[tokio::test]
async fn rows_are_written_with_the_types_they_are_tagged_with() {
    let server = Server::start().await;
    ok(&server, "fivetran_create_table", definition("t", false)).await;
    let values = json!({
        "id": int(i64::MAX), "bytes": { "$bytes": "AQL/" }, "nan": { "$float": "AAAAAAAA+H8=" }, "n": 3,
        "fivetran": { "synced": 5 },
    });
    ok(
        &server,
        "apply_fivetran_operations",
        json!([row("Upsert", values.clone())]),
    )
    .await;
    let mut stored = documents(&server, "convex_encoded_json").await[0].clone();
    stored
        .as_object_mut()
        .unwrap()
        .retain(|name, _| !name.starts_with('_'));
    let mut expected = values;
    expected["n"] = json!(3.0);
    expected["fivetran"]["synced"] = json!(5.0);
    assert_eq!(stored, expected);
    let clean = &documents(&server, "json").await[0];
    assert_eq!(
        (&clean["id"], &clean["bytes"], &clean["nan"]),
        (&json!("9223372036854775807"), &json!("AQL/"), &json!("NaN"))
    );
    let (_, schemas) = server.get("/api/json_schemas").await;
    let properties = &schemas["t"]["properties"];
    assert_eq!(
        properties["id"],
        json!({ "$description": "int64 represented as base10 string", "type": "string" })
    );
    assert_eq!(
        properties["bytes"],
        json!({ "$description": "base64 bytes", "type": "string" })
    );
    assert_eq!(properties["nan"]["anyOf"].as_array().unwrap().len(), 2);
    let (_, schemas) = server.get("/api/json_schemas?format=export_json").await;
    assert_eq!(
        schemas["t"]["properties"]["id"],
        json!({ "$description": "int64", "type": "number" })
    );
}

#[tokio::test]
async fn rows_are_replaced_patched_and_deleted_by_their_key() {
    let server = Server::start().await;
    ok(&server, "fivetran_create_table", definition("t", false)).await;
    let apply =
        async |operations: Value| ok(&server, "apply_fivetran_operations", operations).await;
    let meta = |synced: i32| json!({ "synced": synced, "columns": { "_x": synced } });
    apply(json!([
        row(
            "Upsert",
            json!({ "id": 1, "a": 1, "b": 1, "fivetran": meta(1) })
        ),
        row("Upsert", json!({ "id": 2, "a": 1, "fivetran": meta(1) })),
    ]))
    .await;
    apply(json!([
        row("Upsert", json!({ "id": 2, "c": 1, "fivetran": meta(2) })),
        // Metadata are patched each by itself.
        row(
            "Update",
            json!({ "id": 1, "b": 2, "fivetran": { "synced": 2 } })
        ),
        row("HardDelete", json!({ "id": 3 })),
    ]))
    .await;
    let found = documents(&server, "json").await;
    let of = |id: f64| found.iter().find(|row| row["id"] == json!(id)).unwrap();
    assert_eq!(found.len(), 2);
    let first = of(1.0);
    assert_eq!(
        (&first["a"], &first["b"], &first["fivetran"]),
        (
            &json!(1.0),
            &json!(2.0),
            &json!({ "synced": 2.0, "columns": { "_x": 1.0 } })
        )
    );
    assert_eq!((&of(2.0)["a"], &of(2.0)["c"]), (&Value::Null, &json!(1.0)));
    apply(json!([row("HardDelete", json!({ "id": 1 }))])).await;
    assert_eq!(documents(&server, "json").await.len(), 1);
}

#[tokio::test]
async fn operations_that_cannot_be_are_refused_and_change_nothing() {
    let server = Server::start().await;
    let upsert = json!([row("Upsert", json!({ "id": 1 }))]);
    let apply = async |body: Value| call(&server, "apply_fivetran_operations", body).await;
    let refused = |status: u16, code: &str| (status, code.to_owned());
    assert_eq!(
        apply(upsert.clone()).await,
        refused(400, "MissingFivetranPrimaryKeyIndex")
    );
    ok(&server, "fivetran_create_table", definition("t", false)).await;
    let update = json!([
        row("Upsert", json!({ "id": 1 })),
        row("Update", json!({ "id": 2 }))
    ]);
    assert_eq!(
        apply(update).await,
        refused(404, "FivetranMissingUpdatedRow")
    );
    let no_key = json!([row("Upsert", json!({ "a": 1 }))]);
    assert_eq!(
        apply(no_key).await,
        refused(400, "MissingValueForFivetranPrimaryKeyIndex")
    );
    for body in [
        json!({ "rows": [] }),
        json!([row("Delete", json!({ "id": 1 }))]),
        json!([row("Upsert", json!([]))]),
        json!([row("Upsert", json!({ "id": { "$integer": "x" } }))]),
        json!([row("Upsert", json!({ "id": 1, "a": { "$b": 1, "c": 2 } }))]),
    ] {
        assert_eq!(
            apply(body.clone()).await,
            refused(400, "BadJsonBody"),
            "{body}"
        );
    }
    let reserved = json!([row("Upsert", json!({ "id": 1, "_ts": 1 }))]);
    assert_eq!(apply(reserved).await, refused(400, "InvalidDocumentError"));
    let bad_name = json!([{ "table": "a-b", "operation": "Upsert", "row": { "id": 1 } }]);
    assert_eq!(apply(bad_name).await, refused(500, "InternalServerError"));
    assert_eq!(documents(&server, "json").await.len(), 0);
}

#[tokio::test]
async fn a_table_is_truncated_before_a_time_softly_or_for_good() {
    for soft in [true, false] {
        let server = Server::start().await;
        ok(&server, "fivetran_create_table", definition("t", soft)).await;
        let rows = (0..10).map(|n| {
            let mut fivetran = json!({ "synced": 1_700_000_000_000i64 + n });
            if soft {
                fivetran["deleted"] = json!(false);
            }
            row("Upsert", json!({ "id": n, "fivetran": fivetran }))
        });
        ok(&server, "apply_fivetran_operations", rows.collect()).await;
        let truncate = async |before: Value, kind: &str| {
            let body = json!({ "tableName": "t", "deleteBefore": before, "deleteType": kind });
            ok(&server, "fivetran_truncate_table", body).await;
        };
        let marked = |rows: &[Value]| {
            let marked = rows
                .iter()
                .filter(|row| row["fivetran"]["deleted"] == json!(true));
            marked.count()
        };
        truncate(json!("2023-11-14T23:13:20.004+01:00"), "SoftDelete").await;
        let rows = documents(&server, "json").await;
        assert_eq!((rows.len(), marked(&rows)), (10, 4));
        truncate(json!("2023-11-14T22:13:20.006Z"), "HardDelete").await;
        let rows = documents(&server, "json").await;
        // With soft deletion, those that are marked are not found again.
        assert_eq!(rows.len(), if soft { 8 } else { 4 });
        truncate(Value::Null, "SoftDelete").await;
        let rows = documents(&server, "json").await;
        assert_eq!(marked(&rows), rows.len());
        truncate(Value::Null, "HardDelete").await;
        assert_eq!(documents(&server, "json").await.len(), 0);
    }
}

#[tokio::test]
async fn a_truncation_of_many_rows_reaches_all_of_them() {
    let server = Server::start().await;
    ok(&server, "fivetran_create_table", definition("t", false)).await;
    let rows = (0..5_000).map(|n| row("Upsert", json!({ "id": n, "fivetran": { "synced": 1 } })));
    ok(&server, "apply_fivetran_operations", rows.collect()).await;
    let body = |kind: &str| json!({ "tableName": "t", "deleteBefore": "2024-01-01T00:00:00Z", "deleteType": kind });
    ok(&server, "fivetran_truncate_table", body("SoftDelete")).await;
    let marked = server.documents("t").await;
    assert!(
        marked
            .iter()
            .all(|row| row["fivetran"]["deleted"] == json!(true))
    );
    ok(&server, "fivetran_truncate_table", body("HardDelete")).await;
    assert_eq!(server.documents("t").await.len(), 0);
}

#[tokio::test]
async fn tables_that_cannot_be_truncated_are_refused() {
    let server = Server::start().await;
    let truncate = async |table: &str, before: &str| {
        let body =
            json!({ "tableName": table, "deleteBefore": before, "deleteType": "HardDelete" });
        call(&server, "fivetran_truncate_table", body).await
    };
    let (now, bad) = ("2024-01-01T00:00:00Z", "yesterday");
    let refused = |code: &str| (400, code.to_owned());
    assert_eq!(
        truncate("t", now).await,
        refused("MissingFivetranSyncedIndex")
    );
    let mut wrong = definition("t", false);
    wrong["tableDefinition"]["indexes"][1]["fields"] = json!(["id", "fivetran.synced"]);
    ok(&server, "fivetran_create_table", wrong).await;
    assert_eq!(
        truncate("t", now).await,
        refused("WrongFieldsInFivetranSyncedIndex")
    );
    assert_eq!(truncate("t", bad).await, refused("BadJsonBody"));
}

#[tokio::test]
async fn tables_and_indexes_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let index = |name: &str, fields: Value| json!({ "indexDescriptor": name, "fields": fields });
    let cases = [
        ("not-a-name", json!([]), "InvalidTableName"),
        ("_t", json!([]), "TableNameReserved"),
        ("t", json!([index("i", json!([]))]), "EmptyIndex"),
        (
            "t",
            json!([index("i", json!(["_creationTime"]))]),
            "EmptyIndex",
        ),
        ("t", json!([index("a-b", json!(["a"]))]), "InvalidIndexName"),
        ("t", json!([index("_i", json!(["a"]))]), "IndexNameReserved"),
        (
            "t",
            json!([index("by_id", json!(["a"]))]),
            "IndexNameReserved",
        ),
        (
            "t",
            json!([index("i", json!(["a..b"]))]),
            "InvalidIndexField",
        ),
        (
            "t",
            json!([index("i", json!(["_id"]))]),
            "IndexFieldsContainId",
        ),
        (
            "t",
            json!([index("i", json!(["_creationTime", "a"]))]),
            "IndexFieldsContainCreationTime",
        ),
        (
            "t",
            json!([index("i", json!(["_x"]))]),
            "IndexFieldNameReserved",
        ),
        (
            "t",
            json!([index("i", json!(["a", "a"]))]),
            "FieldsNotUniqueWithinIndex",
        ),
        (
            "t",
            json!([index("i", json!(["a"])), index("i", json!(["b"]))]),
            "IndexNamesNotUnique",
        ),
        (
            "t",
            json!([index("i", json!(["a"])), index("j", json!(["a"]))]),
            "IndexNotUnique",
        ),
    ];
    for (table, indexes, code) in cases {
        let body = json!({ "tableDefinition": { "tableName": table, "indexes": indexes } });
        let outcome = call(&server, "fivetran_create_table", body.clone()).await;
        assert_eq!(outcome, (400, code.to_owned()), "{body}");
    }
    // Creating it again changes nothing.
    for _ in 0..2 {
        ok(&server, "fivetran_create_table", definition("t", true)).await;
    }
    let (_, schemas) = server.get("/api/json_schemas").await;
    assert_eq!(schemas.as_object().unwrap().len(), 1);
}

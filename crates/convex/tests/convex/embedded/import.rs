//! The streaming import of the embedded store.

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{IMPORT, Server, answer, import_body};

const INDEXES: &str = "/api/streaming_import/add_primary_key_indexes";
const READY: &str = "/api/streaming_import/primary_key_indexes_ready";

async fn code_of(server: &Server, body: Value) -> (u16, String) {
    let (status, answer) = server.post(IMPORT, body).await;
    (
        status,
        answer["code"].as_str().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn without_a_key_records_are_appended_and_all_numbers_are_floats() {
    let server = Server::start().await;
    let record = json!({ "n": 7, "big": 9007199254740993u64, "list": [1, null, true, "x"] });
    server.import("t", None, [record.clone(), record]).await;
    let documents = server.documents("t").await;
    assert_eq!(documents.len(), 2);
    assert_ne!(documents[0]["_id"], documents[1]["_id"]);
    assert_ne!(documents[0]["_creationTime"], documents[1]["_creationTime"]);
    assert_eq!(documents[0]["_ts"], documents[1]["_ts"]);
    assert_eq!(documents[0]["big"], json!(9007199254740992.0));
    assert_eq!(documents[0]["list"], json!([1.0, null, true, "x"]));
}

#[tokio::test]
async fn a_primary_key_replaces_and_deletes() {
    let server = Server::start().await;
    server
        .put(INDEXES, json!({ "indexes": { "t": [["a"], ["b", "c"]] } }))
        .await;
    let import = async |data: Value| {
        let body = json!({
            "tables": { "t": { "primaryKey": [["a"], ["b", "c"]], "jsonSchema": null } },
            "messages": [{ "tableName": "t", "data": data }],
        });
        assert_eq!(server.post(IMPORT, body).await, (200, Value::Null));
        server.documents("t").await
    };
    let first = import(json!({ "a": 1, "b": { "c": "x" }, "v": 1, "gone": true })).await;
    import(json!({ "a": 1, "b": { "c": "y" }, "v": 2 })).await;
    let now = import(json!({ "a": 1, "b": { "c": "x" }, "v": 3 })).await;
    assert_eq!(now.len(), 2);
    let replaced = now.iter().find(|d| d["_id"] == first[0]["_id"]).unwrap();
    assert_eq!(
        (&replaced["v"], &replaced["gone"]),
        (&json!(3.0), &Value::Null)
    );
    assert_eq!(replaced["_creationTime"], first[0]["_creationTime"]);
    assert!(replaced["_ts"].as_i64() > first[0]["_ts"].as_i64());
    // A null mark deletes nothing; a real one does; one that meets no document inserts.
    assert_eq!(
        import(json!({ "a": 1, "b": { "c": "y" }, "_ab_cdc_deleted_at": null }))
            .await
            .len(),
        2
    );
    assert_eq!(
        import(json!({ "a": 1, "b": { "c": "y" }, "_ab_cdc_deleted_at": "now", "_ab_cdc_lsn": 4 }))
            .await
            .len(),
        1
    );
    let now =
        import(json!({ "a": 2, "b": { "c": "z" }, "_ab_cdc_deleted_at": "now", "_ab_cdc_lsn": 4 }))
            .await;
    assert_eq!(now.len(), 2);
    assert!(
        now.iter()
            .all(|d| d.get("_ab_cdc_lsn").is_none() && d.get("_ab_cdc_deleted_at").is_none())
    );
}

#[tokio::test]
async fn names_are_repaired_at_any_depth() {
    let server = Server::start().await;
    let record = json!({
        "_id": 1, "fine-as it.is": 2, "$tag": { "_nested": 3, "$integer": "x" }, "naïve": [{ "Ü": 4 }],
    });
    server.import("my-stream!", None, [record]).await;
    let documents = server.documents("source_my_stream").await;
    let mut fields = documents[0].as_object().unwrap().clone();
    fields.retain(|name, _| !name.starts_with('_'));
    let expected = json!({
        "source_id": 1.0, "fine-as it.is": 2.0,
        "source_tag": { "source_nested": 3.0, "source_integer": "x" },
        "source_naive": [{ "source_u": 4.0 }],
    });
    assert_eq!(Value::Object(fields), expected);
}

#[tokio::test]
async fn bad_imports_are_refused_before_anything_is_written() {
    let server = Server::start().await;
    let good = json!({ "tableName": "t", "data": { "n": 1 } });
    let tables = json!({ "t": { "jsonSchema": {} } });
    let keyed = |key: Value| json!({ "t": { "primaryKey": key, "jsonSchema": {} } });
    let cases = [
        (
            json!({ "tables": tables, "messages": [good, { "tableName": "u", "data": {} }] }),
            400,
            "MissingStream",
        ),
        (
            json!({ "tables": tables, "messages": [good, { "tableName": "t", "data": [] }] }),
            500,
            "InternalServerError",
        ),
        (
            json!({ "tables": tables, "messages": [good, { "tableName": "t", "data": { "x".repeat(1100): 1 } }] }),
            400,
            "InvalidFieldName",
        ),
        (
            json!({ "tables": { "x".repeat(65): { "jsonSchema": {} } }, "messages": [] }),
            400,
            "InvalidTableName",
        ),
        (
            json!({ "tables": { "t": {} }, "messages": [good] }),
            400,
            "BadJsonBody",
        ),
        (json!({ "messages": [good] }), 400, "BadJsonBody"),
        (
            json!({ "tables": keyed(json!([])), "messages": [good] }),
            400,
            "EmptyPrimaryKey",
        ),
        (
            json!({ "tables": keyed(json!([["k"]])), "messages": [good] }),
            400,
            "MissingPrimaryKeyValue",
        ),
        (
            json!({ "tables": keyed(json!([["n"]])), "messages": [good] }),
            400,
            "IndexNotFoundError",
        ),
        (
            json!({ "tables": keyed(json!([["a-b"]])), "messages": [] }),
            500,
            "InternalServerError",
        ),
        (
            json!({ "tables": tables, "messages": [good, { "tableName": "t", "data": { "a": "x".repeat(1 << 20) } }] }),
            400,
            "ValueTooLargeError",
        ),
    ];
    for (body, status, code) in cases {
        assert_eq!(code_of(&server, body).await, (status, code.to_owned()));
    }
    assert_eq!(server.get("/api/json_schemas").await, (200, json!({})));
}

#[tokio::test]
async fn large_imports_are_several_transactions() {
    let server = Server::start().await;
    server
        .import("t", None, (0..16_001).map(|_| json!({})))
        .await;
    let documents = server.documents("t").await;
    assert_eq!(documents.len(), 16_001);
    let last = documents
        .iter()
        .map(|d| d["_ts"].as_i64().unwrap())
        .max()
        .unwrap();
    assert_eq!(
        documents
            .iter()
            .filter(|d| d["_ts"].as_i64() == Some(last))
            .count(),
        1
    );
}

#[tokio::test]
async fn an_index_added_later_covers_the_documents_there_are() {
    let server = Server::start().await;
    server
        .import("t", None, (0..50).map(|n| json!({ "k": n, "v": "old" })))
        .await;
    server.add_key("t", "k").await;
    server
        .import("t", Some("k"), [json!({ "k": 7, "v": "new" })])
        .await;
    let documents = server.documents("t").await;
    assert_eq!(documents.len(), 50);
    assert_eq!(
        documents.iter().filter(|d| d["v"] == json!("new")).count(),
        1
    );
    // Other fields: the index is rebuilt, and the old key is one no longer.
    server.add_key("t", "v").await;
    let old_key = import_body("t", Some("k"), [json!({ "k": 7 })]);
    assert_eq!(
        code_of(&server, old_key).await,
        (400, "IndexNotFoundError".to_owned())
    );
    server
        .import("t", Some("v"), [json!({ "v": "new", "k": 99 })])
        .await;
    assert_eq!(server.documents("t").await.len(), 50);
}

#[tokio::test]
async fn an_index_outlives_the_clearing_of_its_table() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    server.import("t", Some("k"), [json!({ "k": 1 })]).await;
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["t"] }),
        )
        .await;
    server
        .import("t", Some("k"), [json!({ "k": 1 }), json!({ "k": 1 })])
        .await;
    assert_eq!(server.documents("t").await.len(), 1);
}

#[tokio::test]
async fn keys_that_cannot_be_are_refused() {
    let server = Server::start().await;
    let many: Vec<Vec<String>> = (0..17).map(|n| vec![format!("f{n}")]).collect();
    let cases = [
        (json!([["a-b"]]), "InvalidPrimaryKey"),
        (json!([["a"], ["a"]]), "InvalidPrimaryKey"),
        (json!(many), "InvalidPrimaryKey"),
        (json!([["_id"]]), "InvalidPrimaryKey"),
        (json!([["_creationTime"]]), "IndexFieldsContainCreationTime"),
        (json!([["_other"]]), "IndexFieldNameReserved"),
    ];
    for (key, code) in cases {
        let (status, body) = server
            .put(INDEXES, json!({ "indexes": { "t": key } }))
            .await;
        assert_eq!((status, body["code"].as_str().unwrap()), (400, code));
    }
}

#[tokio::test]
async fn readiness_is_asked_by_a_get_with_a_body() {
    let server = Server::start().await;
    let ready = async |tables: Value| {
        answer(
            server
                .request(Method::GET, READY)
                .json(&json!({ "tables": tables })),
        )
        .await
    };
    assert_eq!(
        ready(json!([])).await,
        (200, json!({ "indexesReady": true }))
    );
    let (status, body) = ready(json!(["t"])).await;
    assert_eq!((status, &body["code"]), (400, &json!("MissingIndex")));
    server.add_key("t", "k").await;
    assert_eq!(
        ready(json!(["t"])).await,
        (200, json!({ "indexesReady": true }))
    );
}

#[tokio::test]
async fn tables_are_never_replaced() {
    let server = Server::start().await;
    let path = "/api/streaming_import/replace_tables";
    let (status, body) = server
        .post(path, json!({ "tableNames": { "tmp": "final" } }))
        .await;
    assert_eq!(
        (status, &body["code"]),
        (400, &json!("OverwriteNotSupported"))
    );
    let (status, body) = server.post(path, json!({})).await;
    assert_eq!((status, &body["code"]), (400, &json!("BadJsonBody")));
}

#[tokio::test]
async fn an_index_on_a_large_table_is_built_beside_the_requests() {
    let server = Server::start().await;
    let records = |from: u32| (from..from + 15_000).map(|n| json!({ "k": n, "v": "old" }));
    for from in [0, 15_000, 30_000] {
        server.import("t", None, records(from)).await;
    }
    server.add_key("t", "k").await;
    let ready = async || {
        let request = server.request(Method::GET, READY);
        let (status, body) = answer(request.json(&json!({ "tables": ["t"] }))).await;
        assert_eq!(status, 200);
        body["indexesReady"].as_bool().unwrap()
    };
    assert!(!ready().await);
    let upsert = import_body("t", Some("k"), [json!({ "k": 7, "v": "new" })]);
    assert_eq!(
        code_of(&server, upsert.clone()).await,
        (400, "IndexBackfillingError".to_owned())
    );
    // What is appended meanwhile is found by its key later.
    server
        .import("t", None, [json!({ "k": 50_000, "v": "old" })])
        .await;
    while !ready().await {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let changed = [7, 44_999, 50_000].map(|k| json!({ "k": k, "v": "new" }));
    server.import("t", Some("k"), changed).await;
    let documents = server.documents("t").await;
    assert_eq!(documents.len(), 45_001);
    let new = documents.iter().filter(|d| d["v"] == json!("new"));
    assert_eq!(new.count(), 3);
}

#[tokio::test]
async fn streams_and_fields_in_any_script_keep_names_of_their_own() {
    let server = Server::start().await;
    let tables = json!({ "顧客": { "jsonSchema": {} }, "注文": { "jsonSchema": {} }, "!!!": { "jsonSchema": {} } });
    let record = json!({ "名前": "a", "年齢": 1, "住所": "b", "電話": "c", "性別": "d", "Straße": 2, "Привет": 3 });
    let messages = [
        json!({ "tableName": "顧客", "data": record }),
        json!({ "tableName": "注文", "data": { "名前": "alone" } }),
        json!({ "tableName": "!!!", "data": {} }),
    ];
    let body = json!({ "tables": tables, "messages": messages });
    assert_eq!(server.post(IMPORT, body).await, (200, Value::Null));
    let customers = server.documents("source_gu_ke").await;
    let mut fields = customers[0].as_object().unwrap().clone();
    fields.retain(|name, _| !name.starts_with('_'));
    assert_eq!(fields.len(), 7);
    let named = |name: &str| fields[name].clone();
    assert_eq!(
        (
            named("source_ming_qian"),
            named("source_strasse"),
            named("source_privet")
        ),
        (json!("a"), json!(2.0), json!(3.0))
    );
    // Alone or among others, a field has the same name.
    let orders = server.documents("source_zhu_wen").await;
    assert_eq!(orders[0]["source_ming_qian"], json!("alone"));
    let (_, schemas) = server.get("/api/json_schemas").await;
    assert_eq!(schemas.as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn names_that_would_be_merged_are_refused() {
    let server = Server::start().await;
    let field = import_body("t", None, [json!({ "é": 1, "è": 2 })]);
    assert_eq!(
        code_of(&server, field).await,
        (400, "InvalidFieldName".to_owned())
    );
    let both = json!({ "tables": { "a-b": { "jsonSchema": {} }, "a.b": { "jsonSchema": {} } }, "messages": [] });
    assert_eq!(
        code_of(&server, both).await,
        (400, "InvalidTableName".to_owned())
    );
    // Nor one request after the other, nor by clearing.
    server.import("a-b", None, [json!({})]).await;
    let other = import_body("a.b", None, [json!({})]);
    assert_eq!(
        code_of(&server, other).await,
        (400, "InvalidTableName".to_owned())
    );
    let path = "/api/streaming_import/clear_tables";
    let (status, _) = server.put(path, json!({ "tableNames": ["a.b"] })).await;
    assert_eq!(status, 400);
    assert_eq!(server.documents("source_a_b").await.len(), 1);
    let (status, _) = server.put(path, json!({ "tableNames": ["a-b"] })).await;
    assert_eq!(
        (status, server.documents("source_a_b").await.len()),
        (200, 0)
    );
}

#[tokio::test]
async fn a_table_is_one_streams_whichever_of_two_names_came_first() {
    let server = Server::start().await;
    let refused = async |stream: &str| {
        let import = code_of(&server, import_body(stream, None, [json!({})])).await;
        assert_eq!(import, (400, "InvalidTableName".to_owned()), "{stream}");
        let body = json!({ "tableNames": [stream] });
        let (status, _) = server.put("/api/streaming_import/clear_tables", body).await;
        assert_eq!(status, 400, "{stream}");
        let body = json!({ "indexes": { stream: [["k"]] } });
        let (status, _) = server
            .put("/api/streaming_import/add_primary_key_indexes", body)
            .await;
        assert_eq!(status, 400, "{stream}");
    };
    server.import("source_a_b", None, [json!({})]).await;
    refused("a-b").await;
    server.import("c-d", None, [json!({})]).await;
    refused("source_c_d").await;
    // Nor does Fivetran get it.
    let body = json!({ "tableDefinition": { "tableName": "source_c_d", "indexes": [] } });
    let path = "/api/streaming_import/fivetran_create_table";
    assert_eq!(server.post(path, body).await.0, 400);
    // A table that was put there by hand is there by its own name.
    server
        .import_lines("", "source_e_f", "append", [json!({})])
        .await;
    refused("e-f").await;
    for (stream, table) in [
        ("source_a_b", "source_a_b"),
        ("c-d", "source_c_d"),
        ("source_e_f", "source_e_f"),
    ] {
        server.import(stream, None, [json!({})]).await;
        assert_eq!(server.documents(table).await.len(), 2, "{table}");
    }
}

#[tokio::test]
async fn fields_of_different_records_are_never_merged() {
    let server = Server::start().await;
    let refused = (400, "InvalidFieldName".to_owned());
    let code = async |records: &[Value]| {
        let body = import_body("t", None, records.to_vec());
        code_of(&server, body).await
    };
    // In one request, in one after another, and when one of them needs no repair.
    assert_eq!(code(&[json!({ "é": 1 }), json!({ "è": 2 })]).await, refused);
    assert_eq!(server.get("/api/json_schemas").await, (200, json!({})));
    server
        .import("t", None, [json!({ "é": 1, "o": [{ "ü": 1 }] })])
        .await;
    for other in [
        json!({ "è": 2 }),
        json!({ "source_e": 2 }),
        json!({ "o": [{ "û": 2 }] }),
    ] {
        assert_eq!(code(&[json!({}), other]).await, refused);
    }
    server.import("t", None, [json!({ "é": 3, "o": [] })]).await;
    assert_eq!(server.documents("t").await.len(), 2);
    // Another table has other columns, and so has one that is empty again.
    server.import("u", None, [json!({ "è": 2 })]).await;
    let body = json!({ "tableNames": ["t"] });
    server.put("/api/streaming_import/clear_tables", body).await;
    server.import("t", None, [json!({ "source_e": 2 })]).await;
    assert_eq!(code(&[json!({ "é": 1 })]).await, refused);
    // There is an end to what is kept in mind.
    let many = |from: usize| {
        let names = (from..from + 1000).map(|n| (format!("{n}é"), json!(n)));
        Value::Object(names.collect())
    };
    let records: Vec<Value> = (0..4).map(|n| many(n * 1000)).collect();
    server.import("v", None, records).await;
    let body = import_body("v", None, [many(4000)]);
    assert_eq!(code_of(&server, body).await, refused);
    assert_eq!(server.documents("v").await.len(), 4);
}

#[tokio::test]
async fn a_bad_record_after_many_good_ones_leaves_nothing_behind() {
    let server = Server::start().await;
    let good = || (0..16_001).map(|n| json!({ "n": n }));
    let bad = import_body("t", None, good().chain([json!({ "a": vec![0; 8193] })]));
    assert_eq!(
        code_of(&server, bad).await,
        (400, "ArrayTooLong".to_owned())
    );
    // As little when it is the last table that lacks its index.
    let mut body = import_body("t", None, good());
    body["tables"]["z"] = json!({ "primaryKey": [["k"]], "jsonSchema": {} });
    let last = json!({ "tableName": "z", "data": { "k": 1 } });
    body["messages"].as_array_mut().unwrap().push(last);
    assert_eq!(
        code_of(&server, body).await,
        (400, "IndexNotFoundError".to_owned())
    );
    assert_eq!(server.get("/api/json_schemas").await, (200, json!({})));
}

#[tokio::test]
async fn stalled_uploads_hold_up_no_other_and_end() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = Server::with(|config| {
        config.body_patience = std::time::Duration::from_secs(2);
        config
            .limited_keys
            .push("viewer=deployment:data:view".parse().unwrap());
    })
    .await;
    let address = server.url.strip_prefix("http://").unwrap().to_owned();
    let stall = async |key: &str, path: &str| {
        let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Convex {key}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"
        );
        client.write_all(head.as_bytes()).await.unwrap();
        client
    };
    let answer_to = async |mut client: tokio::net::TcpStream| {
        let mut text = String::new();
        client.read_to_string(&mut text).await.unwrap();
        text
    };
    // Who may not import is told so before the body.
    let refused = answer_to(stall("viewer", IMPORT).await).await;
    assert!(refused.contains("OperationNotPermitted"), "{refused}");
    let table = "/api/import?format=jsonLines&tableName=u&mode=append";
    let mut stalled = Vec::new();
    for _ in 0..8 {
        stalled.push(stall(super::server::KEY, IMPORT).await);
        stalled.push(stall(super::server::KEY, table).await);
    }
    server.import("t", None, [json!({})]).await;
    let (status, _) = server.import_lines("", "u", "append", [json!({})]).await;
    assert_eq!(status, 200);
    for client in stalled {
        let ended = answer_to(client).await;
        assert!(
            ended.starts_with("HTTP/1.1 408") && ended.contains("RequestTimeout"),
            "{ended}"
        );
    }
}

//! Components of the embedded store: how documents get into them, and how they are exported.

use std::collections::BTreeSet;

use reqwest::Method;
use serde_json::{Value, json};
use sluice_convex::embedded::{DocumentId, FIRST_TABLE_NUMBER};

use super::server::{IMPORT, Server, answer, values};

/// A store with a table of the same name in the root, a component, and one that is nested in it;
/// and one more in the root.
async fn populated() -> Server {
    let server = Server::start().await;
    server.import("t", None, [json!({ "in": "root" })]).await;
    server.import("u", None, [json!({ "in": "root" })]).await;
    for component in ["chat", "chat/rooms"] {
        let documents = [json!({ "in": component, "n": 1 })];
        let outcome = server
            .import_lines(component, "t", "requireEmpty", documents)
            .await;
        assert_eq!(outcome, (200, json!({ "numWritten": 1 })));
    }
    server
}

/// Component and table of every row of a snapshot.
async fn exported(server: &Server, body: Value) -> BTreeSet<(String, String)> {
    let mut body = body;
    let mut found = BTreeSet::new();
    loop {
        let (status, page) = server.post("/api/list_snapshot", body.clone()).await;
        assert_eq!(status, 200, "{page}");
        found.extend(values(std::slice::from_ref(&page)).iter().map(|row| {
            let text = |name: &str| row[name].as_str().unwrap().to_owned();
            (text("_component"), text("_table"))
        }));
        if page["hasMore"] == json!(false) {
            return found;
        }
        body["cursor"] = page["cursor"].clone();
        body["snapshot"] = page["snapshot"].clone();
    }
}

#[tokio::test]
async fn a_selection_chooses_among_components() {
    let server = populated().await;
    let (root, chat, rooms) = ("", "chat", "chat/rooms");
    let everything = vec![(root, "t"), (root, "u"), (chat, "t"), (rooms, "t")];
    let cases = [
        (json!({}), everything.clone()),
        (json!({ "tableName": "t" }), vec![(root, "t")]),
        (
            json!({ "tableName": "t", "component": "chat" }),
            vec![(chat, "t")],
        ),
        (
            json!({ "table_name": "t", "component": "chat/rooms" }),
            vec![(rooms, "t")],
        ),
        (json!({ "component": "chat/rooms" }), vec![(rooms, "t")]),
        (json!({ "component": "" }), vec![(root, "t"), (root, "u")]),
        (json!({ "component": "nothing" }), vec![]),
        (
            json!({ "tableName": null, "component": null, "selection": null }),
            everything.clone(),
        ),
        // What is not well-formed falls through to the next form, down to everything.
        (
            json!({ "tableName": 5, "component": "chat" }),
            vec![(chat, "t")],
        ),
        (
            json!({ "tableName": "t", "component": 5 }),
            everything.clone(),
        ),
        (
            json!({ "selection": { "chat": "excluded" }, "tableName": "u" }),
            vec![(root, "u")],
        ),
        (
            json!({ "selection": { "_other": "included", "chat": "excl" } }),
            vec![(root, "t"), (root, "u"), (rooms, "t")],
        ),
        (
            json!({ "selection": { "_other": "excluded", "chat/rooms": { "_other": "incl" } } }),
            vec![(rooms, "t")],
        ),
        (
            json!({ "selection": { "_other": "included", "": { "_other": "excluded", "u": { "_other": "included" } } } }),
            vec![(root, "u"), (chat, "t"), (rooms, "t")],
        ),
    ];
    for (body, expected) in cases {
        let expected = expected
            .into_iter()
            .map(|(component, table)| (component.to_owned(), table.to_owned()));
        assert_eq!(
            exported(&server, body.clone()).await,
            expected.collect(),
            "{body}"
        );
    }
    // In a query string there is no selection.
    let path = "/api/list_snapshot?selection=%7B%22_other%22%3A%22excluded%22%7D";
    let (_, page) = server.get(path).await;
    assert_eq!(page["hasMore"], json!(true));
}

#[tokio::test]
async fn deltas_carry_the_component() {
    let server = populated().await;
    let now = server.now().await;
    server
        .import_lines("chat/rooms", "t", "append", [json!({ "n": 2 })])
        .await;
    let (_, page) = server
        .post("/api/document_deltas", json!({ "cursor": now }))
        .await;
    let row = &page["values"][0];
    assert_eq!(
        (&row["_component"], &row["_table"], &row["n"]),
        (&json!("chat/rooms"), &json!("t"), &json!(2.0))
    );
    let (_, page) = server
        .post(
            "/api/document_deltas",
            json!({ "cursor": now, "component": "chat" }),
        )
        .await;
    assert_eq!(page["values"], json!([]));
}

#[tokio::test]
async fn schemas_are_told_flat_or_by_component() {
    let server = populated().await;
    let (_, by_component) = server.get("/api/json_schemas?byComponent=true").await;
    let tables = |component: &str| {
        let tables = by_component[component].as_object().unwrap().keys();
        tables.cloned().collect::<Vec<_>>()
    };
    assert_eq!(by_component.as_object().unwrap().len(), 3);
    assert_eq!(
        (tables(""), tables("chat"), tables("chat/rooms")),
        (
            vec!["t".to_owned(), "u".to_owned()],
            vec!["t".to_owned()],
            vec!["t".to_owned()],
        )
    );
    let (_, flat) = server.get("/api/json_schemas?byComponent=false").await;
    assert_eq!(flat.as_object().unwrap().len(), 2);
    // Of tables with one name, a later component's is seen.
    assert_eq!(flat["t"], by_component["chat/rooms"]["t"]);
    assert_eq!(flat["u"], by_component[""]["u"]);
    let (_, names) = server.get("/api/get_table_column_names").await;
    assert_eq!(
        names["byComponent"]["chat/rooms"],
        json!([{ "name": "t", "columns": ["_creationTime", "_id", "in", "n"] }])
    );
    assert_eq!(names["byComponent"].as_object().unwrap().len(), 3);
}

#[tokio::test]
async fn a_component_without_tables_is_told_only_where_it_has_to_be() {
    let server = Server::start().await;
    server
        .import_lines("outer/inner", "t", "append", [json!({})])
        .await;
    let (_, schemas) = server.get("/api/json_schemas?byComponent=true").await;
    assert_eq!((&schemas[""], &schemas["outer"]), (&json!({}), &json!({})));
    assert!(schemas["outer/inner"]["t"].is_object());
    let (_, names) = server.get("/api/get_table_column_names").await;
    let listed: Vec<&String> = names["byComponent"].as_object().unwrap().keys().collect();
    assert_eq!(listed, ["outer/inner"]);
}

#[tokio::test]
async fn the_streaming_import_reaches_only_the_root() {
    let server = populated().await;
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["t"] }),
        )
        .await;
    let left = exported(&server, json!({})).await;
    assert!(!left.contains(&(String::new(), "t".to_owned())));
    assert_eq!(left.len(), 3);
}

#[tokio::test]
async fn documents_are_imported_by_mode_and_format() {
    let server = Server::start().await;
    let import = async |query: &str, body: &str| {
        let path = format!("/api/import?componentPath=c&tableName=t&{query}");
        answer(server.request(Method::POST, &path).body(body.to_owned())).await
    };
    let count = async || {
        let (_, page) = server
            .get("/api/list_snapshot?component=c&tableName=t")
            .await;
        page["values"].as_array().unwrap().len()
    };
    let written = |n: u64| (200, json!({ "numWritten": n }));
    let tagged = r#"{"n":{"$integer":"IQAAAAAAAAA="},"b":{"$bytes":"AQL/"}}"#;
    assert_eq!(import("format=jsonLines", tagged).await, written(1));
    let (_, page) = server
        .get("/api/list_snapshot?component=c&tableName=t&format=convex_encoded_json")
        .await;
    assert_eq!(
        (&page["values"][0]["n"], &page["values"][0]["b"]),
        (
            &json!({ "$integer": "IQAAAAAAAAA=" }),
            &json!({ "$bytes": "AQL/" })
        )
    );
    let (status, body) = import("format=jsonLines", "{}").await;
    assert_eq!((status, &body["code"]), (400, &json!("TableExists")));
    assert_eq!(
        import("format=jsonLines&mode=append", "{}\n\n{}\n").await,
        written(2)
    );
    assert_eq!(count().await, 3);
    assert_eq!(
        import("format=jsonArray&mode=replace", "[{},{}]").await,
        written(2)
    );
    assert_eq!(count().await, 2);
    assert_eq!(
        import("format=jsonLines&mode=replace", "").await,
        written(0)
    );
    assert_eq!(count().await, 0);
    for (query, body, code) in [
        ("format=xml", "{}", "BadQueryArgs"),
        ("format=csv", "a,b", "ImportFormatNotSupported"),
        ("format=jsonLines&mode=overwrite", "{}", "BadQueryArgs"),
        ("format=jsonLines&tableName=a-b", "{}", "ImportInvalidName"),
        (
            "format=jsonLines&componentPath=a//b",
            "{}",
            "ImportInvalidName",
        ),
        ("format=jsonLines", "{", "ImportFailed"),
        ("format=jsonLines", "5", "ImportFailed"),
        ("format=jsonLines", r#"{"$a":1,"b":2}"#, "ImportFailed"),
        ("format=jsonArray", "{}", "ImportFailed"),
        ("format=jsonLines", r#"{"_id":"x"}"#, "InvalidId"),
        ("format=jsonLines", r#"{"_id":7}"#, "InvalidId"),
        (
            "format=jsonLines",
            r#"{"_creationTime":"now"}"#,
            "ImportFailed",
        ),
        (
            "format=jsonLines",
            r#"{"_creationTime":-1}"#,
            "ImportFailed",
        ),
        ("format=jsonLines", r#"{"_ts":1}"#, "InvalidDocumentError"),
    ] {
        let (status, answer) = import(query, body).await;
        assert_eq!(
            (status, &answer["code"]),
            (400, &json!(code)),
            "{query} {body}"
        );
    }
    let (status, body) = answer(server.request(Method::POST, "/api/import?format=jsonLines")).await;
    assert_eq!((status, &body["code"]), (400, &json!("InvalidName")));
    assert_eq!(count().await, 0);
}

#[tokio::test]
async fn a_long_import_arrives_whole() {
    let server = Server::start().await;
    let fill = "x".repeat(1_000);
    let documents = (0..9_000).map(|n| json!({ "n": n, "fill": fill }));
    let outcome = server.import_lines("c", "t", "append", documents).await;
    assert_eq!(outcome, (200, json!({ "numWritten": 9_000 })));
    let mut found = BTreeSet::new();
    let mut body = json!({ "component": "c", "tableName": "t" });
    loop {
        let (_, page) = server.post("/api/list_snapshot", body.clone()).await;
        found.extend(
            values(std::slice::from_ref(&page))
                .iter()
                .map(|row| row["n"].as_f64().unwrap() as u64),
        );
        if page["hasMore"] == json!(false) {
            break;
        }
        body["cursor"] = page["cursor"].clone();
        body["snapshot"] = page["snapshot"].clone();
    }
    assert_eq!(found, (0..9_000).collect());
}

#[tokio::test]
async fn a_bad_line_leaves_the_table_as_it_was_and_is_named() {
    let server = Server::start().await;
    server
        .import_lines("", "t", "append", [json!({ "old": true })])
        .await;
    let fill = "x".repeat(3_000);
    let mut lines: Vec<String> = (0..3_000)
        .map(|_| json!({ "fill": fill }).to_string())
        .collect();
    lines[2_999] = "{oh no".to_owned();
    let path = "/api/import?tableName=t&format=jsonLines&mode=replace";
    let request = server.request(Method::POST, path).body(lines.join("\n"));
    let (status, body) = answer(request).await;
    assert_eq!((status, &body["code"]), (400, &json!("ImportFailed")));
    let message = body["message"].as_str().unwrap();
    assert!(
        message.starts_with("Line 3000: ") && !message.contains("line 1"),
        "{message}"
    );
    let left = server.documents("t").await;
    assert_eq!((left.len(), &left[0]["old"]), (1, &json!(true)));
}

#[tokio::test]
async fn a_byte_order_mark_is_no_part_of_an_import() {
    let server = Server::start().await;
    for (format, body) in [
        ("jsonLines", "\u{feff}{}\n{}"),
        ("jsonArray", "\u{feff}[{},{}]"),
    ] {
        let path = format!("/api/import?tableName=t&format={format}&mode=replace");
        let request = server.request(Method::POST, &path).body(body);
        assert_eq!(answer(request).await, (200, json!({ "numWritten": 2 })));
    }
}

/// A table's documents as an export writes them, by id.
async fn backup(server: &Server, component: &str, table: &str) -> Vec<Value> {
    let path = format!(
        "/api/list_snapshot?component={component}&tableName={table}&format=convex_encoded_json"
    );
    let (status, page) = server.get(&path).await;
    assert_eq!(status, 200, "{page}");
    let mut documents = values(&[page]);
    for document in &mut documents {
        let fields = document.as_object_mut().unwrap();
        fields.retain(|name, _| !["_ts", "_table", "_component"].contains(&name.as_str()));
    }
    documents
}

#[tokio::test]
async fn an_export_is_restored_with_its_ids_and_creation_times() {
    let server = Server::start().await;
    let number = json!({ "$integer": "IQAAAAAAAAA=" });
    let documents = (0..5).map(|n| json!({ "user": "a", "id": format!("f{n}"), "n": number }));
    server.import_lines("", "files", "append", documents).await;
    let exported = backup(&server, "", "files").await;
    assert_eq!(exported.len(), 5);
    let clear = async |server: &Server, table: &str| {
        let path = "/api/streaming_import/clear_tables";
        server.put(path, json!({ "tableNames": [table] })).await;
    };

    // Where they came from, with tombstones of the same ids; and elsewhere, where an empty table
    // has their number.
    let ids: Vec<&Value> = exported.iter().map(|document| &document["_id"]).collect();
    let args = json!({ "user": "a", "docIds": ids });
    server.mutation("sluice:remove", args).await;
    let other = Server::start().await;
    other.import_lines("", "first", "append", [json!({})]).await;
    clear(&other, "first").await;
    for (server, mode) in [(&server, "append"), (&other, "requireEmpty")] {
        let outcome = server
            .import_lines("", "files", mode, exported.clone())
            .await;
        assert_eq!(outcome, (200, json!({ "numWritten": 5 })));
        assert_eq!(backup(server, "", "files").await, exported);
        let args = json!({ "user": "a", "ids": [exported[3]["id"], ids[1]] });
        let found = server.query("sluice:getMany", args).await["value"]["page"].clone();
        assert_eq!((&found[0]["_id"], &found[1]["_id"]), (ids[3], ids[1]));
    }
    // A whole array of them in the place of what is there, some without ids.
    let mut array = exported.clone();
    array[0].as_object_mut().unwrap().remove("_id");
    array[1].as_object_mut().unwrap().remove("_creationTime");
    let path = "/api/import?tableName=files&format=jsonArray&mode=replace";
    let request = other.request(Method::POST, path).json(&array);
    assert_eq!(answer(request).await, (200, json!({ "numWritten": 5 })));
    let restored = backup(&other, "", "files").await;
    let found = |id: &Value| restored.iter().find(|document| document["_id"] == *id);
    assert_eq!(found(ids[4]), Some(&exported[4]));
    assert!(found(ids[1]).is_some() && found(ids[0]).is_none());
}

#[tokio::test]
async fn ids_that_cannot_be_kept_are_refused_before_anything_is_written() {
    let server = Server::start().await;
    for table in ["t", "u"] {
        let documents = [json!({ "n": 1 }), json!({ "n": 2 })];
        server.import_lines("", table, "append", documents).await;
    }
    let (t, u) = (
        backup(&server, "", "t").await,
        backup(&server, "", "u").await,
    );
    let system = DocumentId {
        table: FIRST_TABLE_NUMBER - 1,
        internal: 1,
    };
    let fill = json!({ "fill": "x".repeat(1_000) });
    let late = |documents: &[Value]| [&vec![fill.clone(); 5_000], documents].concat();
    for (table, mode, documents, code) in [
        ("t", "append", vec![t[0].clone()], "ImportConflict"),
        ("t", "append", late(&t[1..]), "ImportConflict"),
        ("t", "append", vec![u[0].clone()], "ImportConflict"),
        ("t", "replace", vec![u[0].clone()], "TableConflict"),
        (
            "t",
            "replace",
            late(&[t[0].clone(), t[0].clone()]),
            "ImportConflict",
        ),
        (
            "t",
            "replace",
            late(&[t[0].clone(), u[0].clone()]),
            "ImportConflict",
        ),
        ("v", "append", vec![t[0].clone()], "TableConflict"),
        (
            "t",
            "append",
            vec![json!({ "_id": system.to_string() })],
            "InvalidId",
        ),
    ] {
        let (status, body) = server.import_lines("", table, mode, documents).await;
        assert_eq!(
            (status, &body["code"]),
            (400, &json!(code)),
            "{table} {mode}"
        );
        assert_eq!(backup(&server, "", "t").await, t);
        assert!(backup(&server, "", "v").await.is_empty());
    }
    // Other components have numbers of their own.
    let outcome = server.import_lines("c", "v", "append", t.clone()).await;
    assert_eq!(outcome, (200, json!({ "numWritten": 2 })));
    assert_eq!(backup(&server, "c", "v").await, t);
}

#[tokio::test]
async fn documents_of_one_internal_id_in_two_tables_are_written_together() {
    let server = Server::start().await;
    let id = |table: u32| DocumentId { table, internal: 7 }.to_string();
    let largest = json!({ "_id": id(u32::MAX), "k": "large" });
    for (table, document) in [
        ("a", json!({ "_id": id(10_001), "k": "small" })),
        ("b", largest.clone()),
    ] {
        let outcome = server.import_lines("", table, "append", [document]).await;
        assert_eq!(outcome.0, 200, "{}", outcome.1);
    }
    let indexes = json!({ "indexes": { "a": [["k"]], "b": [["k"]] } });
    server
        .put("/api/streaming_import/add_primary_key_indexes", indexes)
        .await;
    let stream = json!({ "primaryKey": [["k"]], "jsonSchema": {} });
    let body = json!({
        "tables": { "a": stream, "b": stream },
        "messages": [
            { "tableName": "a", "data": { "k": "small", "n": 1 } },
            { "tableName": "b", "data": { "k": "large", "n": 2 } },
        ],
    });
    assert_eq!(server.post(IMPORT, body).await, (200, Value::Null));
    for (table, number, n) in [("a", 10_001, 1.0), ("b", u32::MAX, 2.0)] {
        let documents = server.documents(table).await;
        assert_eq!(documents.len(), 1);
        assert_eq!(documents[0]["_id"], json!(id(number)));
        assert_eq!(documents[0]["n"], json!(n));
    }
    // The next table still gets a number.
    let outcome = server.import_lines("", "c", "append", [json!({})]).await;
    assert_eq!(outcome.0, 200, "{}", outcome.1);
}

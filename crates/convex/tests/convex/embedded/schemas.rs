//! `json_schemas` and `get_table_column_names` of the embedded store.

use serde_json::{Value, json};

use super::server::Server;

#[tokio::test]
async fn schemas_describe_what_was_observed() {
    let server = Server::start().await;
    server.import("t", None, [
        json!({ "s": "x", "n": 1, "maybe": true, "u": 1, "list": [1, "a"], "o": { "p": null, "q": 1 }, "none": [] }),
        json!({ "s": "y", "n": -0.0, "u": "text", "list": [], "o": { "q": 2 }, "none": [] }),
    ]).await;
    let (status, schemas) = server.get("/api/json_schemas").await;
    assert_eq!(status, 200);
    let schema = &schemas["t"];
    assert_eq!(
        schema["$schema"],
        json!("http://json-schema.org/draft-07/schema#")
    );
    assert_eq!(schema["additionalProperties"], json!(false));
    assert_eq!(
        schema["required"],
        json!(["_creationTime", "_id", "list", "n", "none", "o", "s", "u"])
    );
    let properties = &schema["properties"];
    assert_eq!(
        properties["_id"],
        json!({ "$description": "Id(t)", "type": "string" })
    );
    assert_eq!(properties["s"], json!({ "type": "string" }));
    assert_eq!(properties["maybe"], json!({ "type": "boolean" }));
    assert_eq!(
        properties["u"],
        json!({ "anyOf": [{ "type": "number" }, { "type": "string" }] })
    );
    assert_eq!(properties["list"]["items"], properties["u"]);
    assert_eq!(
        properties["none"],
        json!({ "type": "array", "items": false })
    );
    assert_eq!(
        properties["o"],
        json!({
            "type": "object", "additionalProperties": false, "required": ["q"],
            "properties": { "p": { "type": "null" }, "q": { "type": "number" } },
        })
    );
    assert!(properties["n"]["anyOf"].is_array());
    let (_, encoded) = server
        .get("/api/json_schemas?format=convex_encoded_json")
        .await;
    assert_eq!(
        encoded["t"]["properties"]["n"]["anyOf"][1]["properties"]["$float"],
        json!({ "type": "string" })
    );
}

#[tokio::test]
async fn delta_schemas_add_properties_but_require_nothing_more() {
    let server = Server::start().await;
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["empty"] }),
        )
        .await;
    let (_, schemas) = server
        .get("/api/json_schemas?deltaSchema=true&byComponent=true")
        .await;
    let schema = &schemas[""]["empty"];
    assert_eq!(schema["required"], json!(["_creationTime", "_id"]));
    assert_eq!(schema["properties"]["_ts"], json!({ "type": "integer" }));
    assert_eq!(
        schema["properties"]["_deleted"],
        json!({ "type": "boolean" })
    );
    assert_eq!(schema["properties"]["_table"], json!({ "type": "string" }));
    assert_eq!(
        schema["properties"]["_component"],
        json!({ "type": "string" })
    );
    assert_eq!(schema["properties"].as_object().unwrap().len(), 6);
    let (status, body) = server.get("/api/json_schemas?format=xml").await;
    assert_eq!((status, &body["code"]), (400, &json!("BadFormat")));
}

#[tokio::test]
async fn a_schema_forgets_what_is_no_longer_there() {
    let server = Server::start().await;
    server.add_key("t", "k").await;
    let records = [
        json!({ "k": 1, "odd": "x", "v": "text" }),
        json!({ "k": 2, "v": 5 }),
    ];
    server.import("t", Some("k"), records).await;
    server
        .import("t", Some("k"), [json!({ "k": 1, "v": 6 })])
        .await;
    let (_, schemas) = server.get("/api/json_schemas").await;
    let properties = schemas["t"]["properties"].as_object().unwrap();
    assert_eq!(properties["v"], json!({ "type": "number" }));
    assert!(!properties.contains_key("odd"));
    assert_eq!(
        schemas["t"]["required"],
        json!(["_creationTime", "_id", "k", "v"])
    );
}

#[tokio::test]
async fn ids_of_documents_are_recognised() {
    let server = Server::start().await;
    server.import("a", None, [json!({})]).await;
    let id = server.documents("a").await[0]["_id"].clone();
    server.import("b", None, [json!({ "link": id })]).await;
    let (_, schemas) = server.get("/api/json_schemas").await;
    assert_eq!(
        schemas["b"]["properties"]["link"],
        json!({ "$description": "Id(a)", "type": "string" })
    );
}

#[tokio::test]
async fn column_names_are_listed_by_component() {
    let server = Server::start().await;
    assert_eq!(
        server.get("/api/get_table_column_names").await,
        (200, json!({ "byComponent": {} }))
    );
    server.import("users", None, [json!({ "name": "x" })]).await;
    let expected: Value = json!({ "byComponent": { "": [{ "name": "users", "columns": ["_creationTime", "_id", "name"] }] } });
    assert_eq!(
        server.get("/api/get_table_column_names").await,
        (200, expected)
    );
}

#[tokio::test]
async fn objects_with_arbitrary_keys_have_no_schema() {
    let server = Server::start().await;
    let many = |count: usize| -> Value {
        let fields = (0..count).map(|n| (format!("f{n}"), json!(n)));
        Value::Object(fields.collect())
    };
    let document = json!({ "few": many(64), "many": many(65), "named": { "no identifier": 1 }, "wide one": 1 });
    server.import("t", None, [document]).await;
    let (_, schemas) = server.get("/api/json_schemas").await;
    let properties = &schemas["t"]["properties"];
    assert_eq!(
        properties["few"]["properties"].as_object().unwrap().len(),
        64
    );
    assert_eq!(
        (&properties["many"], &properties["named"]),
        (&json!({}), &json!({}))
    );
    assert_eq!(properties["wide one"], json!({ "type": "number" }));

    // Documents as a whole have one up to what fits into a document.
    let different = (0..3).map(|part| {
        let fields = (0..400).map(|n| (format!("f{part}_{n}"), json!(n)));
        Value::Object(fields.collect())
    });
    server.import("wide", None, different).await;
    let (status, body) = server.get("/api/json_schemas").await;
    assert_eq!((status, &body["code"]), (400, &json!("NoSchemaForExport")));
    let (_, names) = server.get("/api/get_table_column_names").await;
    let tables = names["byComponent"][""].as_array().unwrap();
    let wide = tables.iter().find(|table| table["name"] == json!("wide"));
    assert_eq!(wide.unwrap()["columns"], json!(["_creationTime", "_id"]));
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["wide"] }),
        )
        .await;
    assert_eq!(server.get("/api/json_schemas").await.0, 200);
}

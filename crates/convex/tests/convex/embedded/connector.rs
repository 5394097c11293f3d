//! Airbyte's own source connector for Convex, as its users install it, against the embedded store.
//! `make test-connector` installs the connector and runs this.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use super::server::{KEY, Server};

/// The connector's executable.
const CONNECTOR: &str = "SLUICE_AIRBYTE_SOURCE_CONVEX";

/// The connector with its files.
struct Connector {
    executable: PathBuf,
    dir: TempDir,
}

/// What a run of the connector said.
struct Run {
    succeeded: bool,
    messages: Vec<Value>,
}

impl Connector {
    fn new() -> Connector {
        let executable = std::env::var_os(CONNECTOR);
        let executable =
            executable.unwrap_or_else(|| panic!("{CONNECTOR} has to name the connector"));
        Connector {
            executable: executable.into(),
            dir: tempfile::tempdir().unwrap(),
        }
    }

    async fn run(&self, command: &str, files: &[(&str, Value)]) -> Run {
        let mut run = Command::new(&self.executable);
        run.arg(command).current_dir(self.dir.path());
        for (name, content) in files {
            let path = self.dir.path().join(format!("{name}.json"));
            std::fs::write(&path, content.to_string()).unwrap();
            run.arg(format!("--{name}")).arg(path);
        }
        let output = run.output().await.unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let messages = text.lines().map(|line| serde_json::from_str(line).unwrap());
        Run {
            succeeded: output.status.success(),
            messages: messages.collect(),
        }
    }
}

impl Run {
    fn of_type(&self, kind: &str) -> impl Iterator<Item = &Value> {
        let member = kind.to_lowercase();
        let of_type = self
            .messages
            .iter()
            .filter(move |m| m["type"] == json!(kind));
        of_type.map(move |message| &message[&member])
    }

    fn records(&self, stream: &str) -> Vec<&Map<String, Value>> {
        let records = self
            .of_type("RECORD")
            .filter(|r| r["stream"] == json!(stream));
        records.map(|r| r["data"].as_object().unwrap()).collect()
    }

    /// The states it gave out for a stream, in their order.
    fn states(&self, stream: &str) -> Vec<Value> {
        let descriptor = json!({ "name": stream });
        let states = self.of_type("STATE");
        let states = states.filter(|state| {
            let named = &state["stream"]["stream_descriptor"];
            named["name"] == descriptor["name"]
        });
        states.cloned().collect()
    }
}

fn config(server: &Server, key: &str) -> (&'static str, Value) {
    (
        "config",
        json!({ "deployment_url": server.url, "access_key": key }),
    )
}

/// The catalog of a connection that reads these streams.
fn catalog(discovered: &Value, streams: &[&str], sync_mode: &str) -> (&'static str, Value) {
    let all = discovered["streams"].as_array().unwrap().iter();
    let chosen = all.filter(|stream| streams.contains(&stream["name"].as_str().unwrap()));
    let configured = chosen.map(|stream| {
        json!({
            "stream": stream, "sync_mode": sync_mode, "destination_sync_mode": "append_dedup",
            "cursor_field": ["_ts"], "primary_key": [["_id"]],
        })
    });
    (
        "catalog",
        json!({ "streams": configured.collect::<Vec<_>>() }),
    )
}

/// A destination that keeps the latest record of each id.
#[derive(Default)]
struct Copy(BTreeMap<String, String>);

impl Copy {
    fn apply(&mut self, records: &[&Map<String, Value>]) {
        for record in records {
            let id = record["_id"].as_str().unwrap().to_owned();
            assert!(record["_ab_cdc_lsn"].is_i64());
            if record["_ab_cdc_deleted_at"].is_null() {
                self.0.insert(id, own_fields(record));
            } else {
                self.0.remove(&id);
            }
        }
    }
}

fn own_fields(record: &Map<String, Value>) -> String {
    let mut fields = record.clone();
    fields.retain(|name, _| !name.starts_with('_') || name == "_creationTime");
    Value::Object(fields).to_string()
}

async fn stored(server: &Server, table: &str) -> BTreeMap<String, String> {
    let documents = server.documents(table).await;
    let documents = documents.iter().map(|document| {
        let id = document["_id"].as_str().unwrap().to_owned();
        (id, own_fields(document.as_object().unwrap()))
    });
    documents.collect()
}

async fn populated() -> Server {
    let server = Server::start().await;
    server.add_key("users", "k").await;
    let users = (0..2_500).map(|k| {
        json!({ "k": k, "name": "ünï ☃", "tags": [1, null, true], "nested": { "a": { "b": -0.5 } } })
    });
    server.import("users", Some("k"), users).await;
    server
        .import("events", None, (0..10).map(|n| json!({ "n": n })))
        .await;
    server
        .put(
            "/api/streaming_import/clear_tables",
            json!({ "tableNames": ["empty"] }),
        )
        .await;
    server
        .import_lines("chat", "rooms", "append", [json!({ "in": "chat" })])
        .await;
    server
}

#[tokio::test]
#[ignore = "needs the connector: make test-connector"]
async fn airbytes_connector_checks_discovers_and_reads() {
    let (server, connector) = (populated().await, Connector::new());
    let config = || config(&server, KEY);

    let check = connector.run("check", &[config()]).await;
    let mut messages = check.messages.iter();
    let status = messages.find(|message| message["type"] == json!("CONNECTION_STATUS"));
    assert_eq!(
        status.unwrap()["connectionStatus"]["status"],
        json!("SUCCEEDED")
    );

    let discover = connector.run("discover", &[config()]).await;
    let discovered = discover.of_type("CATALOG").next().unwrap();
    let streams = discovered["streams"].as_array().unwrap();
    let names: Vec<&str> = streams
        .iter()
        .map(|s| s["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["empty", "events", "rooms", "users"]);
    for stream in streams {
        assert_eq!(stream["source_defined_primary_key"], json!([["_id"]]));
        assert_eq!(stream["default_cursor_field"], json!(["_ts"]));
        assert_eq!(
            stream["json_schema"]["properties"]["_ts"],
            json!({ "type": "integer" })
        );
    }

    let all = catalog(discovered, &names, "full_refresh");
    let full = connector.run("read", &[config(), all]).await;
    assert!(full.succeeded);
    for table in ["users", "events", "empty"] {
        let mut copy = Copy::default();
        copy.apply(&full.records(table));
        assert_eq!(full.records(table).len(), copy.0.len());
        assert_eq!(copy.0, stored(&server, table).await, "{table}");
    }
    // A table of a component is discovered, but asked for in the root.
    assert_eq!(full.records("rooms").len(), 0);
}

#[tokio::test]
#[ignore = "needs the connector: make test-connector"]
async fn airbytes_connector_reads_on_from_its_state() {
    let (server, connector) = (populated().await, Connector::new());
    let config = || config(&server, KEY);
    let discover = connector.run("discover", &[config()]).await;
    let discovered = discover.of_type("CATALOG").next().unwrap().clone();
    let read = async |state: Option<&Value>| {
        let mut files = vec![config(), catalog(&discovered, &["users"], "incremental")];
        if let Some(state) = state {
            files.push(("state", json!([state])));
        }
        let run = connector.run("read", &files).await;
        assert!(run.succeeded, "{:?}", run.messages.last());
        run
    };
    let first = read(None).await;
    let states = first.states("users");
    let mut copy = Copy::default();
    copy.apply(&first.records("users"));
    assert_eq!(copy.0, stored(&server, "users").await);

    // Changes of every kind, over more than one page of the log.
    for round in 0..3 {
        let changed = (0..200).map(|k| json!({ "k": k * 3, "round": round }));
        server.import("users", Some("k"), changed).await;
    }
    let deleted = (0..50).map(|k| json!({ "k": k, "_ab_cdc_deleted_at": "now" }));
    server.import("users", Some("k"), deleted).await;
    let added = (5_000..5_020).map(|k| json!({ "k": k }));
    server.import("users", Some("k"), added).await;
    let second = read(states.last()).await;
    let records = second.records("users");
    assert_eq!(records.len(), 3 * 200 + 50 + 20);
    copy.apply(&records);
    assert_eq!(copy.0, stored(&server, "users").await);
    let idle = read(second.states("users").last()).await;
    assert_eq!(idle.records("users").len(), 0);

    // From a checkpoint in the middle of the first snapshot: its rest, and all that came later.
    let middle = states
        .iter()
        .find(|state| {
            let state = &state["stream"]["stream_state"];
            state["snapshot_cursor"].is_string() && state["snapshot_has_more"] == json!(true)
        })
        .unwrap();
    let resumed = read(Some(middle)).await;
    let mut copy = Copy::default();
    copy.apply(&first.records("users"));
    copy.apply(&resumed.records("users"));
    assert_eq!(copy.0, stored(&server, "users").await);
    assert!(resumed.records("users").len() < first.records("users").len() + records.len());
}

#[tokio::test]
#[ignore = "needs the connector: make test-connector"]
async fn airbytes_connector_tells_its_users_what_the_store_refused() {
    let (server, connector) = (populated().await, Connector::new());
    let check = connector.run("check", &[config(&server, "wrong")]).await;
    let said = check
        .messages
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    assert!(
        said.contains("FAILED") && said.contains("401: BadAdminKey"),
        "{said}"
    );

    let discover = connector.run("discover", &[config(&server, KEY)]).await;
    let discovered = discover.of_type("CATALOG").next().unwrap();
    let now = server.now().await.as_i64().unwrap();
    let state = json!({ "type": "STREAM", "stream": {
        "stream_descriptor": { "name": "users" },
        "stream_state": {
            "snapshot_cursor": null, "snapshot_has_more": false,
            "delta_cursor": now - 15 * 24 * 60 * 60 * 1_000_000_000i64,
        },
    } });
    let files = [
        config(&server, KEY),
        catalog(discovered, &["users"], "incremental"),
        ("state", json!([state])),
    ];
    let read = connector.run("read", &files).await;
    let said = read
        .messages
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    assert!(
        !read.succeeded && said.contains("InvalidWindowToReadDocuments"),
        "{said}"
    );
}

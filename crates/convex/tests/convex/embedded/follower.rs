//! A client that copies tables by following the protocol, and by nothing else: list_snapshot to its
//! end, then document_deltas.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::server::Server;

/// What a follower asks for, and which documents that stands for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum View {
    Everything,
    Table(&'static str),
    /// All but one table.
    Without(&'static str),
    /// One table without one of its columns.
    Narrowed(&'static str, &'static str),
}

impl View {
    /// The same in the form that a data sync takes.
    fn selection(self) -> Value {
        match self {
            View::Everything => json!({ "_other": "included" }),
            View::Table(table) => json!({ "_other": "excluded",
                "": { "_other": "excluded", table: { "_other": "included" } } }),
            View::Without(_) | View::Narrowed(..) => self.parameters()["selection"].clone(),
        }
    }

    fn parameters(self) -> Map<String, Value> {
        let parameters = match self {
            View::Everything => json!({}),
            View::Table(table) => json!({ "tableName": table }),
            View::Without(table) => json!({ "selection":
                { "_other": "included", "": { "_other": "included", table: "excluded" } } }),
            View::Narrowed(table, column) => json!({ "selection":
                { "_other": "excluded", "": { "_other": "excluded", table: { "_other": "included", column: "excluded" } } } }),
        };
        parameters.as_object().unwrap().clone()
    }

    /// Whether the table is shown.
    pub fn shows(self, table: &str) -> bool {
        match self {
            View::Everything => true,
            View::Table(only) | View::Narrowed(only, _) => table == only,
            View::Without(other) => table != other,
        }
    }

    /// What is shown of a document that is.
    pub fn narrow(self, fields: &mut Map<String, Value>) {
        if let View::Narrowed(_, column) = self {
            fields.remove(column);
        }
    }
}

/// Table and id of a document.
pub type Key = (String, String);
/// Documents with their fields as text, so that -0.0 is not 0.0.
pub type Copy = BTreeMap<Key, String>;

enum Phase {
    Snapshot { cursor: Value, snapshot: Value },
    Deltas { cursor: Value },
}

pub struct Follower {
    pub view: View,
    pub copy: Copy,
    phase: Phase,
    /// Every revision comes later than the one before it.
    last: i64,
}

impl Follower {
    pub fn new(view: View) -> Follower {
        Follower {
            view,
            copy: Copy::new(),
            phase: Phase::Snapshot {
                cursor: Value::Null,
                snapshot: Value::Null,
            },
            last: 0,
        }
    }

    /// One request. Returns whether there is more to fetch.
    pub async fn step(&mut self, server: &Server) -> bool {
        let mut body = self.view.parameters();
        match &self.phase {
            Phase::Snapshot { cursor, snapshot } => {
                body.insert("cursor".into(), cursor.clone());
                body.insert("snapshot".into(), snapshot.clone());
                let page = post(server, "/api/list_snapshot", body).await;
                self.take_snapshot(&page);
                true
            }
            Phase::Deltas { cursor } => {
                body.insert("cursor".into(), cursor.clone());
                let page = post(server, "/api/document_deltas", body).await;
                self.take_deltas(&page)
            }
        }
    }

    pub async fn catch_up(&mut self, server: &Server) {
        while self.step(server).await {}
    }

    fn take_snapshot(&mut self, page: &Value) {
        let snapshot = page["snapshot"].as_i64().unwrap();
        if let Phase::Snapshot { snapshot, .. } = &self.phase
            && !snapshot.is_null()
        {
            assert_eq!(*snapshot, page["snapshot"]);
        }
        for row in rows(page) {
            assert!(!row.contains_key("_deleted"));
            assert!(row["_ts"].as_i64().unwrap() <= snapshot);
            let earlier = self.put(row);
            assert_eq!(earlier, None, "a walk meets each document once");
        }
        let more = page["hasMore"].as_bool().unwrap();
        assert_eq!(page["cursor"].is_string(), more);
        self.last = snapshot;
        self.phase = if more {
            Phase::Snapshot {
                cursor: page["cursor"].clone(),
                snapshot: page["snapshot"].clone(),
            }
        } else {
            Phase::Deltas {
                cursor: page["snapshot"].clone(),
            }
        };
    }

    fn take_deltas(&mut self, page: &Value) -> bool {
        let before = self.last;
        for row in rows(page) {
            let ts = row["_ts"].as_i64().unwrap();
            // Later than the page before, too: no page goes on with a transaction that another
            // began.
            assert!(ts > before && ts >= self.last);
            self.last = ts;
            if row["_deleted"] == json!(true) {
                assert_eq!(row.len(), 5, "{row:?}");
                self.copy.remove(&key(&row));
            } else {
                self.put(row);
            }
        }
        let cursor = page["cursor"].as_i64().unwrap();
        assert!(cursor >= self.last);
        self.last = cursor;
        self.phase = Phase::Deltas {
            cursor: page["cursor"].clone(),
        };
        page["hasMore"].as_bool().unwrap()
    }

    fn put(&mut self, mut row: Map<String, Value>) -> Option<String> {
        assert!(self.view.shows(row["_table"].as_str().unwrap()));
        let key = key(&row);
        row.retain(|name, _| !["_component", "_table", "_ts", "_deleted"].contains(&name.as_str()));
        self.copy.insert(key, Value::Object(row).to_string())
    }
}

/// A client of the data sync.
pub struct SyncFollower {
    pub view: View,
    pub copy: Copy,
    cursor: Value,
}

impl SyncFollower {
    pub fn new(view: View) -> SyncFollower {
        SyncFollower {
            view,
            copy: Copy::new(),
            cursor: Value::Null,
        }
    }

    /// One request. Returns whether there is more to fetch.
    pub async fn step(&mut self, server: &Server) -> bool {
        let page = server.sync(&self.cursor, &self.view.selection()).await;
        for truncated in page["truncates"].as_array().unwrap() {
            let table = path(
                truncated["component"].as_str().unwrap(),
                truncated["table"].as_str().unwrap(),
            );
            assert!(self.view.shows(&table));
            self.copy.retain(|(name, _), _| *name != table);
        }
        for value in page["values"].as_array().unwrap() {
            let table = path(
                value["component"].as_str().unwrap(),
                value["table"].as_str().unwrap(),
            );
            assert!(self.view.shows(&table) && value["ts"].is_i64());
            let key = (table, value["value"]["_id"].as_str().unwrap().to_owned());
            if value["deleted"] == json!(true) {
                assert_eq!(value["value"].as_object().unwrap().len(), 1);
                self.copy.remove(&key);
            } else {
                self.copy.insert(key, value["value"].to_string());
            }
        }
        assert_eq!(page["pagination"]["hasMore"], json!(true));
        self.cursor = page["pagination"]["nextCursor"].clone();
        assert!(self.cursor.is_string());
        page["status"]["type"] != json!("upToDate")
    }

    pub async fn catch_up(&mut self, server: &Server) {
        while self.step(server).await {}
    }
}

fn key(row: &Map<String, Value>) -> Key {
    let text = |name: &str| row[name].as_str().unwrap().to_owned();
    (path(&text("_component"), &text("_table")), text("_id"))
}

/// A table's name, after its component's unless that is the root.
fn path(component: &str, table: &str) -> String {
    match component {
        "" => table.to_owned(),
        component => format!("{component}/{table}"),
    }
}

fn rows(page: &Value) -> impl Iterator<Item = Map<String, Value>> {
    let rows = page["values"].as_array().unwrap().iter();
    rows.map(|row| row.as_object().unwrap().clone())
}

async fn post(server: &Server, path: &str, body: Map<String, Value>) -> Value {
    let (status, page) = server.post(path, body.into()).await;
    assert_eq!(status, 200, "{page}");
    page
}

/// What the store shows of a view now.
pub async fn snapshot(server: &Server, view: View) -> Copy {
    let mut follower = Follower::new(view);
    while matches!(follower.phase, Phase::Snapshot { .. }) {
        follower.step(server).await;
    }
    follower.copy
}

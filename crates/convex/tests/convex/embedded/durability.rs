//! What the embedded store keeps across restarts and under concurrent writers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig, EmbeddedError};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use super::server::{IMPORT, Server, answer, values};

/// Runs one life of the store in `dir`: everything of it is gone when this returns.
fn life<T>(dir: &std::path::Path, run: impl AsyncFnOnce(Server) -> T) -> T {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { run(Server::open(dir).await).await })
}

#[test]
fn what_was_answered_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (documents, cursor, schemas) = life(dir.path(), async |server| {
        server.add_key("t", "k").await;
        server
            .import("t", Some("k"), (0..10).map(|n| json!({ "k": n })))
            .await;
        server
            .import("files", None, [json!({ "user": "a", "id": "f" })])
            .await;
        (
            server.documents("t").await,
            server.now().await,
            server.get("/api/json_schemas").await,
        )
    });
    life(dir.path(), async |server| {
        assert_eq!(server.documents("t").await, documents);
        assert_eq!(server.get("/api/json_schemas").await, schemas);
        // Time only goes on.
        assert!(server.now().await.as_i64() >= cursor.as_i64());
        server
            .import("t", Some("k"), [json!({ "k": 3, "v": 1 })])
            .await;
        let rows = values(&server.deltas("t", &cursor).await);
        assert_eq!(rows.len(), 1);
        assert!(rows[0]["_ts"].as_i64() > cursor.as_i64());
        assert_eq!(server.documents("t").await.len(), 10);
        let file = server
            .query("sluice:getMany", json!({ "user": "a", "ids": ["f"] }))
            .await;
        assert_eq!(file["value"]["page"].as_array().unwrap().len(), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_writes_are_transactions_of_their_own() {
    let server = Server::start().await;
    let start = server.now().await;
    let writes = (0..40).map(|writer| {
        let server = &server;
        async move {
            server
                .import(
                    "t",
                    None,
                    (0..5).map(|n| json!({ "writer": writer, "n": n })),
                )
                .await
        }
    });
    join_all(writes).await;
    let rows = values(&server.deltas("t", &start).await);
    assert_eq!(rows.len(), 200);
    for transaction in rows.chunk_by(|a, b| a["_ts"] == b["_ts"]) {
        let writers: BTreeSet<String> = transaction
            .iter()
            .map(|d| d["writer"].to_string())
            .collect();
        assert_eq!((transaction.len(), writers.len()), (5, 1));
    }
    let created: BTreeSet<String> = rows
        .iter()
        .map(|d| d["_creationTime"].to_string())
        .collect();
    assert_eq!(created.len(), 200);
}

#[test]
fn a_folder_is_opened_once_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let config = EmbeddedConfig::new(dir.path(), "key");
    let first = Embedded::open(config.clone()).unwrap();
    let second = Embedded::open(config.clone());
    assert!(matches!(second, Err(EmbeddedError::InUse(_))));
    drop(first);
    // A process that another test starts has the lock, too, from its fork to its exec.
    let begun = Instant::now();
    loop {
        match Embedded::open(config.clone()) {
            Err(EmbeddedError::InUse(_)) if begun.elapsed() < Duration::from_secs(5) => {
                std::thread::sleep(Duration::from_millis(5));
            }
            opened => break drop(opened.unwrap()),
        }
    }
}

/// The process that the tests below kill: serves the store in the folder that
/// `EMBEDDED_STORE_FOLDER` names, and prints its URL.
#[tokio::test]
#[ignore = "a part of the tests below, run by them"]
async fn a_store_to_be_killed() {
    let Some(folder) = std::env::var_os("EMBEDDED_STORE_FOLDER") else {
        return;
    };
    let server = Server::open(folder.as_ref()).await;
    println!("serving {}", server.url);
    // Should the test die first, this ends too.
    tokio::time::sleep(Duration::from_secs(60)).await;
}

/// Starts a store in a process of its own, and waits until it serves.
async fn start_to_kill(dir: &Path) -> (Child, Server) {
    start_by(Command::new(std::env::current_exe().unwrap()), dir).await
}

async fn start_by(mut command: Command, dir: &Path) -> (Child, Server) {
    let mut child = command
        .args([
            "--exact",
            "embedded::durability::a_store_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .env("EMBEDDED_STORE_FOLDER", dir)
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    loop {
        let line = lines.next_line().await.unwrap().expect("the store starts");
        if let Some((_, url)) = line.split_once("serving ") {
            return (child, Server::at(url));
        }
    }
}

/// Writers that import at the same time, the records of a transaction, and the requests after which
/// the process is killed.
const WRITERS: usize = 4;
const RECORDS: usize = 20;
const REQUESTS: usize = 60;

/// One request: records with a key for one table, and as many for another.
fn request(writer: usize, n: usize) -> Value {
    let records = (0..RECORDS).flat_map(|part| {
        let data =
            json!({ "k": format!("{writer}/{n}/{part}"), "request": format!("{writer}/{n}") });
        ["keyed", "plain"].map(|table| json!({ "tableName": table, "data": data }))
    });
    json!({
        "tables": {
            "keyed": { "primaryKey": [["k"]], "jsonSchema": {} },
            "plain": { "jsonSchema": {} },
        },
        "messages": records.collect::<Vec<_>>(),
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_process_leaves_every_answered_transaction_and_no_half_of_one() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, server) = start_to_kill(dir.path()).await;
    server.add_key("keyed", "k").await;
    let answered = Mutex::new(BTreeSet::new());
    let writers = (0..WRITERS).map(|writer| {
        let (server, answered) = (&server, &answered);
        async move {
            for n in 0.. {
                let body = request(writer, n);
                let sent = server.request(Method::POST, IMPORT).json(&body).send();
                match sent.await {
                    Ok(response) if response.status() == 200 => {
                        answered.lock().unwrap().insert(format!("{writer}/{n}"));
                    }
                    _ => return,
                }
            }
        }
    });
    let kill = async {
        while answered.lock().unwrap().len() < REQUESTS {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // SIGKILL.
        child.kill().await.unwrap();
    };
    tokio::join!(join_all(writers), kill);

    let server = Server::open(dir.path()).await;
    let mut found: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for (place, table) in ["keyed", "plain"].into_iter().enumerate() {
        for document in server.documents(table).await {
            let request = document["request"].as_str().unwrap().to_owned();
            found.entry(request).or_default()[place] += 1;
        }
    }
    let answered = answered.into_inner().unwrap();
    assert!(answered.len() >= REQUESTS);
    for request in &answered {
        assert_eq!(found.get(request), Some(&[RECORDS, RECORDS]), "{request}");
    }
    // Those that were on their way may have made it, but not in part.
    assert!(found.len() <= answered.len() + WRITERS);
    assert!(found.values().all(|counts| *counts == [RECORDS, RECORDS]));
    // The index lost nothing either: the same records again meet those there are.
    let before = server.documents("keyed").await.len();
    for request in found.keys() {
        let records = (0..RECORDS).map(|part| json!({ "k": format!("{request}/{part}") }));
        server.import("keyed", Some("k"), records).await;
    }
    assert_eq!(server.documents("keyed").await.len(), before);
}

#[tokio::test]
async fn an_index_that_was_being_built_when_the_process_was_killed_is_finished_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, server) = start_to_kill(dir.path()).await;
    for _ in 0..2 {
        let records = (0..15_000).map(|n| json!({ "k": n }));
        server.import("t", None, records).await;
    }
    server.add_key("t", "v").await;
    child.kill().await.unwrap();
    let server = Server::open(dir.path()).await;
    let ready = async || {
        let path = "/api/streaming_import/primary_key_indexes_ready";
        let request = server.request(Method::GET, path);
        let (_, body) = answer(request.json(&json!({ "tables": ["t"] }))).await;
        body["indexesReady"] == json!(true)
    };
    while !ready().await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    server.import("t", Some("v"), [json!({ "v": 1 })]).await;
    assert_eq!(server.documents("t").await.len(), 30_001);
}

/// A file system of some MiB in memory. It goes with its process, and only those that enter that
/// see it.
struct SmallDisk {
    holder: Child,
    /// Where it is mounted there.
    at: PathBuf,
    /// The way to it from here. SQLite does not take such a path for what it is.
    folder: PathBuf,
}

impl SmallDisk {
    /// `None` where this user may not mount anything; what can be seen without is tested beside the
    /// code.
    async fn mount(at: &Path) -> Option<SmallDisk> {
        let mut holder = Command::new("unshare")
            .args(["--map-root-user", "--mount", "sh", "-c"])
            .arg("mount -t tmpfs -o size=8m tmpfs \"$0\" && echo mounted && exec sleep 120")
            .arg(at)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .ok()?;
        let mut lines = BufReader::new(holder.stdout.take()?).lines();
        lines.next_line().await.ok()??;
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()?));
        let folder = root.join(at.strip_prefix("/").ok()?);
        std::fs::read_dir(&folder).ok()?;
        Some(SmallDisk {
            holder,
            at: at.to_owned(),
            folder,
        })
    }

    /// Starts the store on it.
    async fn start(&self) -> (Child, Server) {
        let mut command = Command::new("nsenter");
        command
            .args(["--preserve-credentials", "--user", "--mount", "--target"])
            .arg(self.holder.id().unwrap().to_string())
            .arg(std::env::current_exe().unwrap());
        start_by(command, &self.at).await
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }

    /// Takes all the room that is left.
    fn fill(&self) {
        let mut file = File::create(self.ballast()).unwrap();
        let error = loop {
            if let Err(error) = file.write_all(&[0; 4096]) {
                break error;
            }
        };
        assert_eq!(error.kind(), ErrorKind::StorageFull);
    }
}

/// Lets a minute pass for a store that does not run.
fn age(folder: &Path) {
    let db = rusqlite::Connection::open(folder.join("convex.sqlite")).unwrap();
    db.execute_batch(
        "UPDATE revisions SET ts = ts - 60000000000; UPDATE clock SET ts = ts - 60000000000;
         UPDATE commits SET ts = ts - 60000000000;
         UPDATE tablets SET tablet =
             json_set(tablet, '$.created', json_extract(tablet, '$.created') - 60000000000);",
    )
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_without_any_room_stops_no_reader_and_no_start() {
    let dir = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(dir.path()).await else {
        eprintln!("nothing can be mounted here");
        return;
    };
    let file = |id: &str| json!({ "user": "a", "id": id });
    let write = async |server: &Server| {
        let documents = [json!({ "fill": "x".repeat(10_000) })];
        server.import_lines("", "t", "append", documents).await
    };
    let earlier = tempfile::tempdir().unwrap();
    let (mut child, server) = start_to_kill(earlier.path()).await;
    server.import("files", None, [file("f")]).await;
    assert_eq!(write(&server).await.0, 200);
    let cursor = server.now().await;
    child.kill().await.unwrap();
    age(earlier.path());
    let before = json!(cursor.as_i64().unwrap() - 120_000_000_000);
    let database = "convex.sqlite";
    std::fs::copy(earlier.path().join(database), disk.folder.join(database)).unwrap();
    let (mut child, mut server) = disk.start().await;
    disk.fill();
    for _life in 0..2 {
        // Small writes may still find room in the log.
        let refused = loop {
            let outcome = write(&server).await;
            if outcome.0 != 200 {
                break outcome;
            }
        };
        assert_eq!((refused.0, &refused.1["code"]), (503, &json!("DiskFull")));
        assert_eq!(server.documents("files").await.len(), 1);
        let args = json!({ "user": "a", "ids": ["f"] });
        let found = server.query("sluice:getMany", args).await["value"]["page"].clone();
        assert_eq!(found[0]["id"], json!("f"));
        assert_eq!(values(&server.deltas("files", &before).await).len(), 1);
        let page = server.sync(&Value::Null, &Value::Null).await;
        assert!(
            page["values"]
                .as_array()
                .is_some_and(|rows| !rows.is_empty())
        );
        child.kill().await.unwrap();
        (child, server) = disk.start().await;
    }
    assert!(server.now().await.as_i64() < cursor.as_i64());
    std::fs::remove_file(disk.ballast()).unwrap();
    assert_eq!(write(&server).await.0, 200);
    assert!(server.now().await.as_i64() > cursor.as_i64());
}

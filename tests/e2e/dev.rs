//! `sluice dev`: everything in one process.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::harness::{Client, Process, eventually, files};

/// A running `sluice dev` on free ports with its data in `folder`.
struct Dev {
    process: Process,
    addresses: Value,
    client: Client,
}

impl Dev {
    async fn start(folder: &Path, more: &[&str]) -> Self {
        let data = folder.to_str().unwrap();
        // A process that was killed leaves its addresses behind.
        let _ = std::fs::remove_file(folder.join("addresses.json"));
        let process = Process::start(
            &[&["dev", "--port", "0", "--data", data], more].concat(),
            &[],
        );
        let mut addresses = Value::Null;
        eventually("addresses.json is written", async || {
            let text = std::fs::read_to_string(folder.join("addresses.json"));
            addresses = text
                .ok()
                .and_then(|text| serde_json::from_str(&text).ok())
                .unwrap_or_default();
            addresses.is_object()
        })
        .await;
        let text = |name: &str| addresses[name].as_str().unwrap().to_owned();
        let secret = std::fs::read_to_string(folder.join("dev-secret")).unwrap();
        let client = Client::new(
            &text("api"),
            &text("convex"),
            &text("convex_key"),
            secret.trim(),
        );
        client.wait_until_ready().await;
        Self {
            process,
            addresses,
            client,
        }
    }

    fn valkey_answers(&self) -> bool {
        redis::Client::open(self.addresses["valkey"].as_str().unwrap())
            .and_then(|client| client.get_connection_with_timeout(Duration::from_secs(1)))
            .and_then(|mut valkey| redis::cmd("PING").query::<String>(&mut valkey))
            .is_ok()
    }
}

fn sluice(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

#[tokio::test]
async fn everything_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), &[]).await;
    dev.client.import(&files("ann", 20)).await;
    dev.client.sync("ann", "allOne").await;
    let took = dev.process.end("TERM");
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!dev.valkey_answers(), "Valkey outlived its parent");

    let dev = Dev::start(folder.path(), &[]).await;
    assert_eq!(dev.client.convex_count("ann").await, 20);
    assert_eq!(dev.client.cache_state("ann", "ann-3").await, "bulk");
}

#[tokio::test]
async fn its_valkey_dies_with_it_even_when_it_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), &[]).await;
    dev.client.import(&files("ann", 20)).await;
    assert!(dev.valkey_answers());
    dev.process.kill();
    eventually("Valkey has ended", async || !dev.valkey_answers()).await;
    let dev = Dev::start(folder.path(), &[]).await;
    assert_eq!(dev.client.convex_count("ann").await, 20);
}

/// The ports of the cluster's servers, of clients and of the other nodes, as their settings say.
fn cluster_ports(folder: &Path) -> Vec<u16> {
    let of_node = |number: usize| {
        let path = folder.join(format!("valkey/{number}/valkey.conf"));
        let text = std::fs::read_to_string(path).unwrap();
        let ports = text.lines().filter_map(|line| {
            let (name, value) = line.split_once(' ')?;
            let is_port = ["port", "cluster-port"].contains(&name);
            is_port.then(|| value.parse().unwrap())
        });
        ports.collect::<Vec<u16>>()
    };
    (1..=6).flat_map(of_node).collect()
}

async fn wait_until_ended(ports: &[u16]) {
    eventually("every server has ended", async || {
        let mut ports = ports.iter();
        ports.all(|port| TcpStream::connect(("127.0.0.1", *port)).is_err())
    })
    .await;
}

#[tokio::test]
async fn a_cluster_survives_a_kill_and_a_lost_server_and_ends_with_its_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), &["--cluster"]).await;
    let users: Vec<String> = (0..6).map(|number| format!("user-{number}")).collect();
    for user in &users {
        dev.client.import(&files(user, 5)).await;
        let (status, _) = dev.client.sync(user, "allOne").await;
        assert_eq!(status, 200);
    }
    let ports = cluster_ports(folder.path());
    assert_eq!(ports.len(), 12);
    // The append-only files are written to disk within a second.
    tokio::time::sleep(Duration::from_millis(1100)).await;
    dev.process.kill();
    wait_until_ended(&ports).await;

    // Another one has taken a port meanwhile.
    let taken = TcpListener::bind(("127.0.0.1", ports[0])).unwrap();
    let mut dev = Dev::start(folder.path(), &["--cluster"]).await;
    let again = cluster_ports(folder.path());
    assert_eq!(again[2..], ports[2..], "ports are kept");
    assert_ne!(again[0], ports[0]);
    drop(taken);
    for user in &users {
        let state = dev.client.cache_state(user, &format!("{user}-3")).await;
        assert_eq!(state, "bulk", "{user}");
    }
    let url = dev.addresses["valkey"].as_str().unwrap();
    let (user, nodes) = url.rsplit_once('@').unwrap();
    assert_eq!(nodes.split(',').count(), 3);
    let first = format!("{user}@{}", nodes.split(',').next().unwrap());
    let client = redis::Client::open(first.clone()).unwrap();
    let mut server = client.get_connection().unwrap();
    let _ = redis::cmd("SHUTDOWN").arg("NOSAVE").exec(&mut server);
    for user in &users {
        let (status, body) = dev.client.sync(user, "allTwo").await;
        assert_eq!(status, 200, "{body}");
    }
    eventually("the server is there again", async || {
        client.get_connection().is_ok()
    })
    .await;
    let data = folder.path().to_str().unwrap();
    let output = sluice(&["doctor", "--data", data]);
    assert!(output.status.success(), "{output:?}");
    let took = dev.process.end("TERM");
    assert!(took < Duration::from_secs(10), "{took:?}");
    wait_until_ended(&again).await;
}

#[tokio::test]
async fn a_second_start_in_one_folder_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let dev = Dev::start(folder.path(), &[]).await;
    let data = folder.path().to_str().unwrap();
    let second = sluice(&["dev", "--port", "0", "--data", data]);
    assert!(!second.status.success());
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(
        message.contains(data) && message.contains(&dev.process.pid().to_string()),
        "{message}"
    );
    assert!(dev.valkey_answers());
}

#[tokio::test]
async fn ctrl_c_drains_running_jobs() {
    let folder = tempfile::tempdir().unwrap();
    let mut dev = Dev::start(folder.path(), &[]).await;
    dev.client.import(&files("ann", 5000)).await;
    let id = dev
        .client
        .enqueue(
            "sync",
            &serde_json::json!({"user": "ann", "type": "allOne"}),
        )
        .await;
    let took = dev.process.end("INT");
    assert!(took < Duration::from_secs(10), "{took:?}");
    let dev = Dev::start(folder.path(), &[]).await;
    assert_eq!(dev.client.finished(&id).await["result"]["synced"], 5000);
}

#[tokio::test]
async fn the_demo_holds_real_files_of_two_users_and_the_commands_serve_it() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let dev = Dev::start(folder.path(), &["--demo"]).await;
    eventually("the demo is loaded", async || {
        dev.client.convex_count("usr_demo2").await > 100
    })
    .await;

    for kind in ["allOne", "allTwo", "mostOne", "mostTwo"] {
        let output = sluice(&["sync", "usr_demo2", "--type", kind, "--data", data]);
        assert!(output.status.success(), "{output:?}");
        let result: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert!(result["synced"].as_u64() > Some(100), "{result}");
    }
    let id = dev.client.listed_ids("usr_demo2").await[0].clone();
    assert_eq!(dev.client.cache_state("usr_demo2", &id).await, "bulk");
    let output = sluice(&["prefetch", "usr_demo2", "--limit", "5", "--data", data]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["prefetched"], 5, "{output:?}");
    let output = sluice(&["invalidate", "usr_demo2", "--type", "OUT", "--data", data]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(result["invalidated"].as_u64() > Some(100), "{output:?}");

    let output = sluice(&["sync", "nobody", "--type", "allOne", "--data", data]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("user_not_found")
    );
    let output = sluice(&["doctor", "--data", data]);
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_folder_of_ones_own_is_imported() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let own = tempfile::tempdir().unwrap();
    for n in 0..12 {
        std::fs::write(own.path().join(format!("picture-{n}.png")), vec![0; n]).unwrap();
    }
    let dev = Dev::start(folder.path(), &[]).await;
    for _ in 0..2 {
        let output = sluice(&[
            "import",
            own.path().to_str().unwrap(),
            "--user",
            "ann",
            "--data",
            data,
        ]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            dev.client.convex_count("ann").await,
            12,
            "importing again replaces"
        );
    }
    dev.client.sync("ann", "allOne").await;
    let entries = dev.client.list("ann").await.unwrap();
    for field in [
        "id",
        "filenameEnc",
        "size",
        "user",
        "mimeType",
        "thumbs",
        "uploadedDate",
    ] {
        assert!(
            entries.iter().all(|entry| entry.get(field).is_some()),
            "{field}"
        );
    }
    assert!(entries.iter().all(|entry| entry["mimeType"] == "image/png"));
}

#[tokio::test]
async fn a_setting_out_of_bounds_is_refused_at_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args([
            "dev",
            "--port",
            "0",
            "--data",
            folder.path().to_str().unwrap(),
        ])
        .env("SLUICE_SYNC_LIMIT_BYTES", "450000001")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(!output.status.success());
    let message = String::from_utf8(output.stderr).unwrap();
    assert!(
        message.to_lowercase().contains("sync_limit_bytes"),
        "{message}"
    );
}

#[test]
fn every_command_explains_itself() {
    let commands = [
        "dev",
        "serve",
        "work",
        "convex",
        "import",
        "sync",
        "prefetch",
        "invalidate",
        "token",
        "doctor",
    ];
    let overview = String::from_utf8(sluice(&["--help"]).stdout).unwrap();
    for command in commands {
        assert!(overview.contains(command), "{overview}");
        let output = sluice(&[command, "--help"]);
        assert!(
            output.status.success() && output.stdout.len() > 100,
            "{command}"
        );
    }
}

#[tokio::test]
async fn keys_that_permit_less_and_names_to_listen_on_are_taken() {
    let folder = tempfile::tempdir().unwrap();
    let limited = "viewer=deployment:data:view";
    let listen = ["--listen", "localhost:0", "--convex-limited-keys", limited];
    let dev = Dev::start(folder.path(), &listen).await;
    let convex = dev.addresses["convex"].as_str().unwrap();
    let ask = async |key: &str| {
        let request = reqwest::Client::new().get(format!("{convex}/api/json_schemas"));
        let request = request.header("authorization", format!("Convex {key}"));
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(ask("viewer").await, 200);
    assert_eq!(ask("nobody").await, 401);
}

//! File sync with real processes.

use std::process::Command;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::harness::{Client, Deployment, SECRET, eventually, file, files, read};
use crate::tail::tailing;

const DEVICES: &str = "/api/v1/sync/devices";

/// A token as `sluice token` mints it.
fn minted(user: &str, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
        .args(["token", "--user", user, "--scope", "files:read"])
        .args(["--scope", "files:write"])
        .args(args)
        .env("SLUICE_DEV_SECRET", SECRET)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

async fn call(client: &Client, token: &str, method: &str, path: &str, body: &Value) -> Value {
    let request = client.request(method, path).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    if answer.status() == StatusCode::NO_CONTENT {
        return Value::Null;
    }
    let (status, body) = read(answer).await;
    assert!(status.is_success(), "{method} {path}: {status} {body}");
    body
}

#[tokio::test]
async fn devices_that_are_not_seen_for_long_are_put_to_sleep_by_the_clock() {
    let settings = [("SLUICE_DEVICE_SCHEDULE", "* * * * * *")];
    let deployment = Deployment::start_with(&settings).await;
    let client = &deployment.client;
    let token = minted("ann", &["--tenant", "acme"]);
    for id in ["old", "new"] {
        let device = json!({"device_id": id, "device_name": id, "platform": "cli"});
        call(client, &token, "POST", DEVICES, &device).await;
    }
    let mut valkey = deployment.valkey.connection();
    let seen = "sf1:{acme}:seen";
    let _: () = redis::Commands::zadd(&mut valkey, seen, "ann old", 1).unwrap();
    let is_active = async |id: &str| {
        let devices = call(client, &token, "GET", DEVICES, &Value::Null).await;
        let devices = devices.as_array().unwrap().iter();
        let mut devices = devices.filter(|device| device["id"] == id);
        devices.next().unwrap()["is_active"] == true
    };
    eventually("the old device sleeps", async || !is_active("old").await).await;
    assert!(is_active("new").await);
    let beat = format!("{DEVICES}/old/heartbeat");
    call(client, &token, "POST", &beat, &Value::Null).await;
    assert!(is_active("old").await);
}

#[tokio::test]
async fn a_minted_token_is_of_the_tenant_and_groups_that_were_asked_for() {
    let deployment = Deployment::without_workers(&[]).await;
    let client = &deployment.client;
    let owner = minted("ann", &[]);
    let share = call(
        client,
        &owner,
        "POST",
        "/api/v1/shares",
        &json!({"name": "s"}),
    )
    .await;
    let share = format!("/api/v1/shares/{}", share["id"].as_str().unwrap());
    let grant = format!("{share}/grants/groups/staff");
    call(client, &owner, "PUT", &grant, &json!({"level": "read"})).await;
    let status = async |user: &str, args: &[&str]| {
        let token = minted(user, args);
        let request = client.request("GET", &share).bearer_auth(token);
        request.send().await.unwrap().status().as_u16()
    };
    assert_eq!(status("bob", &["--group", "staff"]).await, 200);
    assert_eq!(status("bob", &[]).await, 404);
    assert_eq!(
        status("ann", &["--tenant", "acme", "--group", "staff"]).await,
        404
    );
    assert_eq!(status("ann", &["--tenant", "default"]).await, 200);
}

/// A user who calls file sync.
#[derive(Clone)]
pub struct SyncUser {
    client: Client,
    token: String,
}

impl SyncUser {
    /// Of the tenant `default`.
    pub fn new(client: &Client, name: &str) -> Self {
        let (client, token) = (client.clone(), minted(name, &[]));
        Self { client, token }
    }

    async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(&self.client, &self.token, method, path, body).await
    }

    /// Makes a share.
    pub async fn share(&self) -> String {
        let share = json!({"name": "s"});
        let share = self.call("POST", "/api/v1/shares", &share).await;
        share["id"].as_str().unwrap().to_owned()
    }

    pub async fn register(&self, id: &str) {
        let device = json!({"device_id": id, "device_name": id, "platform": "cli"});
        self.call("POST", DEVICES, &device).await;
    }

    pub async fn apply(&self, device: &str, share: &str, changes: &[Value]) -> Value {
        let batch = json!({"device_id": device, "share_id": share, "changes": changes});
        self.call("POST", "/api/v1/sync/apply", &batch).await
    }

    /// All changes of a share.
    pub async fn changes(&self, share: &str) -> Vec<Value> {
        let mut all = Vec::new();
        loop {
            let path = format!("/api/v1/sync/changes?share_id={share}&cursor={}", all.len());
            let page = self.call("GET", &path, &Value::Null).await;
            all.extend(page["changes"].as_array().unwrap().iter().cloned());
            if page["has_more"] == false {
                return all;
            }
        }
    }

    /// A WebSocket of a device that has subscribed.
    pub async fn watch(&self, device: &str) -> Watching {
        watch(&self.client, &self.token, device).await
    }
}

/// A WebSocket of a device that has subscribed.
async fn watch(client: &Client, token: &str, device: &str) -> Watching {
    let path = format!("/api/v1/sync/ws/{device}?token={token}");
    let address = client.address(&path).replace("http://", "ws://");
    let (mut socket, _) = connect_async(address).await.unwrap();
    let subscribe = json!({"type": "subscribe"}).to_string();
    socket.send(Message::text(subscribe)).await.unwrap();
    let mut watching = Watching(socket);
    assert_eq!(watching.next().await["type"], "subscribed");
    watching
}

/// What a device is told.
pub struct Watching(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Watching {
    /// The next frame that is not a ping.
    pub async fn next(&mut self) -> Value {
        loop {
            let frame = timeout(Duration::from_secs(30), self.0.next()).await;
            match frame.expect("a frame").expect("a frame").unwrap() {
                Message::Text(text) => return serde_json::from_str(&text).unwrap(),
                Message::Ping(_) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_file_goes_from_one_device_to_another() {
    let contents = tempfile::tempdir().unwrap();
    let url = format!("file://{}", contents.path().display());
    let deployment = Deployment::start_with(&[("SLUICE_OBJECTS_URL", &url)]).await;
    let client = &deployment.client;
    let (ann, bob) = (minted("ann", &[]), minted("bob", &[]));
    let share = call(
        client,
        &ann,
        "POST",
        "/api/v1/shares",
        &json!({"name": "s"}),
    )
    .await;
    let share = share["id"].as_str().unwrap();
    let grant = format!("/api/v1/shares/{share}/grants/users/bob");
    call(client, &ann, "PUT", &grant, &json!({"level": "read"})).await;
    for (token, id) in [(&ann, "laptop"), (&bob, "phone")] {
        let device = json!({"device_id": id, "device_name": id, "platform": "cli"});
        call(client, token, "POST", DEVICES, &device).await;
    }
    let mut phone = watch(client, &bob, "phone").await;

    let upload = format!("/api/v1/sync/upload/plan?share_id={share}");
    let answer = client
        .request("PUT", &upload)
        .bearer_auth(&ann)
        .body("what we do")
        .send()
        .await
        .unwrap();
    let (status, uploaded) = read(answer).await;
    assert!(status.is_success(), "{status} {uploaded}");
    let change = json!({
        "id": "c1", "resource_type": "file", "change_type": "created", "resource_id": "plan",
        "new_path": "/plan.txt", "version_id": uploaded["version_id"],
    });
    let batch = json!({"device_id": "laptop", "share_id": share, "changes": [change]});
    let applied = call(client, &ann, "POST", "/api/v1/sync/apply", &batch).await;
    assert_eq!(applied["applied"][0]["outcome"], "applied", "{applied}");

    let frame = phone.next().await;
    assert_eq!(frame["data"]["new_path"], "/plan.txt");
    let path = format!("/api/v1/sync/changes?share_id={share}&cursor=2");
    let page = call(client, &bob, "GET", &path, &Value::Null).await;
    assert_eq!(page["changes"][0], frame["data"]);
    let answer = client
        .request("GET", "/api/v1/sync/download/plan")
        .bearer_auth(&bob)
        .send()
        .await
        .unwrap();
    let tag = format!("\"sha256-{}\"", uploaded["sha256"].as_str().unwrap());
    assert_eq!(answer.headers()["etag"], tag.as_str());
    assert_eq!(answer.text().await.unwrap(), "what we do");
}

#[tokio::test]
async fn a_file_that_changes_in_convex_is_in_the_cache_in_the_log_and_on_the_socket() {
    let deployment = tailing(&files("ann", 1)).await;
    let client = &deployment.client;
    let token = minted("ann", &[]);
    let own = json!({"device_id": "laptop", "device_name": "laptop", "platform": "cli"});
    call(client, &token, "POST", DEVICES, &own).await;
    client.import(&[file("ann", "first", 1)]).await;
    let share = "usr_ann";
    eventually("the share is there", async || {
        let request = client.request("GET", &format!("/api/v1/shares/{share}"));
        request.bearer_auth(&token).send().await.unwrap().status() == StatusCode::OK
    })
    .await;
    let mut laptop = watch(client, &token, "laptop").await;
    client.import(&[file("ann", "second", 7)]).await;
    let frame = laptop.next().await;
    let change = &frame["data"];
    assert_eq!(
        (&frame["share_id"], &change["changed_by"]),
        (&json!(share), &json!("convex"))
    );
    assert_eq!(change["metadata"]["id"], "second");
    assert_eq!(change["metadata"]["size"], 7.0);
    let entry: Value = client.entry("ann", "second").await.json().await.unwrap();
    assert_eq!(entry["id"], "second");
    client.delete_from_convex(&["second"]).await;
    assert_eq!(laptop.next().await["data"]["change_type"], "deleted");
    let path = format!("/api/v1/sync/changes?share_id={share}&cursor=1");
    let page = call(client, &token, "GET", &path, &Value::Null).await;
    let types = page["changes"].as_array().unwrap().iter();
    let types: Vec<_> = types
        .map(|it| it["change_type"].as_str().unwrap())
        .collect();
    assert_eq!(types, ["created", "created", "deleted"]);
}

#[tokio::test]
async fn what_was_acknowledged_is_there_once_after_the_api_and_valkey_are_killed() {
    let mut deployment = Deployment::without_workers(&[]).await;
    deployment.configure_valkey("appendfsync", "always");
    let user = SyncUser::new(&deployment.client, "ann");
    let share = user.share().await;
    user.register("laptop").await;
    let folder = |number: usize| {
        json!({
            "id": format!("c{number}"), "resource_type": "folder", "change_type": "created",
            "resource_id": format!("d{number}"), "new_path": format!("/d{number}"),
        })
    };
    let mut positions = Vec::new();
    for number in 0..30 {
        let applied = user.apply("laptop", &share, &[folder(number)]).await;
        positions.push(applied["applied"][0]["position"].as_u64().unwrap());
        if number == 10 {
            deployment.restart_api_after_kill().await;
        }
        if number == 20 {
            deployment.valkey.kill();
            deployment.valkey.restart();
            deployment.client.wait_until_ready().await;
        }
        // As a client does that has not heard the answer.
        let again = user.apply("laptop", &share, &[folder(number)]).await;
        assert_eq!(again["applied"], applied["applied"]);
    }
    let log = user.changes(&share).await;
    assert_eq!(log.len(), 31);
    for (number, position) in positions.iter().enumerate() {
        assert_eq!(
            log[*position as usize - 1]["resource_id"],
            format!("d{number}")
        );
    }
}

#[tokio::test]
async fn what_valkey_loses_with_its_last_second_is_told_to_who_had_read_it() {
    let mut deployment = Deployment::without_workers(&[]).await;
    deployment.configure_valkey("appendfsync", "everysec");
    let user = SyncUser::new(&deployment.client, "ann");
    let share = user.share().await;
    user.register("laptop").await;
    let folder = |name: &str| {
        json!({
            "id": name, "resource_type": "folder", "change_type": "created",
            "resource_id": name, "new_path": format!("/{name}"),
        })
    };
    user.apply("laptop", &share, &[folder("kept")]).await;
    let kept = deployment.valkey.log_size();
    user.apply("laptop", &share, &[folder("lost"), folder("gone")])
        .await;
    let read = user.changes(&share).await;
    assert_eq!(read.len(), 4);
    // As after a power failure: of what was acknowledged the last second is not on the disk.
    deployment.valkey.kill();
    deployment.valkey.cut_log(kept);
    deployment.valkey.restart();
    deployment.client.wait_until_ready().await;

    let look = async |cursor: usize| {
        let since = read[cursor - 1]["id"].as_str().unwrap();
        let path = format!("/api/v1/sync/changes?share_id={share}&cursor={cursor}&since={since}");
        let request = deployment.client.request("GET", &path);
        crate::harness::read(request.bearer_auth(&user.token).send().await.unwrap()).await
    };
    let assert_reset = |(status, body): (StatusCode, Value)| {
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
        assert_eq!(body["code"], "SYNC_CURSOR_INVALID");
        assert_eq!(
            (&body["reset"], &body["reason"]),
            (&json!(true), &json!("history_changed"))
        );
    };
    // Past the head.
    assert_reset(look(4).await);
    // At what others have taken in the meantime.
    user.apply("laptop", &share, &[folder("other"), folder("more")])
        .await;
    assert_reset(look(4).await);
    assert_eq!(look(2).await.0, StatusCode::OK);
    // The device tells again what it has and the server has not: it is there, once.
    let again = user.apply("laptop", &share, &[folder("lost")]).await;
    assert_eq!(again["applied"][0]["outcome"], "applied", "{again}");
    assert_eq!(again["applied"][0]["position"], 5);
    let log = user.changes(&share).await;
    let resources = log[1..]
        .iter()
        .map(|it| it["resource_id"].as_str().unwrap());
    assert_eq!(
        resources.collect::<Vec<_>>(),
        ["kept", "other", "more", "lost"]
    );
}

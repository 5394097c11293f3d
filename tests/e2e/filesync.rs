//! File sync with real processes.

use std::process::Command;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::harness::{Client, Deployment, SECRET, eventually, read};

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

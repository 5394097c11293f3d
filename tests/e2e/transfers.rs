//! Contents of files, while processes die.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use redis::Commands;
use reqwest::{Body, StatusCode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use sluice_api::auth::{Identity, Scope, mint};
use tempfile::TempDir;
use walkdir::WalkDir;

use crate::harness::{Client, Deployment, SECRET, eventually};

/// A share, and the folder of its contents.
struct World {
    deployment: Deployment,
    folder: TempDir,
    share: String,
}

/// What the API has acknowledged: file, version, size and SHA-256.
#[derive(Clone, Debug)]
struct Acknowledged {
    file: String,
    version: String,
    size: u64,
    sha256: String,
}

fn token() -> String {
    let identity = Identity {
        user: "ann",
        tenant: "acme",
        groups: &[],
    };
    let scopes = [Scope::FilesRead, Scope::FilesWrite];
    mint(SECRET, identity, &scopes, Duration::from_secs(3600)).unwrap()
}

fn request(client: &Client, method: &str, path: &str) -> reqwest::RequestBuilder {
    let method = method.parse().unwrap();
    let url = client.address(path);
    reqwest::Client::new()
        .request(method, url)
        .bearer_auth(token())
}

/// Bytes that no other number has.
fn bytes(number: u64, length: u64) -> Vec<u8> {
    (0..length)
        .map(|at| ((at + number) * (at + 7) / 5) as u8)
        .collect()
}

/// Uploads in pieces with pauses, so that a kill finds it under way. None when it was not
/// acknowledged.
async fn upload(client: &Client, share: &str, number: u64, length: u64) -> Option<Acknowledged> {
    let file = format!("fil_{number}");
    let content = bytes(number, length);
    let sha256 = Sha256::digest(&content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let pieces: Vec<Vec<u8>> = content.chunks(500_000).map(<[u8]>::to_vec).collect();
    let pieces = stream::iter(pieces).then(async |piece| {
        tokio::time::sleep(Duration::from_millis(3)).await;
        Ok::<_, Infallible>(piece)
    });
    let path = format!("/api/v1/sync/upload/{file}?share_id={share}");
    let answer = request(client, "PUT", &path)
        .header("content-length", length)
        .body(Body::wrap_stream(Box::pin(pieces)))
        .send()
        .await
        .ok()
        .filter(|answer| answer.status() == StatusCode::OK)?;
    let made: Value = answer.json().await.ok()?;
    Some(Acknowledged {
        file,
        version: made["version_id"].as_str()?.to_owned(),
        size: length,
        sha256,
    })
}

impl World {
    async fn start() -> World {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("file://{}", folder.path().display());
        let deployment = Deployment::without_workers(&[
            ("SLUICE_OBJECTS_URL", &url),
            ("SLUICE_FILESYNC_SWEEP_SCHEDULE", "* * * * * *"),
            ("SLUICE_TAIL", "off"),
        ])
        .await;
        let client = &deployment.client;
        let share = request(client, "POST", "/api/v1/shares");
        let share = share.json(&json!({"name": "s"})).send().await.unwrap();
        let share: Value = share.json().await.unwrap();
        let share = share["id"].as_str().unwrap().to_owned();
        let device = json!({"device_id": "a", "device_name": "a", "platform": "linux"});
        let device = request(client, "POST", "/api/v1/sync/devices").json(&device);
        assert_eq!(device.send().await.unwrap().status(), StatusCode::CREATED);
        World {
            deployment,
            folder,
            share,
        }
    }

    /// Names a version in a change.
    async fn apply(&self, made: &Acknowledged) {
        let change = json!({
            "resource_type": "file", "change_type": "created", "resource_id": made.file,
            "new_path": format!("/{}", made.file), "version_id": made.version,
        });
        let batch = json!({"device_id": "a", "share_id": self.share, "changes": [change]});
        let answer = request(&self.deployment.client, "POST", "/api/v1/sync/apply");
        let answer = answer.json(&batch).send().await.unwrap();
        let status = answer.status();
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(status, StatusCode::OK, "{answer}");
        assert_eq!(answer["applied"][0]["outcome"], "applied", "{answer}");
    }

    async fn assert_there(&self, made: &Acknowledged) {
        let path = format!(
            "/api/v1/sync/download/{}?version={}",
            made.file, made.version
        );
        let answer = request(&self.deployment.client, "GET", &path)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{made:?}");
        let content = answer.bytes().await.unwrap();
        let sha256: String = Sha256::digest(&content)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(sha256, made.sha256, "{made:?}");
    }

    /// Used and reserved bytes of the share.
    async fn room(&self) -> (u64, u64) {
        let path = format!("/api/v1/shares/{}", self.share);
        let share = request(&self.deployment.client, "GET", &path)
            .send()
            .await
            .unwrap();
        let share: Value = share.json().await.unwrap();
        let number = |name: &str| share[name].as_u64().unwrap_or_else(|| panic!("{share}"));
        (number("used"), number("reserved"))
    }

    /// Lets the time of all that no change has named be over.
    fn let_end(&self) {
        let mut valkey = self.deployment.valkey.connection();
        let names: Vec<String> = valkey.zrange("sf1:{acme}:unnamed", 0, -1).unwrap();
        for name in names {
            let () = valkey.zadd("sf1:{acme}:unnamed", name, 1).unwrap();
        }
    }

    fn is_swept(&self) -> bool {
        let keys = |pattern| self.deployment.valkey.keys(pattern);
        keys("*:unnamed").is_empty() && keys("*:garbage").is_empty()
    }

    /// The versions that have bytes, and how many. What a killed write has left has a `#` in its
    /// name; it goes when it is old.
    fn stored(&self) -> BTreeMap<String, u64> {
        let mut stored = BTreeMap::new();
        for entry in WalkDir::new(self.folder.path()) {
            let Ok(entry) = entry else { continue };
            let is_part = !entry.file_name().to_string_lossy().contains('#');
            if entry.file_type().is_file() && is_part {
                let version = entry.path().parent().and_then(Path::file_name).unwrap();
                let version = version.to_string_lossy().into_owned();
                *stored.entry(version).or_default() += entry.metadata().unwrap().len();
            }
        }
        stored
    }
}

#[tokio::test]
async fn an_api_killed_in_uploads_loses_nothing_that_it_acknowledged() {
    let mut world = World::start().await;
    let client = world.deployment.client.clone();
    let mut made = Vec::new();
    let mut lost = 0;
    for round in 0..8_u64 {
        let uploads: Vec<_> = (0..4)
            .map(|place| {
                let (client, share) = (client.clone(), world.share.clone());
                let length = [0, 1_000, 5_000_000, 9_000_000][place as usize];
                let number = round * 4 + place;
                tokio::spawn(async move { upload(&client, &share, number, length).await })
            })
            .collect();
        // From before the first bytes to after the last ones of the longest.
        tokio::time::sleep(Duration::from_millis(round * 61 % 400)).await;
        world.deployment.restart_api_after_kill().await;
        for upload in uploads {
            match upload.await.unwrap() {
                Some(acknowledged) => made.push(acknowledged),
                None => lost += 1,
            }
        }
    }
    assert!(
        lost > 0 && !made.is_empty(),
        "{lost} lost, {} made",
        made.len()
    );
    for version in &made {
        world.assert_there(version).await;
        world.apply(version).await;
    }

    // What was not acknowledged goes, however often the sweep is killed.
    world.let_end();
    for round in 0..5_u64 {
        world.deployment.add_worker();
        tokio::time::sleep(Duration::from_millis(700 + round * 97)).await;
        world.deployment.workers.clear();
    }
    world.deployment.add_worker();
    eventually("all is swept", async || world.is_swept()).await;
    let used = made.iter().map(|version| version.size).sum();
    assert_eq!(world.room().await, (used, 0));
    let expected = made.iter().filter(|version| version.size > 0);
    let expected: BTreeMap<_, _> = expected.map(|it| (it.version.clone(), it.size)).collect();
    assert_eq!(world.stored(), expected);
    for version in &made {
        world.assert_there(version).await;
    }
}

#[tokio::test]
async fn uploads_that_a_killed_api_left_are_swept() {
    let mut world = World::start().await;
    let path = format!("/api/v1/sync/upload/fil_1?share_id={}", world.share);
    let first = stream::iter([Ok::<_, Infallible>(bytes(1, 9_000_000))]);
    let sending = request(&world.deployment.client, "PUT", &path)
        .header("content-length", 20_000_000)
        .body(Body::wrap_stream(first.chain(stream::pending())))
        .send();
    let sending = tokio::spawn(sending);
    eventually("two parts are there", async || {
        world.stored().values().sum::<u64>() == 2 * 4 * 1024 * 1024
    })
    .await;
    world.deployment.restart_api_after_kill().await;
    sending.await.unwrap().unwrap_err();
    assert_eq!(world.room().await, (0, 20_000_000));
    world.let_end();
    world.deployment.add_worker();
    eventually("all is swept", async || world.is_swept()).await;
    assert_eq!(world.room().await, (0, 0));
    assert!(world.stored().is_empty());
}

#[tokio::test]
async fn an_upload_whose_client_goes_or_stands_still_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file://{}", folder.path().display());
    let settings = [
        ("SLUICE_OBJECTS_URL", &*url),
        ("SLUICE_HTTP_IDLE_SECS", "1"),
    ];
    let world = World {
        deployment: Deployment::without_workers(&settings).await,
        folder,
        share: String::new(),
    };
    let client = &world.deployment.client.clone();
    let share = request(client, "POST", "/api/v1/shares");
    let share = share.json(&json!({"name": "s"})).send().await.unwrap();
    let share: Value = share.json().await.unwrap();
    let share = share["id"].as_str().unwrap().to_owned();
    let world = World { share, ..world };
    for is_gone in [true, false] {
        let path = format!("/api/v1/sync/upload/fil_1?share_id={}", world.share);
        let first = stream::iter([Ok::<_, Infallible>(bytes(1, 5_000_000))]);
        let sending = request(client, "PUT", &path)
            .header("content-length", 20_000_000)
            .body(Body::wrap_stream(first.chain(stream::pending())))
            .send();
        let sending = tokio::spawn(sending);
        eventually("a part is there", async || !world.stored().is_empty()).await;
        if is_gone {
            sending.abort();
        }
        eventually("nothing is left", async || {
            world.stored().is_empty() && world.room().await == (0, 0)
        })
        .await;
    }
}

//! Whom the requests go to, and requests with short answers.

use std::time::Duration;

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::bare_process::Bare;
use crate::harness::{Client, Deployment, SECRET};
use crate::load::{self, NUMBER, Request, Target};

const CONNECTIONS: usize = 64;
/// Entries of the log that is read, and of a page.
const LOG: usize = 20_000;
const PAGE: usize = 1_000;
/// Changes of one request that writes the log.
const BATCH: usize = 1_000;

pub const DEVICE: &str = "laptop";

/// Sluice, and the bare routes.
pub struct Parts {
    pub deployment: Deployment,
    pub bare: Bare,
    /// Of who owns all shares.
    pub token: String,
    pub shares: Vec<String>,
    _contents: TempDir,
}

impl Parts {
    pub async fn start() -> Self {
        let contents = tempfile::tempdir().unwrap();
        let folder = |name: &str| format!("{}/{name}", contents.path().display());
        std::fs::create_dir(folder("bare")).unwrap();
        let url = format!("file://{}", folder("sluice"));
        let settings = [
            ("SLUICE_OBJECTS_URL", url.as_str()),
            ("SLUICE_STREAMS", "20000"),
            // The last round's are still closing while the next one's are opened.
            ("SLUICE_STREAMS_PER_USER", "1000"),
            ("SLUICE_HTTP_CONNECTIONS", "20000"),
        ];
        let deployment = Deployment::without_workers(&settings).await;
        let settings = [("SLUICE_BENCH_FOLDER", folder("bare"))];
        let settings = settings
            .each_ref()
            .map(|(name, value)| (*name, value.as_str()));
        // The first call loads the functions.
        register(&deployment.client, &token("ann"), DEVICE).await;
        let mut parts = Self {
            token: token("ann"),
            shares: Vec::new(),
            bare: Bare::start(&deployment.valkey, "sluice_filesync_*", &settings).await,
            deployment,
            _contents: contents,
        };
        for _ in 0..CONNECTIONS {
            let new = json!({"name": "s"});
            let share = parts.call("POST", "/api/v1/shares", &new).await;
            let share = share["id"].as_str().unwrap().to_owned();
            parts.apply_all(&share, &[creation(&share)]).await;
            parts.shares.push(share);
        }
        parts
    }

    /// The address of the API as `host:port`.
    pub fn address(&self) -> String {
        self.deployment.client.address("").replace("http://", "")
    }

    /// As who owns all shares.
    pub async fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        call(&self.deployment.client, &self.token, method, path, body).await
    }

    pub async fn register(&self, token: &str, device: &str) {
        register(&self.deployment.client, token, device).await;
    }

    pub async fn apply_all(&self, share: &str, changes: &[Value]) {
        let batch = json!({"device_id": DEVICE, "share_id": share, "changes": changes});
        let answer = self.call("POST", "/api/v1/sync/apply", &batch).await;
        let applied = answer["applied"].as_array().unwrap();
        assert_eq!(applied.len(), changes.len(), "{answer}");
    }

    /// Enters so many changes into a share.
    pub async fn fill(&self, share: &str, entries: usize) {
        for _ in 0..entries / BATCH {
            let change = |at| serde_json::from_str(&update(share, &format!("{at:010}"))).unwrap();
            let changes: Vec<Value> = (0..BATCH).map(change).collect();
            let without_ids = changes.into_iter().map(|mut change| {
                change.as_object_mut().unwrap().remove("id");
                change
            });
            self.apply_all(share, &without_ids.collect::<Vec<_>>())
                .await;
        }
    }

    /// Requests of the API and of the bare routes.
    fn targets(&self, api: Vec<Request>, bare: Vec<Request>) -> (Target, Target) {
        let api = Target {
            address: self.address(),
            pid: self.deployment.api.pid(),
            requests: api,
        };
        let bare = Target {
            address: self.bare.address.clone(),
            pid: self.bare.pid(),
            requests: bare,
        };
        (api, bare)
    }

    fn request(&self, method: &'static str, path: &str, body: &str) -> Request {
        Request {
            method,
            path: path.to_owned(),
            token: self.token.clone(),
            body: body.to_owned(),
        }
    }

    pub async fn apply(&self, rounds: (usize, Duration)) {
        for connections in [1, CONNECTIONS] {
            let requests = |path: &str| {
                let shares = self.shares[..connections].iter();
                let bodies = shares.map(|share| apply_body(share));
                bodies
                    .map(|body| self.request("POST", path, &body))
                    .collect()
            };
            let (api, bare) = self.targets(requests("/api/v1/sync/apply"), requests("/apply"));
            let valkey = self.deployment.valkey.pid();
            load::compare("apply", valkey, rounds, &api, &bare).await;
        }
    }

    pub async fn changes(&self, rounds: (usize, Duration)) {
        let share = &self.shares[0];
        self.fill(share, LOG).await;
        self.compare_pages("changes, 1,000", &[(share, LOG as u64 / 2)], rounds)
            .await;
    }

    /// Pages behind these positions, by 1 connection and by more.
    pub async fn compare_pages(
        &self,
        name: &str,
        places: &[(&str, u64)],
        rounds: (usize, Duration),
    ) {
        for connections in [1, 8] {
            let requests = |path: &dyn Fn(&str, u64) -> String| {
                let places = places.iter().cycle().take(connections);
                let paths = places.map(|(share, after)| path(share, *after));
                paths.map(|path| self.request("GET", &path, "")).collect()
            };
            let (api, bare) = self.targets(
                requests(&|share, after| {
                    format!("/api/v1/sync/changes?share_id={share}&cursor={after}&limit={PAGE}")
                }),
                requests(&|share, after| format!("/changes/{share}/{after}/{PAGE}")),
            );
            let valkey = self.deployment.valkey.pid();
            load::compare(name, valkey, rounds, &api, &bare).await;
        }
    }
}

async fn call(client: &Client, token: &str, method: &str, path: &str, body: &Value) -> Value {
    let request = client.request(method, path).bearer_auth(token).json(body);
    let answer = request.send().await.unwrap();
    let status = answer.status();
    let text = answer.text().await.unwrap();
    assert!(status.is_success(), "{method} {path}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

async fn register(client: &Client, token: &str, device: &str) {
    let device = json!({"device_id": device, "device_name": device, "platform": "cli"});
    call(client, token, "POST", "/api/v1/sync/devices", &device).await;
}

/// A token of a user of the tenant `default` and of the group `all`.
pub fn token(user: &str) -> String {
    let claims = json!({
        "sub": user, "tenant_id": "default", "groups": ["all"], "scope": "files:read files:write",
        "exp": 4_000_000_000_u64,
    });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap()
}

fn node(share: &str) -> String {
    format!("fld_of_{share}")
}

/// A folder, which all changes of a share are about.
fn creation(share: &str) -> Value {
    json!({
        "id": "c0", "resource_type": "folder", "change_type": "created",
        "resource_id": node(share), "new_path": "/projects",
    })
}

/// A change of its metadata.
fn update(share: &str, number: &str) -> String {
    let node = node(share);
    format!(
        r#"{{"id":"c{number}","resource_type":"folder","resource_id":"{node}","change_type":"updated","metadata":{{"label":"{number}"}}}}"#
    )
}

/// A batch of one change, which is another in each request.
pub fn apply_body(share: &str) -> String {
    let change = update(share, NUMBER);
    format!(
        r#"{{"device_id":"{DEVICE}","share_id":"{share}","base_cursor":1,"changes":[{change}]}}"#
    )
}

//! Starts the parts of Sluice as processes and talks to them as a client would.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{LazyLock, Mutex};
use std::time::{Duration, Instant};

use jsonwebtoken::{EncodingKey, Header};
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};
use sluice_queue::{QueueConfig, Queues, State};
use sluice_test_support::{Contract, TestCluster, TestSentinel, TestValkey};
use sluice_test_support::{assert_jobs_ended, free_port, project_root};
use tempfile::{NamedTempFile, TempDir};

pub const SECRET: &str = "a secret that only these tests use, long enough";
pub const DEPLOY_KEY: &str = "dev:tests|0123456789abcdef";

static CONTRACT: LazyLock<Contract> =
    LazyLock::new(|| Contract::new(serde_json::to_value(sluice_api::openapi()).unwrap()));

/// How long anything may take to come about before a test gives up.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A process of the binary that ends with the test.
pub struct Process {
    child: Child,
}

impl Process {
    pub fn start(arguments: &[&str], settings: &[(&str, &str)]) -> Self {
        Self::start_with_log(arguments, settings, Stdio::inherit())
    }

    /// As [`Process::start`], with another place for what it logs.
    pub fn start_with_log(arguments: &[&str], settings: &[(&str, &str)], log: Stdio) -> Self {
        let child = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(arguments)
            .envs(settings.iter().copied())
            .env("SLUICE_LOG", "warn")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        Self { child }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL: the process gets no chance to clean up.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name.
    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill")
            .args([&format!("-{signal}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) {
        self.child.wait().unwrap();
    }

    /// Sends a signal by name and waits for the end; gives how long that took.
    pub fn end(&mut self, signal: &str) -> Duration {
        let begun = Instant::now();
        self.signal(signal);
        self.child.wait().unwrap();
        begun.elapsed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The Valkey of a deployment: one server or several.
pub trait Servers {
    /// An address of it for a user who may do anything.
    fn address(&self) -> String;

    /// Whether there is something to look at.
    fn are_running(&mut self) -> bool;

    /// A plain connection to the server that has this key.
    fn connection_of(&self, key: &str) -> redis::Connection;
}

/// Sluice as it is deployed: Valkey, a Convex-compatible store, an API node and workers, each a
/// process of its own.
pub struct Deployment<S: Servers = TestValkey> {
    pub valkey: S,
    pub convex: Process,
    pub api: Process,
    pub workers: Vec<Process>,
    pub client: Client,
    settings: Vec<(String, String)>,
    convex_url: String,
    convex_folder: TempDir,
    _users: NamedTempFile,
    left: Mutex<Vec<State>>,
}

impl Deployment {
    /// With one worker and the default limits.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// With further settings for the API node and the worker.
    pub async fn start_with(settings: &[(&str, &str)]) -> Self {
        let mut deployment = Self::without_workers(settings).await;
        deployment.add_worker();
        deployment
    }

    /// Jobs wait until [`Deployment::add_worker`].
    pub async fn without_workers(settings: &[(&str, &str)]) -> Self {
        let users = users_file();
        let valkey = TestValkey::start_with(&borrowed_options(&server_options(&users)));
        let url = format!("redis://{USER}127.0.0.1:{}", valkey.port());
        Self::at(valkey, url, users, settings).await
    }

    /// All that Valkey has of a user's cache, but for the time of the last log-out and the ranking.
    pub fn cached_keys(&self, user: &str) -> Vec<String> {
        let prefix = format!("sm1:{{{user}}}:");
        let mut keys = self.valkey.keys(&format!("{prefix}*"));
        keys.retain(|key| {
            let part = &key[prefix.len()..];
            part != "epoch" && !part.starts_with("activity:")
        });
        keys
    }

    /// Waits until the read of a user's file is ranked, and so all that were made before it.
    pub async fn wait_until_ranked(&self, user: &str, id: &str) {
        let mut valkey = self.valkey.connection();
        eventually("the access is ranked", async || {
            let rankings = self.valkey.keys(&format!("sm1:{{{user}}}:activity:*"));
            rankings.iter().any(|ranking| {
                let score: Option<f64> = redis::cmd("ZSCORE")
                    .arg(&[ranking, id])
                    .query(&mut valkey)
                    .unwrap();
                score.is_some()
            })
        })
        .await;
    }

    /// Changes settings of the running Valkey: `maxmemory`, `1`.
    pub fn configure_valkey(&self, name: &str, value: &str) {
        redis::cmd("CONFIG")
            .arg(&["SET", name, value])
            .exec(&mut self.valkey.connection())
            .unwrap();
    }
}

impl Deployment<TestCluster> {
    /// On a cluster with replicas, without workers.
    pub async fn on_cluster(settings: &[(&str, &str)]) -> Self {
        let users = users_file();
        let options = server_options(&users);
        let cluster = TestCluster::start_with_replicas(&borrowed_options(&options));
        let url = cluster.url_as(USER);
        Self::at(cluster, url, users, settings).await
    }
}

impl Deployment<TestSentinel> {
    /// On a primary with a replica and a sentinel, without workers.
    pub async fn on_sentinel(settings: &[(&str, &str)]) -> Self {
        let users = users_file();
        let servers = TestSentinel::start(&borrowed_options(&server_options(&users)));
        let url = servers.url_as(USER);
        Self::at(servers, url, users, settings).await
    }
}

impl<S: Servers> Deployment<S> {
    /// What operators have of the queues.
    pub async fn queues(&self) -> Queues {
        Queues::connect(&self.valkey.address(), QueueConfig::default())
            .await
            .unwrap()
    }

    /// The test leaves jobs in this state behind. All others have to end before it does.
    pub fn leaves_jobs(&self, state: State) {
        self.left.lock().unwrap().push(state);
    }

    async fn at(
        valkey: S,
        valkey_url: String,
        users: NamedTempFile,
        settings: &[(&str, &str)],
    ) -> Self {
        let convex_folder = tempfile::tempdir().unwrap();
        let convex_address = format!("127.0.0.1:{}", free_port());
        let convex = start_convex(&convex_folder, &convex_address, Stdio::inherit());
        let convex_url = format!("http://{convex_address}");
        let api_address = format!("127.0.0.1:{}", free_port());
        let mut all = vec![
            ("SLUICE_VALKEY_URL".to_owned(), valkey_url),
            ("SLUICE_CONVEX_URL".to_owned(), convex_url.clone()),
            ("SLUICE_CONVEX_KEY".to_owned(), DEPLOY_KEY.to_owned()),
            ("SLUICE_DEV_SECRET".to_owned(), SECRET.to_owned()),
            ("SLUICE_LISTEN".to_owned(), api_address.clone()),
        ];
        // A test's own setting takes the place of the common one.
        for (name, value) in settings {
            all.retain(|(known, _)| known != name);
            all.push(((*name).to_owned(), (*value).to_owned()));
        }
        let api = Process::start(&["serve"], &borrowed(&all));
        let client = Client::new(
            &format!("http://{api_address}"),
            &convex_url,
            DEPLOY_KEY,
            SECRET,
        );
        client.wait_until_ready().await;
        Self {
            valkey,
            convex,
            api,
            workers: Vec::new(),
            client,
            settings: all,
            convex_url,
            convex_folder,
            _users: users,
            left: Mutex::default(),
        }
    }

    pub fn add_worker(&mut self) {
        let worker = self.worker_with(&[]);
        self.workers.push(worker);
    }

    /// A worker of its own settings, e.g. one that reaches Convex through a proxy.
    pub fn worker_with(&self, settings: &[(&str, &str)]) -> Process {
        let mut all = borrowed(&self.settings);
        all.retain(|(name, _)| *name != "SLUICE_LISTEN");
        for setting in settings {
            all.retain(|(name, _)| name != &setting.0);
            all.push(*setting);
        }
        Process::start(&["work"], &all)
    }

    /// A further node of the API with its own settings, e.g. one that reads from a replica.
    pub async fn api_with(&self, settings: &[(&str, &str)]) -> (Process, Client) {
        let address = format!("127.0.0.1:{}", free_port());
        let mut all = borrowed(&self.settings);
        for setting in settings
            .iter()
            .chain(&[("SLUICE_LISTEN", address.as_str())])
        {
            all.retain(|(name, _)| name != &setting.0);
            all.push(*setting);
        }
        let api = Process::start(&["serve"], &all);
        let url = format!("http://{address}");
        let client = Client::new(&url, &self.convex_url, DEPLOY_KEY, SECRET);
        eventually("the node listens", async || {
            let answer = client.request("GET", "/healthz").send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
        (api, client)
    }

    /// `host:port` of the Convex-compatible store.
    pub fn convex_address(&self) -> String {
        self.convex_url.trim_start_matches("http://").to_owned()
    }

    /// What `sluice doctor` says with the settings of this deployment, and whether it is content.
    pub fn doctor(&self) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["doctor", "--data", "/nonexistent"])
            .envs(
                borrowed(&self.settings)
                    .into_iter()
                    .filter(|(name, _)| *name != "SLUICE_LISTEN"),
            )
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said)
    }

    /// Waits until a worker has walked over all files and settled all changes up to now.
    pub async fn wait_until_tailed(&self) {
        wait_until_tailed(&self.valkey, &self.client).await;
    }

    /// Kills the API node and starts it again.
    pub async fn restart_api_after_kill(&mut self) {
        self.api.kill();
        self.api = Process::start(&["serve"], &borrowed(&self.settings));
        self.client.wait_until_ready().await;
    }

    /// Kills the Convex-compatible store and starts it again on the same files.
    pub async fn restart_convex_after_kill(&mut self) {
        self.convex.kill();
        self.convex = start_convex(
            &self.convex_folder,
            &self.convex_address(),
            Stdio::inherit(),
        );
        self.client.wait_until_ready().await;
    }
}

impl<S: Servers> Drop for Deployment<S> {
    fn drop(&mut self) {
        if self.valkey.are_running() && !std::thread::panicking() {
            let left = self.left.lock().unwrap();
            assert_jobs_ended(&self.valkey.address(), &left, PATIENCE);
        }
    }
}

impl Servers for TestValkey {
    fn address(&self) -> String {
        self.url()
    }

    fn are_running(&mut self) -> bool {
        self.is_running()
    }

    fn connection_of(&self, _key: &str) -> redis::Connection {
        self.connection()
    }
}

impl Servers for TestCluster {
    fn address(&self) -> String {
        self.url()
    }

    fn are_running(&mut self) -> bool {
        true
    }

    fn connection_of(&self, key: &str) -> redis::Connection {
        self.connection_of(key)
    }
}

impl Servers for TestSentinel {
    fn address(&self) -> String {
        self.url()
    }

    fn are_running(&mut self) -> bool {
        true
    }

    fn connection_of(&self, _key: &str) -> redis::Connection {
        self.replica()
    }
}

/// The user that `deploy/valkey.acl` describes, in an address.
pub const USER: &str = "sluice:change-me@";

/// The users of `deploy/valkey.acl`. The test itself may do anything.
fn users_file() -> NamedTempFile {
    let shipped = include_str!("../../deploy/valkey.acl");
    let users = shipped.replace("user default off", "user default on nopass ~* &* +@all");
    let file = NamedTempFile::with_suffix(".acl").unwrap();
    std::fs::write(file.path(), users).unwrap();
    file
}

/// The JSON module, and the users.
fn server_options(users: &NamedTempFile) -> [String; 4] {
    let module = project_root().join(".valkey/lib/rejson.so");
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let option = str::to_owned;
    [
        option("--loadmodule"),
        text(&module),
        option("--aclfile"),
        text(users.path()),
    ]
}

fn borrowed_options(options: &[String]) -> Vec<&str> {
    options.iter().map(String::as_str).collect()
}

/// What the tail keeps of how far it has come.
pub fn tail_progress(valkey: &impl Servers) -> Value {
    let text: Option<String> = redis::cmd("HGET")
        .arg(&["st1:{tail}:state", "progress"])
        .query(&mut valkey.connection_of("st1:{tail}:state"))
        .unwrap();
    text.map_or(Value::Null, |text| serde_json::from_str(&text).unwrap())
}

/// As [`Deployment::wait_until_tailed`], of any deployment.
pub async fn wait_until_tailed(valkey: &impl Servers, client: &Client) {
    let now = client.convex_now().await;
    eventually("the tail has caught up", async || {
        let progress = tail_progress(valkey);
        progress["walk"].is_null() && progress["cursor"].as_i64().is_some_and(|at| at >= now)
    })
    .await;
}

/// A Convex-compatible store that keeps its data in this folder and listens on `host:port`.
pub fn start_convex(folder: &TempDir, address: &str, log: Stdio) -> Process {
    Process::start_with_log(
        &[
            "convex",
            "--data",
            folder.path().to_str().unwrap(),
            "--listen",
            address,
        ],
        &[("SLUICE_CONVEX_KEY", DEPLOY_KEY)],
        log,
    )
}

/// Settings as [`Process::start`] takes them.
pub fn borrowed(settings: &[(String, String)]) -> Vec<(&str, &str)> {
    settings
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// A client of one API node and of the Convex behind it.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    api: String,
    convex: String,
    deploy_key: String,
    secret: String,
}

impl Client {
    pub fn new(api: &str, convex: &str, deploy_key: &str, secret: &str) -> Self {
        Self {
            http: reqwest::Client::new(),
            api: api.trim_end_matches('/').to_owned(),
            convex: convex.trim_end_matches('/').to_owned(),
            deploy_key: deploy_key.to_owned(),
            secret: secret.to_owned(),
        }
    }

    pub async fn wait_until_ready(&self) {
        eventually("the API is ready", async || {
            let answer = self.http.get(format!("{}/readyz", self.api)).send().await;
            answer.is_ok_and(|answer| answer.status() == StatusCode::OK)
        })
        .await;
    }

    /// A token of `subject` that is good for `seconds`; a negative number has expired.
    pub fn token(&self, subject: &str, scopes: &str, seconds: i64) -> String {
        let now = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs();
        let claims = json!({"sub": subject, "scope": scopes, "exp": now as i64 + seconds});
        jsonwebtoken::encode(
            &Header::default(),
            &claims,
            &EncodingKey::from_secret(self.secret.as_bytes()),
        )
        .unwrap()
    }

    fn service_token(&self) -> String {
        self.token("service", "meta:read meta:write admin", 600)
    }

    /// The address of a page of the API node.
    pub fn address(&self, path: &str) -> String {
        format!("{}{path}", self.api)
    }

    /// Any request to the API, without a token.
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        let method = method.parse().unwrap();
        self.http.request(method, format!("{}{path}", self.api))
    }

    pub async fn get(&self, path: &str) -> Response {
        let request = self.request("GET", path).bearer_auth(self.service_token());
        request.send().await.unwrap()
    }

    /// The board's overview, as an operator who logs in gets it.
    pub async fn board_page(&self) -> String {
        let token = self.token("operator", "admin", 600);
        let browser = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let login = browser.build().unwrap().post(self.address("/board/login"));
        let login = login.header("sec-fetch-site", "same-origin");
        let login = login.header("content-type", "application/x-www-form-urlencoded");
        let login = login.body(format!("token={token}")).send().await.unwrap();
        let cookie = login.headers()["set-cookie"].to_str().unwrap();
        let cookie = cookie.split(';').next().unwrap();
        let request = self.request("GET", "/board").header("cookie", cookie);
        request.send().await.unwrap().text().await.unwrap()
    }

    /// POSTs to `/api/v1/e/meta/<operation>`.
    pub async fn post(&self, operation: &str, body: &Value) -> Response {
        self.post_with(operation, body, &[]).await
    }

    pub async fn post_with(
        &self,
        operation: &str,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> Response {
        let mut request = self
            .request("POST", &format!("/api/v1/e/meta/{operation}"))
            .bearer_auth(self.service_token())
            .json(body);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send().await.unwrap()
    }

    pub async fn sync(&self, user: &str, kind: &str) -> (StatusCode, Value) {
        read(
            self.post("sync", &json!({"user": user, "type": kind}))
                .await,
        )
        .await
    }

    pub async fn prefetch(&self, user: &str, limit: u32) -> (StatusCode, Value) {
        read(
            self.post("prefetch", &json!({"user": user, "limit": limit}))
                .await,
        )
        .await
    }

    pub async fn invalidate(&self, user: &str, kind: &str) -> (StatusCode, Value) {
        read(
            self.post("invalidate", &json!({"user": user, "type": kind}))
                .await,
        )
        .await
    }

    /// Enqueues without waiting and gives the job's id.
    pub async fn enqueue(&self, operation: &str, body: &Value) -> String {
        let answer = self
            .post_with(operation, body, &[("prefer", "respond-async")])
            .await;
        let (status, body) = read(answer).await;
        assert_eq!(status, StatusCode::ACCEPTED, "{body}");
        body["job"].as_str().unwrap().to_owned()
    }

    pub async fn job(&self, id: &str) -> Value {
        let (status, body) = read(self.get(&format!("/api/v1/jobs/{id}")).await).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    /// Waits until a job is in a final state and gives its view.
    pub async fn finished(&self, id: &str) -> Value {
        let mut view = Value::Null;
        eventually("the job finishes", async || {
            view = self.job(id).await;
            ["completed", "dead", "cancelled"].contains(&view["state"].as_str().unwrap())
        })
        .await;
        view
    }

    pub async fn entry(&self, user: &str, id: &str) -> Response {
        self.get(&format!("/api/v1/meta/{id}?userId={user}")).await
    }

    /// Where one read was answered from: `hit`, `bulk` or `miss`.
    pub async fn cache_state(&self, user: &str, id: &str) -> String {
        let answer = self.entry(user, id).await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.headers()["x-cache"].to_str().unwrap().to_owned()
    }

    /// All cached entries of a user, walked page by page. `Err` when the set was replaced during
    /// the walk.
    pub async fn list(&self, user: &str) -> Result<Vec<Value>, Value> {
        let mut entries = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/meta?userId={user}&limit=1000{cursor}");
            let (status, mut page) = read(self.get(&path).await).await;
            if status == StatusCode::CONFLICT {
                return Err(page);
            }
            assert_eq!(status, StatusCode::OK, "{page}");
            entries.append(page["entries"].as_array_mut().unwrap());
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={}", escape(next)),
                None => return Ok(entries),
            }
        }
    }

    /// The ids of all cached entries, in the order of the listing.
    pub async fn listed_ids(&self, user: &str) -> Vec<String> {
        let entries = self.list(user).await.unwrap();
        let id = |entry: &Value| entry["id"].as_str().unwrap().to_owned();
        entries.iter().map(id).collect()
    }

    /// Writes documents into Convex's `files` table, replacing those with the same `id`.
    pub async fn import(&self, documents: &[Value]) {
        self.import_by("id", documents).await;
    }

    /// As [`Client::import`], of documents that are known by this field.
    pub async fn import_by(&self, key: &str, documents: &[Value]) {
        for batch in documents.chunks(2000) {
            let messages: Vec<Value> = batch
                .iter()
                .map(|data| json!({"tableName": "files", "data": data}))
                .collect();
            let tables = json!({"files": {"primaryKey": [[key]], "jsonSchema": {}}});
            let body = json!({"tables": tables, "messages": messages});
            self.convex_call(
                "PUT",
                "streaming_import/add_primary_key_indexes",
                &json!({"indexes": {"files": [[key]]}}),
            )
            .await;
            self.convex_call("POST", "streaming_import/import_airbyte_records", &body)
                .await;
        }
    }

    /// Deletes documents of the `files` table by their `id`.
    pub async fn delete_from_convex(&self, ids: &[&str]) {
        let documents: Vec<Value> = ids
            .iter()
            .map(|id| json!({"id": id, "_ab_cdc_deleted_at": "2026-01-01T00:00:00Z"}))
            .collect();
        self.import(&documents).await;
    }

    /// How many documents of this user Convex holds.
    pub async fn convex_count(&self, user: &str) -> usize {
        let mut count = 0;
        let mut cursor = Value::Null;
        loop {
            let arguments =
                json!({"user": user, "paginationOpts": {"numItems": 1000, "cursor": cursor}});
            let body = json!({"path": "sluice:byUser", "args": arguments, "format": "json"});
            let answer = self.convex_call("POST", "query", &body).await;
            let (status, body) = read(answer).await;
            assert_eq!(
                (status, body["status"].as_str()),
                (StatusCode::OK, Some("success")),
                "{body}"
            );
            count += body["value"]["page"].as_array().unwrap().len();
            if body["value"]["isDone"] == true {
                return count;
            }
            cursor = body["value"]["continueCursor"].clone();
        }
    }

    /// All documents of the `files` table as exported, by `_id`.
    pub async fn convex_documents(&self) -> BTreeMap<String, Value> {
        let mut documents = BTreeMap::new();
        let mut body = json!({"tableName": "files"});
        loop {
            let (_, page) = read(self.convex_call("POST", "list_snapshot", &body).await).await;
            for document in page["values"].as_array().unwrap() {
                let doc_id = document["_id"].as_str().unwrap().to_owned();
                documents.insert(doc_id, document.clone());
            }
            if page["hasMore"] == false {
                return documents;
            }
            body["cursor"] = page["cursor"].clone();
            body["snapshot"] = page["snapshot"].clone();
        }
    }

    /// Convex's time, in ns.
    pub async fn convex_now(&self) -> i64 {
        let body = json!({"tableName": "no_such_table"});
        let (_, page) = read(self.convex_call("POST", "list_snapshot", &body).await).await;
        page["snapshot"].as_i64().unwrap()
    }

    async fn convex_call(&self, method: &str, path: &str, body: &Value) -> Response {
        let answer = self
            .http
            .request(
                method.parse().unwrap(),
                format!("{}/api/{path}", self.convex),
            )
            .header("authorization", format!("Convex {}", self.deploy_key))
            .json(body)
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status(), StatusCode::OK, "{path}");
        answer
    }
}

/// The status and the JSON body of an answer.
///
/// Answers of the API are held against what its description promises.
pub async fn read(answer: Response) -> (StatusCode, Value) {
    let (status, path) = (answer.status(), answer.url().path().to_owned());
    let content_type = answer.headers().get("content-type").cloned();
    let text = answer.text().await.unwrap();
    let content_type = content_type.as_ref().map_or("", |it| it.to_str().unwrap());
    CONTRACT.check(None, &path, status.as_u16(), content_type, text.as_bytes());
    let body =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {error}: {text:?}"));
    (status, body)
}

/// `count` file documents of a user, oldest first, with ids `<user>-0`, `<user>-1`, ….
pub fn files(user: &str, count: usize) -> Vec<Value> {
    (0..count)
        .map(|n| file(user, &format!("{user}-{n}"), n as u64))
        .collect()
}

/// One file document; `size` tells its version apart.
pub fn file(user: &str, id: &str, size: u64) -> Value {
    json!({
        "id": id,
        "user": user,
        "filenameEnc": "bmFtZQ==",
        "size": size,
        "mimeType": "text/plain",
        "dekEnc": "a2V5",
        "thumbs": {"mobile": null, "web": null, "webPre": null},
        "uploadedDate": 1_700_000_000_000_u64,
    })
}

/// Polls until `condition` holds.
pub async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "gave up waiting until {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn escape(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

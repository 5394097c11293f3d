//! Sluice as it is deployed, every part a process that can be killed, stopped and filled.

use std::collections::BTreeMap;

use sluice_test_support::{TestValkey, free_port, project_root};
use tempfile::TempDir;

use crate::harness::{Client, DEPLOY_KEY, Process, SECRET, borrowed, start_convex};

/// A service whose every write is a job.
pub const QUEUED: &str = "queued";
/// A service whose writes are made at once.
pub const INLINE: &str = "inline";

const APIS: usize = 2;
const WORKERS: usize = 3;

/// Where the jobs of a queue are that have not ended.
const LINES: [&str; 9] = [
    "waiting",
    "scheduled",
    "available",
    "held",
    "newer",
    "crowded",
    "throttled",
    "running",
    "retrying",
];

pub struct Cluster {
    pub valkey: TestValkey,
    pub convex: Process,
    pub apis: Vec<Process>,
    pub workers: Vec<Process>,
    pub api_urls: Vec<String>,
    pub convex_url: String,
    /// Of the first API.
    pub client: Client,
    folder: TempDir,
    settings: Vec<(String, String)>,
}

impl Cluster {
    pub async fn start() -> Self {
        let module = project_root().join(".valkey/lib/rejson.so");
        // What was answered is on the disk: a kill loses nothing that was acknowledged.
        let valkey = TestValkey::start_with(&[
            "--loadmodule",
            module.to_str().unwrap(),
            "--appendfsync",
            "always",
        ]);
        let folder = tempfile::tempdir().unwrap();
        let convex_url = format!("http://127.0.0.1:{}", free_port());
        let settings = [
            ("SLUICE_VALKEY_URL", valkey.url().as_str()),
            ("SLUICE_CONVEX_URL", convex_url.as_str()),
            ("SLUICE_CONVEX_KEY", DEPLOY_KEY),
            ("SLUICE_DEV_SECRET", SECRET),
            ("SLUICE_DOCUMENT_QUEUED_SERVICES", QUEUED),
            ("SLUICE_REQUEST_WAIT_SECS", "2"),
            ("SLUICE_TAIL_INTERVAL_MS", "100"),
            ("SLUICE_PREFETCH_SCHEDULE", "off"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let api_urls: Vec<String> = (0..APIS)
            .map(|_| format!("http://127.0.0.1:{}", free_port()))
            .collect();
        let convex = start_convex(&folder, address(&convex_url));
        let start_api = |url: &String| start_api(&settings, url);
        let cluster = Self {
            apis: api_urls.iter().map(start_api).collect(),
            workers: (0..WORKERS).map(|_| start_worker(&settings)).collect(),
            client: Client::new(&api_urls[0], &convex_url, DEPLOY_KEY, SECRET),
            valkey,
            convex,
            api_urls,
            convex_url,
            folder,
            settings,
        };
        cluster.wait_until_ready().await;
        cluster
    }

    pub async fn wait_until_ready(&self) {
        for url in &self.api_urls {
            let client = Client::new(url, &self.convex_url, DEPLOY_KEY, SECRET);
            client.wait_until_ready().await;
        }
    }

    pub fn restart_api(&mut self, index: usize) {
        self.apis[index] = start_api(&self.settings, &self.api_urls[index]);
    }

    pub fn restart_worker(&mut self, index: usize) {
        self.workers[index] = start_worker(&self.settings);
    }

    pub fn restart_convex(&mut self) {
        self.convex = start_convex(&self.folder, address(&self.convex_url));
    }

    /// Bytes that Valkey may hold; 0: as many as it likes. Writes beyond them are refused.
    pub fn limit_memory(&self, bytes: u64) {
        redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory", &bytes.to_string()])
            .exec(&mut self.valkey.connection())
            .unwrap();
    }

    /// Valkey loses everything.
    pub fn empty(&self) {
        let mut valkey = self.valkey.connection();
        redis::cmd("FLUSHALL").exec(&mut valkey).unwrap();
    }

    /// How many unfinished jobs each line of each queue holds, unless it is empty.
    pub fn lines(&self) -> BTreeMap<String, u64> {
        let mut valkey = self.valkey.connection();
        let mut count = |key: String| -> (String, u64) {
            let jobs = redis::cmd("ZCARD").arg(&key).query(&mut valkey).unwrap();
            (key, jobs)
        };
        let queues = self.queues();
        let keys = queues
            .iter()
            .flat_map(|queue| LINES.map(|line| format!("sq1:{{{queue}}}:{line}")));
        keys.map(&mut count).filter(|(_, jobs)| *jobs > 0).collect()
    }

    fn queues(&self) -> Vec<String> {
        let mut queues = redis::cmd("SMEMBERS");
        queues.arg("sq1:queues");
        queues.query(&mut self.valkey.connection()).unwrap()
    }
}

fn start_api(settings: &[(String, String)], url: &str) -> Process {
    let mut settings = borrowed(settings);
    settings.push(("SLUICE_LISTEN", address(url)));
    Process::start(&["serve"], &settings)
}

fn start_worker(settings: &[(String, String)]) -> Process {
    Process::start(&["work"], &borrowed(settings))
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}

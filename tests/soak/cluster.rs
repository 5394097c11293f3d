//! Sluice as it is deployed, every part a process that can be killed, stopped and filled.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::process::Stdio;

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
    starter: Starter,
}

/// What processes are started with.
struct Starter {
    settings: Vec<(String, String)>,
    convex_data: TempDir,
    /// Contents of files.
    _objects: TempDir,
    /// Where all of them log.
    log: File,
}

impl Cluster {
    /// Starts all parts, which log into a file of this folder.
    pub async fn start(folder: &Path) -> Self {
        let module = project_root().join(".valkey/lib/rejson.so");
        // What was answered is on the disk: a kill loses nothing that was acknowledged.
        let valkey = TestValkey::start_with(&[
            "--loadmodule",
            module.to_str().unwrap(),
            "--appendfsync",
            "always",
        ]);
        let convex_url = format!("http://127.0.0.1:{}", free_port());
        let objects = tempfile::tempdir().unwrap();
        let objects_url = format!("file://{}", objects.path().display());
        let settings = [
            ("SLUICE_OBJECTS_URL", objects_url.as_str()),
            ("SLUICE_VALKEY_URL", valkey.url().as_str()),
            ("SLUICE_CONVEX_URL", convex_url.as_str()),
            ("SLUICE_CONVEX_KEY", DEPLOY_KEY),
            ("SLUICE_DEV_SECRET", SECRET),
            ("SLUICE_DOCUMENT_QUEUED_SERVICES", QUEUED),
            ("SLUICE_REQUEST_WAIT_SECS", "2"),
            ("SLUICE_TAIL_INTERVAL_MS", "100"),
            ("SLUICE_PREFETCH_SCHEDULE", "* * * * * *"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
        let api_urls: Vec<String> = (0..APIS)
            .map(|_| format!("http://127.0.0.1:{}", free_port()))
            .collect();
        let starter = Starter {
            settings,
            convex_data: tempfile::tempdir().unwrap(),
            _objects: objects,
            log: File::create(folder.join("log")).unwrap(),
        };
        let cluster = Self {
            convex: starter.convex(&convex_url),
            apis: api_urls.iter().map(|url| starter.api(url)).collect(),
            workers: (0..WORKERS).map(|_| starter.worker()).collect(),
            client: Client::new(&api_urls[0], &convex_url, DEPLOY_KEY, SECRET),
            valkey,
            api_urls,
            convex_url,
            starter,
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
        self.apis[index] = self.starter.api(&self.api_urls[index]);
    }

    pub fn restart_worker(&mut self, index: usize) {
        self.workers[index] = self.starter.worker();
    }

    pub fn restart_convex(&mut self) {
        self.convex = self.starter.convex(&self.convex_url);
    }

    /// Changes a setting of the running Valkey.
    pub fn configure_valkey(&self, name: &str, value: &str) {
        redis::cmd("CONFIG")
            .arg(&["SET", name, value])
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

impl Starter {
    fn api(&self, url: &str) -> Process {
        let mut settings = borrowed(&self.settings);
        settings.push(("SLUICE_LISTEN", address(url)));
        Process::start_with_log(&["serve"], &settings, self.log())
    }

    fn worker(&self) -> Process {
        Process::start_with_log(&["work"], &borrowed(&self.settings), self.log())
    }

    fn convex(&self, url: &str) -> Process {
        start_convex(&self.convex_data, address(url), self.log())
    }

    fn log(&self) -> Stdio {
        self.log.try_clone().unwrap().into()
    }
}

fn address(url: &str) -> &str {
    url.trim_start_matches("http://")
}

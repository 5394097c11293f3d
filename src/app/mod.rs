//! The parts of Sluice, connected as the settings say.

use std::sync::Arc;

use sluice_convex::{Client, Files, FilesVia, History};
use sluice_jobs::{JobsConfig, TailConfig};
use sluice_queue::{QueueConfig, Queues};
use sluice_store::Valkey;
use sluice_store::cache::{Cache, CacheConfig};
use sluice_valkey::Address;

use crate::failure::{Context, Failure};
use crate::settings::{DocumentSettings, JobSettings, TailSettings};
use crate::shutdown::JOB_GRACE;

/// What both the API and the workers stand on. Cheap to clone.
#[derive(Clone)]
pub struct App {
    pub queues: Queues,
    pub cache: Cache,
    pub files: Arc<dyn Files>,
    pub history: History,
}

impl App {
    /// Connects to Valkey; Convex is asked when it is first needed.
    pub async fn connect(
        valkey: &Address,
        pool_size: usize,
        cache: CacheConfig,
        payload_limit: usize,
        convex: Client,
        via: FilesVia,
    ) -> Result<Self, Failure> {
        let store = Valkey::open_at(valkey, pool_size).context("cannot use valkey_url")?;
        let config = QueueConfig {
            payload_limit,
            ..QueueConfig::default()
        };
        let queues = Queues::connect_to(valkey.clone(), config)
            .await
            .context("cannot reach Valkey")
            .map_err(|failure| failure.hint("`sluice doctor` checks every connection"))?;
        let gauges = queues.clone();
        tokio::spawn(async move { gauges.keep_gauges().await });
        Ok(Self {
            queues,
            cache: Cache::new(store, cache).context("cannot use the cache's settings")?,
            history: History::new(convex.clone()),
            files: sluice_convex::files(convex, via),
        })
    }
}

/// How this process runs jobs, and follows Convex.
pub fn jobs_config(
    settings: &JobSettings,
    documents: &DocumentSettings,
    tail: &TailSettings,
    history: &History,
) -> JobsConfig {
    JobsConfig {
        concurrency: settings.concurrency,
        losses: settings.losses,
        worker_name: worker_name(),
        prefetch_schedule: schedule(&settings.prefetch_schedule),
        purge_schedule: schedule(&settings.purge_schedule),
        documents: documents.config(),
        drain: JOB_GRACE,
        tail: tail.is_on().then(|| TailConfig {
            history: history.clone(),
            interval: tail.interval(),
            compare_every: tail.compare_every(),
        }),
    }
}

fn schedule(setting: &str) -> Option<String> {
    (setting != "off").then(|| setting.to_owned())
}

/// A name that no other process has, and that says where to look.
fn worker_name() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    let host = match host.trim() {
        "" => "sluice",
        host => host,
    };
    let start: u32 = rand::random();
    format!("{host}-{}-{start:08x}", std::process::id())
}

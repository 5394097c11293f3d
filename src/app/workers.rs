//! The workers of a process: how they run jobs, and follow Convex.

use std::time::Duration;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use sluice_api::Probes;
use sluice_jobs::filesync::SweepConfig;
use sluice_jobs::{JobsConfig, JobsError, TailConfig, run_workers};
use sluice_store::filesync::Retention;
use sluice_store::tail::Tail;

use super::App;
use crate::settings::{DocumentSettings, JobSettings, TailSettings};
use crate::shutdown::{JOB_GRACE, Shutdown};

const DAY_SECS: u64 = 24 * 60 * 60;

impl App {
    /// The probes and metrics of a process of workers.
    pub fn probes(&self, metrics: PrometheusHandle) -> Router {
        let probes = Probes {
            queues: self.queues.clone(),
            files: self.files.clone(),
            tail: Tail::new(self.cache.valkey()),
            needs_convex: false,
        };
        sluice_api::probes(probes, metrics)
    }

    /// Runs jobs until the shutdown, then drains.
    pub fn run_workers(
        &self,
        jobs: &JobSettings,
        documents: &DocumentSettings,
        tail: &TailSettings,
        shutdown: &Shutdown,
    ) -> impl Future<Output = Result<(), JobsError>> + Send + use<> {
        let config = JobsConfig {
            concurrency: jobs.concurrency,
            losses: jobs.losses,
            worker_name: worker_name(),
            prefetch_schedule: schedule(&jobs.prefetch_schedule),
            purge_schedule: schedule(&jobs.purge_schedule),
            device_schedule: schedule(&jobs.device_schedule),
            device_idle: Duration::from_secs(DAY_SECS * jobs.device_idle_days),
            contents: SweepConfig {
                objects: self.objects.clone(),
                sweep_schedule: schedule(&jobs.filesync_sweep_schedule),
                orphans_schedule: schedule(&jobs.filesync_orphans_schedule),
                trim_schedule: schedule(&jobs.filesync_trim_schedule),
                retention: Retention {
                    age: Duration::from_secs(DAY_SECS * jobs.filesync_log_days),
                    entries: jobs.filesync_log_entries,
                    version_age: Duration::from_secs(DAY_SECS * jobs.filesync_version_days),
                },
            },
            documents: documents.config(),
            drain: JOB_GRACE,
            tail: tail.is_on().then(|| TailConfig {
                history: self.history.clone(),
                tenant: tail.tenant(),
                interval: tail.interval(),
                compare_every: tail.compare_every(),
            }),
        };
        run_workers(
            self.queues.clone(),
            self.cache.clone(),
            self.files.clone(),
            config,
            shutdown.token(),
        )
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

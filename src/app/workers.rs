//! The workers of a process: how they run jobs, and follow Convex.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use sluice_api::Probes;
use sluice_jobs::filesync::SweepConfig;
use sluice_jobs::schedules::{Missed, Schedule};
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
            host: host(),
            schedules: schedules(jobs),
            device_idle: Duration::from_secs(DAY_SECS * jobs.device_idle_days),
            contents: SweepConfig {
                objects: self.objects.clone(),
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

/// The schedules that settings name, and those of the file, which take the place of others of
/// their name.
fn schedules(jobs: &JobSettings) -> Vec<(String, Schedule)> {
    // The next prefetch comes soon; what the others do has to be done.
    let settings = [
        ("prefetch", "sweep", &jobs.prefetch_schedule, Missed::Skip),
        ("purge", "purge", &jobs.purge_schedule, Missed::Once),
        (
            "sleep-devices",
            "sleep-devices",
            &jobs.device_schedule,
            Missed::Once,
        ),
        (
            "filesync-sweep",
            "filesync-sweep",
            &jobs.filesync_sweep_schedule,
            Missed::Once,
        ),
        (
            "filesync-orphans",
            "filesync-orphans",
            &jobs.filesync_orphans_schedule,
            Missed::Once,
        ),
        (
            "filesync-trim",
            "filesync-trim",
            &jobs.filesync_trim_schedule,
            Missed::Once,
        ),
    ];
    let set = settings
        .into_iter()
        .filter(|(_, _, cron, _)| *cron != "off");
    let mut all: BTreeMap<String, Schedule> = set
        .map(|(name, queue, cron, missed)| {
            let schedule = Schedule {
                zone: jobs.schedule_zone.clone(),
                missed,
                ..Schedule::new(cron, queue)
            };
            (name.to_owned(), schedule)
        })
        .collect();
    all.extend(jobs.schedules.clone().unwrap_or_default().0);
    all.into_iter().collect()
}

/// The name of this machine.
fn host() -> String {
    let host = std::fs::read_to_string("/etc/hostname").unwrap_or_default();
    match host.trim() {
        "" => "localhost".to_owned(),
        host => host.to_owned(),
    }
}

/// A name that no other process has, and that says where to look.
fn worker_name() -> String {
    let start: u32 = rand::random();
    format!("{}-{}-{start:08x}", host(), std::process::id())
}

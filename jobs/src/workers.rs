//! The registry: which jobs a worker process serves, and how it starts and stops.

use std::sync::Arc;
use std::time::Duration;

use apalis::prelude::{Data, Monitor, WorkerBuilder};
use sluice_convex::files::Files;
use sluice_queue::{Process, Queues, Running, WorkerConfig};
use sluice_store::cache::Cache;
use sluice_store::documents::{Documents, DocumentsConfig};
use sluice_store::filesync::Filesync;
use tokio_util::sync::CancellationToken;

use crate::context::Context;
use crate::documents::{Purge, WriteDocument};
use crate::filesync::{SleepDevices, SweepConfig, SweepContents, SweepOrphans, TrimShares};
use crate::job::{Job, handle};
use crate::meta::{Invalidate, Prefetch, Sweep, Sync};
use crate::schedules::{self, InvalidSchedule, Schedule};
use crate::tail::{self, TailConfig};

/// The queues that workers serve.
pub const QUEUES: [&str; 10] = [
    Sync::QUEUE,
    Prefetch::QUEUE,
    Invalidate::QUEUE,
    WriteDocument::QUEUE,
    Sweep::QUEUE,
    Purge::QUEUE,
    SleepDevices::QUEUE,
    SweepContents::QUEUE,
    SweepOrphans::QUEUE,
    TrimShares::QUEUE,
];

/// How a worker process works.
#[derive(Debug, Clone)]
pub struct JobsConfig {
    /// Jobs of one kind that run at the same time.
    pub concurrency: usize,
    /// How many leases in a row a job may lose before it is dead, whatever its attempts.
    pub losses: u32,
    /// The process's name on the board; need not be unique.
    pub worker_name: String,
    /// The machine that the process runs on, for operators.
    pub host: String,
    /// What happens by the clock, by name.
    pub schedules: Vec<(String, Schedule)>,
    /// How long a device may not be seen before it is put to sleep.
    pub device_idle: Duration,
    /// Where contents of files are, and when they are swept.
    pub contents: SweepConfig,
    /// Limits of documents, and how long deleted ones are kept; as the API has them.
    pub documents: DocumentsConfig,
    /// How long running jobs may go on after the shutdown began. What runs longer is asked to stop
    /// and goes back to the queue, which takes up to 4 s more.
    pub drain: Duration,
    /// How Convex is followed; `None`: not by this process.
    pub tail: Option<TailConfig>,
}

/// Why workers could not run.
#[derive(Debug, thiserror::Error)]
pub enum JobsError {
    /// A configured schedule is one that no worker can fire.
    #[error("the schedule {name}: {reason}")]
    Schedule {
        /// Which.
        name: String,
        /// Why.
        reason: InvalidSchedule,
    },
    /// A worker ended for good.
    #[error("a worker failed: {0}")]
    Worker(String),
}

/// Serves all queues until `shutdown`, then drains.
///
/// # Errors
/// When the schedule does not parse, or when a worker ends for another reason than the shutdown.
pub async fn run_workers(
    queues: Queues,
    cache: Cache,
    files: Arc<dyn Files>,
    config: JobsConfig,
    shutdown: CancellationToken,
) -> Result<(), JobsError> {
    for (name, schedule) in &config.schedules {
        let name = name.clone();
        let checked = schedule.check(&name);
        checked.map_err(|reason| JobsError::Schedule { name, reason })?;
    }
    let context = Context {
        // All of it is kept where the cache is.
        documents: Documents::new(cache.valkey(), config.documents.clone()),
        filesync: Filesync::new(cache.valkey()),
        device_idle: config.device_idle,
        retention: config.contents.retention.clone(),
        objects: config.contents.objects.clone(),
        cache,
        files,
        queues,
    };
    let mut monitor = Monitor::new();
    monitor = serve::<Sync>(monitor, &context, &config);
    monitor = serve::<Prefetch>(monitor, &context, &config);
    monitor = serve::<Invalidate>(monitor, &context, &config);
    monitor = serve::<WriteDocument>(monitor, &context, &config);
    monitor = serve::<Sweep>(monitor, &context, &config);
    monitor = serve::<Purge>(monitor, &context, &config);
    monitor = serve::<SleepDevices>(monitor, &context, &config);
    monitor = serve::<SweepContents>(monitor, &context, &config);
    monitor = serve::<SweepOrphans>(monitor, &context, &config);
    monitor = serve::<TrimShares>(monitor, &context, &config);
    // Ends with this function, whichever way that ends.
    let ended = shutdown.child_token();
    let _end_tail = ended.clone().drop_guard();
    let process = Process {
        id: config.worker_name.clone(),
        host: config.host.clone(),
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let shown = {
        let (queues, process, shutdown) =
            (context.queues.clone(), process.clone(), shutdown.clone());
        let ended = ended.clone();
        tokio::spawn(ended.run_until_cancelled_owned(async move {
            queues.show_process(&process).await;
            tracing::info!("an operator asked this process to end");
            shutdown.cancel();
        }))
    };
    let fired = schedules::run(context.queues.clone(), config.schedules.clone());
    let fired = tokio::spawn(ended.clone().run_until_cancelled_owned(fired));
    let tail = config.tail.map(|tail| {
        let (cache, files) = (context.cache.clone(), context.files.clone());
        let worker = config.worker_name.clone();
        tokio::spawn(tail::run(cache, files, tail, worker, ended))
    });
    monitor
        .run_with_signal(async move {
            shutdown.cancelled().await;
            // It has nothing to finish: its lease is free before the jobs have drained.
            if let Some(tail) = tail {
                let _ = tail.await;
            }
            context.queues.drain(config.drain).await;
            let _ = tokio::join!(shown, fired);
            context.queues.leave(&process).await;
            Ok(())
        })
        .await
        .map_err(|error| JobsError::Worker(error.to_string()))
}

/// Registers a worker for the queue of `J`.
fn serve<J: Job>(monitor: Monitor, context: &Context, config: &JobsConfig) -> Monitor {
    let context = context.clone();
    let worker = WorkerConfig {
        losses: config.losses,
        ..WorkerConfig::new(&config.worker_name, config.concurrency)
    };
    monitor.register(move |_| {
        WorkerBuilder::new(format!("{}-{}", J::QUEUE, worker.name))
            .backend(context.queues.backend(J::QUEUE, worker.clone()))
            .data(context.clone())
            .build(async |running: Running, context: Data<Context>| {
                handle::<J>((*context).clone(), running).await
            })
    })
}

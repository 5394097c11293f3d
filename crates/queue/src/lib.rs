//! A job queue on Valkey, and a backend for [apalis](https://docs.rs/apalis).
//!
//! [`ValkeyStorage`] holds tasks of one type: it pushes them, feeds a worker, waits for results and
//! lists tasks, by the traits that apalis' own backends implement.
//!
//! ```no_run
//! use apalis::prelude::*;
//! use serde::{Deserialize, Serialize};
//! use sluice_queue::{QueueConfig, Queues, ValkeyStorage};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Email {
//!     to: String,
//! }
//!
//! async fn send(email: Email) -> Result<(), BoxDynError> {
//!     println!("to {}", email.to);
//!     Ok(())
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), BoxDynError> {
//!     let queues = Queues::connect("redis://127.0.0.1", QueueConfig::default()).await?;
//!     let mut emails = ValkeyStorage::<Email>::new(&queues, "emails");
//!     emails.push(Email { to: "ann@example.com".into() }).await?;
//!
//!     let worker = WorkerBuilder::new("sender").backend(emails).build(send);
//!     worker.run().await?;
//!     Ok(())
//! }
//! ```
//!
//! [`Queues`] is the handle to all queues, and does what apalis does not name: it adds jobs with
//! all their [options](NewJob), in chains and in batches, watches, cancels, retries and deletes
//! them, pauses and limits queues, and drains a process. A handler may take the [`Run`] as an
//! argument, for its progress, log, checkpoint and cancellation. One that decodes the payload
//! itself gets a [`Running`] from [`Queues::backend`], and returns a [`HandlerResult`].
//! `examples/` has a file for each feature.
//!
//! # The life of a job
#![doc = include_str!("../docs/states.md")]
//!
//! [`keys`] lists every key, structure and time-out.
//!
//! # What is guaranteed
#![doc = include_str!("../docs/guarantees.md")]
//!
//! # Metrics
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `sluice_queue_depth` | gauge | `queue`, `state` |
//! | `sluice_queue_oldest_waiting_seconds`, `sluice_queue_paused`, `sluice_queue_workers` | gauge | `queue` |
//! | `sluice_queue_enqueued_total` | counter | `queue`, `outcome`: new, existing, conflict, ended (its batch), skipped (with the start of its chain), full (the queue) |
//! | `sluice_queue_jobs_total` | counter, ended runs | `queue`, `outcome`: completed, refused, retry, deferred, dead, cancelled, released, yielded, lost, unrecorded |
//! | `sluice_queue_rescued_total` | counter, runs of lost workers | `queue`, `outcome`: rescued, buried (they are dead) |
//! | `sluice_queue_set_aside_total` | counter, jobs of a newer version than the worker knows | `queue` |
//! | `sluice_queue_mended_total` | counter, jobs with damaged keys | `queue` |
//! | `sluice_queue_damaged_total` | counter, jobs that cannot be run as they are kept | `queue` |
//! | `sluice_queue_wait_seconds`, `sluice_queue_run_seconds` | histogram | `queue` |
//! | `sluice_queue_command_seconds` | histogram | `command` |
//! | `sluice_queue_command_retries_total` | counter | `command` |
//! | `sluice_queue_heartbeats_failed_total` | counter | |
//!
//! [`describe_metrics`] gives them their help and their first 0; [`Queues::keep_gauges`] keeps the
//! gauges.
//!
//! # apalis
//!
//! [`ValkeyStorage`] lists which of apalis' traits it implements. What differs from other backends:
//!
//! - A handler's failure is one to apalis' layers and events, and a failed attempt of the job: the
//!   queue tries again after its [backoff](WorkerConfig::backoff), as often as the task may, over
//!   all workers. A layer that retries does so within one attempt. [`LeaseService`] says what the
//!   errors of apalis and of this crate mean. A result that could not be recorded is a failure.
//! - Fetching, heartbeats and runs are tasks of their own, because apalis runs all handlers of a
//!   worker inside of one task and does not poll the backend while they end. So
//!   [`WorkerConfig::concurrency`] is the bound that counts, handlers run in parallel, and a panic
//!   is a failed attempt; under a `catch_panic` layer, which aborts, it is the last one.
//! - Polling never fails: while Valkey is away the worker waits.
//!
//! All of it is in the module `apalis`; the rest of the crate knows nothing of it.

mod apalis;
mod audit;
mod backoff;
mod batch;
mod calls;
mod chain;
mod enqueue;
mod error;
mod events;
mod group_commit;
mod history;
mod id;
mod job;
pub mod keys;
#[cfg(test)]
mod model;
mod operate;
mod processes;
mod queues;
mod rate;
mod read;
mod schedules;
mod script;
mod search;
mod stats;
mod telemetry;
mod unique;
mod worker;

pub use apalis::{JsonCodec, LeaseLayer, LeaseService, RawBackend, ValkeyStorage};
pub use audit::Action;
pub use backoff::Backoff;
pub use batch::{BatchCounts, BatchId, BatchView, NewBatch};
pub use chain::Chained;
pub use error::QueueError;
pub use history::{History, Period, Slice, Times};
pub use id::JobId;
pub use job::{
    AttemptError, Enqueued, Finished, Idempotency, JobView, LogLevel, LogLine, NewJob, State,
};
pub use keys::{
    BACKLOG_LIMIT, CHAIN_LIMIT, CHECKPOINT_LIMIT, DELAY_LIMIT, Keep, LINE_LIMIT, LOG_LIMIT,
    LOG_LINES, NAME_LIMIT, PAGE_LIMIT, PAUSE_LIMIT, PAUSES_LIMIT, PAYLOAD_LIMIT, PERIOD_LIMIT,
    PROGRESS_INTERVAL, PROGRESS_LIMIT, RATE_LIMIT, RESULT_LIMIT, Retention, SCHEDULES_LIMIT,
    SLIDING_LIMIT, STOP_GRACE, UNDO,
};
pub use operate::{Applied, JobFilter, Limits, Operation, Retried, RetriedAll};
pub use processes::{Load, Process, ProcessView, Signal, Signalled};
pub use queues::{QueueConfig, Queues};
pub use rate::{Rate, Rates};
pub use schedules::{KeptSchedule, KeptSchedules};
pub use search::{Counted, Found, JobQuery, Place, SEARCH_LIMIT};
pub use sluice_valkey::{Address, Fault, Valkey, ValkeyConfig};
pub use stats::QueueStats;
pub use telemetry::describe_metrics;
pub use unique::Unique;
pub use worker::{HandlerResult, JobError, Run, Running, WorkerConfig};

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
//!
//! ```text
//!     ┌── later in a chain, ► waiting ── the others have ended ──► as enqueued
//!     │     or a callback
//!     │      delay, run-at         due
//!  enqueue ───────────► scheduled ─────┐      ┌─ released, rescued ─┐
//!     │                                ▼      ▼                     │       result or refusal
//!     └─────────────────────────────► available ─── fetch ───► running ────────────────────► completed
//!                                      ▲      ▲                 │   │  fatal, last attempt
//!                                  due │      │                 │   └─────────────────────► dead
//!                                      │      └─ by operator    │ failed
//!                                      │         (dead,         │
//!                                  retrying       cancelled,    │
//!                                      ▲          refused)      │
//!                                      └────────────────────────┘
//!
//!  waiting, scheduled, available, retrying ─── cancel, at once ──┐
//!  running ─── cancel, through its token ────────────────────────┴─────────────────────────► cancelled
//! ```
//!
//! Every transition is one Lua function in `lua/queue/`; none takes more than one step from here,
//! so a process may die anywhere. [`keys`] lists every key, structure and time-out.
//!
//! # What is guaranteed
//!
//! - **At least once.** A job that was enqueued runs until it is completed, cancelled or dead. A
//!   worker holds a *lease* on what it runs and extends it from a thread of its own, so neither
//!   full load nor a handler that blocks loses it. When a worker dies its leases run out (after 6
//!   s), and a live worker that waits fetches at that moment.
//! - **An attempt counts whatever ends it**, a crash too, so a job that kills its workers ends as a
//!   dead letter. What was fetched and never started (a drain, a lost answer) is not counted. A job
//!   says [how many attempts](NewJob::max_attempts) it has, without a bound too, and
//!   [how long it waits](NewJob::backoff) between them.
//! - **Fenced.** Each run has a token. A run that lost its lease can no longer complete, report
//!   progress or save a checkpoint; its [cancellation token](Run::cancelled) fires, and the
//!   handler is dropped [`STOP_GRACE`] later. Outside effects of a handler must be idempotent, or
//!   fenced in their turn.
//! - **An absence of Valkey costs no lease**: when no worker could fetch for longer than a lease,
//!   workers get half a lease to extend theirs before anything is taken from them. Ends of runs are
//!   recorded when it is back, for up to a minute.
//! - **Damage is mended.** Workers walk over all jobs, slowly, and put right what was deleted:
//!   running jobs without a lease, leases without a job, jobs that are in no list, groups whose
//!   first job is gone.
//! - **Order.** By priority, then first come first served, by the server's clock (one that is set
//!   back while the server is down, or is behind on a replica that takes over, lets later jobs go
//!   first for as long); released, rescued and retried jobs go back to the place they had, retried
//!   by an operator to the end. Of a group one job runs at a time, in the order of enqueueing. A
//!   job that waits for its next attempt keeps the head of its group, which blocks the group no
//!   longer than its attempts and their pauses last; a delayed job joins the group when it is due.
//! - **Due to the millisecond.** A job with a [delay](NewJob::delay) or a
//!   [time to run at](NewJob::run_at) starts not before that, by the server's clock. Workers know
//!   when the next one is due, and are woken when an earlier one is added.
//! - **Unique means one.** What counts as [the same](Unique) is there once, however many enqueue it
//!   at a time: while it is unfinished, for as long as it is kept, or once in each period.
//! - **Paused means paused.** [`Queues::pause`] holds for all processes, survives their restarts
//!   and Valkey's, and takes nothing from what runs.
//! - **Old workers leave new jobs alone.** A worker that declares the
//!   [highest version](WorkerConfig::version) it knows sets newer jobs aside; a worker that knows
//!   them is woken and puts them back. Among those that were set aside the order of creation
//!   counts.
//! - **Limits hold over all workers.** [`Queues::set_limits`] bounds how many jobs of a queue, and
//!   of each user in it, run at a time. Users at their limit take turns; their jobs cost nothing
//!   while they wait.
//! - **Rates hold over all workers.** [`Queues::set_rates`] bounds how many jobs of a queue, and of
//!   each user in it, start in a time: by a fixed or sliding window or a token bucket. What waits
//!   costs nothing: workers sleep until the next job may start, and a user who has used up the rate
//!   is out of the others' way until then.
//! - **Long jobs need not be in the way.** One that ends with [`JobError::Yield`] between two of
//!   its steps goes to the end of its line, behind others of its priority, and goes on there from
//!   its checkpoint.
//! - **A log with the job.** [`Run::log`] adds lines that are kept and shown with the job,
//!   within bounds, and only by the run that holds the lease.
//! - **Chains and batches survive whatever happens.** A [chain](Queues::enqueue_chain) runs jobs
//!   one after the other, each with the result of the one before it. A [batch](Queues::open_batch)
//!   counts how its jobs end and calls back once when all have, and once when all have completed.
//!   The step from one job to the next, and to a callback, is part of the script that ends the job,
//!   and costs the same however many there are. All jobs of a chain or batch are in one queue,
//!   which is one slot.
//! - **Nothing is polled that can be pushed**: one subscription per process wakes workers, waiters
//!   and watchers; a slow poll behind it makes up for whatever it may miss.
//!
//! # Metrics
//!
//! | name | kind | labels |
//! |---|---|---|
//! | `sluice_queue_depth` | gauge | `queue`, `state` |
//! | `sluice_queue_oldest_waiting_seconds`, `sluice_queue_paused`, `sluice_queue_workers` | gauge | `queue` |
//! | `sluice_queue_enqueued_total` | counter | `queue`, `outcome`: new, existing, conflict, ended (its batch), skipped (with the start of its chain) |
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
mod backoff;
mod batch;
mod chain;
mod enqueue;
mod error;
mod events;
mod group_commit;
mod id;
mod job;
pub mod keys;
mod lane;
#[cfg(test)]
mod model;
mod operate;
mod queues;
mod rate;
mod read;
mod script;
mod stats;
mod telemetry;
mod unique;
mod worker;

pub use apalis::{JsonCodec, LeaseLayer, LeaseService, RawBackend, ValkeyStorage};
pub use backoff::Backoff;
pub use batch::{BatchCounts, BatchId, BatchView, NewBatch};
pub use chain::Chained;
pub use error::QueueError;
pub use id::JobId;
pub use job::{
    AttemptError, Enqueued, Finished, Idempotency, JobView, LogLevel, LogLine, NewJob, State,
};
pub use keys::{
    CHAIN_LIMIT, CHECKPOINT_LIMIT, DELAY_LIMIT, Keep, LINE_LIMIT, LOG_LIMIT, LOG_LINES, NAME_LIMIT,
    PAGE_LIMIT, PAUSE_LIMIT, PAUSES_LIMIT, PAYLOAD_LIMIT, PERIOD_LIMIT, PROGRESS_INTERVAL,
    PROGRESS_LIMIT, RATE_LIMIT, RESULT_LIMIT, Retention, SLIDING_LIMIT, STOP_GRACE,
};
pub use operate::{JobFilter, Limits, Retried, RetriedAll};
pub use queues::{QueueConfig, Queues};
pub use rate::{Rate, Rates};
pub use sluice_valkey::{Address, Fault, Valkey, ValkeyConfig};
pub use stats::QueueStats;
pub use telemetry::describe_metrics;
pub use unique::Unique;
pub use worker::{HandlerResult, JobError, Run, Running, WorkerConfig};

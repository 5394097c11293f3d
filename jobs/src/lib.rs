//! What Sluice's workers do.
//!
//! A folder per surface, a file per job: [`meta`], [`documents`] and [`filesync`]. A job is a small type that
//! implements [`Job`]: the request as the queue keeps it, constants (its queue, attempts and
//! version), and a `run`. The registry that turns them into workers is [`run_workers`]. Beside them
//! runs the `tail`, which is no job: it never ends. Retries, leases and dead letters belong to the
//! queue; a job only says of each failure whether trying again can help.
//!
//! Every job may run twice and may be killed at any line. Its effects are therefore scripts that
//! either happened or did not, and what must survive from one attempt to the next is saved as the
//! job's checkpoint.

mod context;
pub mod documents;
mod failure;
pub mod filesync;
mod job;
pub mod meta;
mod refusal;
pub mod schedules;
mod tail;
mod telemetry;
mod workers;

pub use context::Context;
pub use failure::Failure;
pub use job::Job;
pub use refusal::{NoRefusal, Refusal};
pub use tail::TailConfig;
pub use telemetry::describe_metrics;
pub use workers::{JobsConfig, JobsError, QUEUES, run_workers};

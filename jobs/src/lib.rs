//! What Sluice's workers do.
//!
//! One file per job: `sync`, `prefetch`, `invalidate`, `document`, `purge`. A job is a small type
//! with constants (its queue, attempts and payload version) and a `run`; the registry that turns
//! them into workers is [`run_workers`]. Beside them runs the `tail`, which is no job: it never
//! ends. Retries, leases and dead letters belong to the queue; a job only says of each failure
//! whether trying again can help.
//!
//! Every job may run twice and may be killed at any line. Its effects are therefore scripts that
//! either happened or did not, and what must survive from one attempt to the next is saved as the
//! job's checkpoint.

mod context;
mod document;
mod failure;
mod invalidate;
mod job;
mod late_changes;
mod prefetch;
mod purge;
mod ranking;
mod requests;
mod schedule;
mod sync;
mod tail;
mod telemetry;
mod workers;

pub use context::Context;
pub use document::DocumentAnswer;
pub use requests::{
    DOCUMENTS_QUEUE, DocumentRequest, InvalidateRequest, InvalidateType, PrefetchRequest, Refusal,
    Request, SyncRequest, SyncType,
};
pub use schedule::{ScheduleError, parse_schedule, schedule_interval};
pub use tail::TailConfig;
pub use telemetry::describe_metrics;
pub use workers::{JobsConfig, JobsError, QUEUES, run_workers};

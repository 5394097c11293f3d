//! placeholder docs
mod error;
mod events;
mod id;
mod job;
pub mod keys;
mod lane;
mod queues;
mod script;
mod worker;

pub use error::QueueError;
pub use id::JobId;
pub use job::{AttemptError, Enqueued, Finished, Idempotency, JobView, NewJob, QueueStats, State};
pub use keys::{
    CHECKPOINT_LIMIT, Keep, PAYLOAD_LIMIT, PROGRESS_INTERVAL, PROGRESS_LIMIT, RESULT_LIMIT,
    Retention, STOP_GRACE,
};
pub use queues::{QueueConfig, Queues};
pub use worker::{
    Backoff, HandlerResult, JobError, LeaseLayer, LeaseService, Running, ValkeyBackend,
    WorkerConfig,
};

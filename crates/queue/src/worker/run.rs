//! One run of a job, as its handler sees it.

use std::ops::Deref;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_valkey::Repeat;
use tokio_util::sync::CancellationToken;

use super::fetched::{Attributes, Fetched};
use super::finish::bury;
use super::lease::{Lease, SaveStatus, Slot};
use super::log::Log;
use super::progress::Progress;
use crate::job::check_size;
use crate::keys::{CHECKPOINT_LIMIT, PROGRESS_LIMIT, root};
use crate::{JobId, LogLevel, QueueError, Queues};

/// One run of a job: what a handler knows of it, and what it reports. All clones are the same run.
#[derive(Clone)]
pub struct Run(Arc<RunState>);

struct RunState {
    queues: Queues,
    lease: Arc<Lease>,
    job: Attributes,
    progress: Progress,
    log: Log,
    /// Until the handler starts; then it is given up once the end of the run is recorded.
    slot: Mutex<Option<Slot>>,
}

/// A run together with the payload, which the handler decodes.
pub struct Running {
    pub(crate) run: Run,
    pub(crate) payload: Vec<u8>,
}

impl Running {
    pub(super) fn new(queues: Queues, lease: Arc<Lease>, slot: Slot, job: Fetched) -> Self {
        Self {
            run: Run(Arc::new(RunState {
                queues,
                lease,
                job: job.attributes,
                progress: Progress::new(),
                log: Log::default(),
                slot: Mutex::new(Some(slot)),
            })),
            payload: job.payload,
        }
    }

    /// What was enqueued.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, QueueError> {
        Ok(serde_json::from_slice(&self.payload)?)
    }

    /// Makes the job a dead letter, for what it is cannot be run.
    pub(crate) fn bury(self, reason: String) {
        bury(self.queues(), self.lease(), self.take_slot(), reason);
    }
}

impl Deref for Running {
    type Target = Run;

    fn deref(&self) -> &Run {
        &self.run
    }
}

impl Run {
    /// The job.
    pub fn id(&self) -> &JobId {
        &self.0.lease.id
    }

    /// What came before leaves this job: for one of a [chain](Queues::enqueue_chain) the result of
    /// the job before it, for a callback of a [batch](Queues::open_batch) the batch's
    /// [`BatchCounts`](crate::BatchCounts). None for all others.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<Option<T>, QueueError> {
        let input = self.0.job.input.as_deref();
        Ok(input.map(serde_json::from_slice).transpose()?)
    }

    /// The version of the payload's shape.
    pub fn version(&self) -> u32 {
        self.0.job.version
    }

    /// On whose behalf the job runs.
    pub fn user(&self) -> Option<&str> {
        self.0.job.user.as_deref()
    }

    /// Which attempt this is, from 1; runs that ended with their worker are counted.
    pub fn attempt(&self) -> u32 {
        self.0.job.attempt
    }

    /// How many attempts there may be; None: until one succeeds.
    pub fn max_attempts(&self) -> Option<u32> {
        self.0.job.max_attempts
    }

    /// The trace the job belongs to.
    pub fn trace(&self) -> Option<&str> {
        self.0.job.trace.as_deref()
    }

    /// Fires when the run shall end: an operator cancelled the job, another worker has it, or the
    /// process ends and its grace period is over. The handler is dropped
    /// [`STOP_GRACE`](crate::STOP_GRACE) later.
    pub fn cancelled(&self) -> CancellationToken {
        self.0.lease.stopped.clone()
    }

    /// Shows how far the job is. Sent at most every
    /// [`PROGRESS_INTERVAL`](crate::PROGRESS_INTERVAL); of values in between the last one counts,
    /// and it is never lost. At most [`PROGRESS_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], [`QueueError::TooLarge`], and when Valkey does not answer.
    pub async fn progress(&self, value: &impl Serialize) -> Result<(), QueueError> {
        let value = serde_json::to_string(value)?;
        check_size("progress", value.len(), PROGRESS_LIMIT)?;
        self.0.progress.report(self, value).await
    }

    /// Asks Valkey whether this run still has its job. A process that stood still may wake up after
    /// the job was run by another and ended, and what it reads from then on, it reads too late:
    /// what a handler relies on, it reads before this.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when not, and when Valkey does not answer.
    pub async fn confirm(&self) -> Result<(), QueueError> {
        self.save(None).await
    }

    /// Adds a line to the job's log, which operators see with the job and which goes with it. Costs
    /// no waiting: lines are sent together each [`PROGRESS_INTERVAL`](crate::PROGRESS_INTERVAL) and
    /// before the run ends. Of a job's lines the last [`LOG_LINES`](crate::LOG_LINES) are kept, up
    /// to [`LOG_LIMIT`](crate::LOG_LIMIT) bytes; what has more than
    /// [`LINE_LIMIT`](crate::LINE_LIMIT) bytes is cut. Lines of a run that has lost its lease are
    /// dropped.
    pub fn log(&self, level: LogLevel, text: impl AsRef<str>) {
        self.0.log.add(self, level, text.as_ref());
    }

    /// What an earlier attempt saved, if it still has the shape of `T`.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.0.job.checkpoint.as_deref()?).ok()
    }

    /// Keeps something for the next attempt, should this one fail. At most [`CHECKPOINT_LIMIT`]
    /// bytes.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], [`QueueError::TooLarge`], and when Valkey does not answer.
    pub async fn save_checkpoint(&self, value: &impl Serialize) -> Result<(), QueueError> {
        let value = serde_json::to_string(value)?;
        check_size("checkpoint", value.len(), CHECKPOINT_LIMIT)?;
        self.save(Some(("checkpoint", &value))).await
    }

    /// Stores a field and its value, or nothing, if the run still has the job.
    pub(super) async fn save(&self, field: Option<(&str, &str)>) -> Result<(), QueueError> {
        let (shared, id) = (&self.0.queues.shared, self.id());
        let saved: SaveStatus = shared
            .calls
            .function(
                &shared.scripts.save,
                &root(id.queue()),
                Repeat::Safe,
                |command| {
                    command.arg(id.job()).arg(&*self.0.lease.run);
                    if let Some((name, value)) = field {
                        command.arg(name).arg(value);
                    }
                },
            )
            .await?;
        match saved {
            SaveStatus::Saved => Ok(()),
            SaveStatus::Lost => Err(QueueError::LeaseLost(id.clone())),
        }
    }

    pub(super) fn queues(&self) -> &Queues {
        &self.0.queues
    }

    pub(super) fn lease(&self) -> &Arc<Lease> {
        &self.0.lease
    }

    pub(super) fn job(&self) -> &Attributes {
        &self.0.job
    }

    pub(super) fn reported(&self) -> &Progress {
        &self.0.progress
    }

    pub(super) fn logged(&self) -> &Log {
        &self.0.log
    }

    /// The worker's place that the run takes up; none when its handler has started before.
    pub(super) fn take_slot(&self) -> Option<Slot> {
        let mut slot = self.0.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.take()
    }
}

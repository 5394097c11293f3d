//! What a handler gets, and what it may return.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::{ParsingError, Value, from_redis_value};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::{RawValue, to_raw_value};
use sluice_valkey::Fault;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::lease::{Lease, Slot};
use super::log::Log;
use crate::job::{check_size, limited};
use crate::keys::{CHECKPOINT_LIMIT, PROGRESS_INTERVAL, PROGRESS_LIMIT, VERSION, root};
use crate::{Backoff, JobId, LogLevel, QueueError, Queues};

/// What a handler returns: the job's result, whatever can be written as JSON of at most
/// [`RESULT_LIMIT`](crate::RESULT_LIMIT) bytes.
pub type HandlerResult<T = Box<RawValue>> = Result<T, JobError>;

/// How a run may end without a result.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// Something went wrong that may be better next time: the job is tried again after a pause, as
    /// often as it may.
    #[error("{0}")]
    Retry(String),
    /// Valkey was away or busy: the job is tried again after a pause, and the attempt does not
    /// count, for the first [`OUTAGES`](crate::keys::OUTAGES) times.
    #[error("{0}")]
    Outage(String),
    /// The job ran and its answer is "no", for the given reason: it is completed and never tried
    /// again.
    #[error("refused: {0}")]
    Refuse(Box<RawValue>),
    /// It cannot ever succeed: straight to the dead letters.
    #[error("{0}")]
    Fatal(String),
    /// It has done a part and lets others go first: it joins the end of its line, and the attempt
    /// does not count. What the next run has to know is [saved](Running::save_checkpoint) before.
    #[error("to be continued")]
    Yield,
    /// It ended because it was asked to.
    #[error("cancelled")]
    Cancelled,
}

impl JobError {
    /// [`JobError::Refuse`], for a reason that can be written as JSON.
    pub fn refuse(reason: &impl Serialize) -> Self {
        to_raw_value(reason).map_or_else(Self::unwritable, Self::Refuse)
    }

    /// The end of a run whose outcome cannot be written as JSON.
    #[expect(clippy::needless_pass_by_value, reason = "as `map_err` calls it")]
    pub(super) fn unwritable(error: serde_json::Error) -> Self {
        Self::Fatal(format!("its outcome is no JSON: {error}"))
    }
}

/// What a run's own calls of the queue fail with: [`JobError::Fatal`] what is kept of the job in
/// another shape, [`JobError::Outage`] a Valkey that is away or busy, [`JobError::Retry`] all else.
impl From<QueueError> for JobError {
    fn from(error: QueueError) -> Self {
        let message = error.to_string();
        match error {
            QueueError::Json(_) | QueueError::Malformed(_) => Self::Fatal(message),
            error if error.fault().is_some_and(Fault::is_brief) => Self::Outage(message),
            _ => Self::Retry(message),
        }
    }
}

/// One run of a job.
pub struct Running {
    pub(super) queues: Queues,
    pub(super) lease: Arc<Lease>,
    pub(super) job: Fetched,
    pub(super) progress: Arc<Progress>,
    pub(super) log: Arc<Log>,
    /// Taken by the middleware, which gives it up when the run is recorded.
    pub(super) slot: Option<Slot>,
}

/// A job as the fetch script returns it.
pub(super) struct Fetched {
    pub payload: Vec<u8>,
    pub version: u32,
    pub user: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    pub max_attempts: Option<u32>,
    pub backoff: Option<Backoff>,
    pub checkpoint: Option<Vec<u8>>,
    pub trace: Option<String>,
    pub input: Option<Vec<u8>>,
    /// When it became available, if that is not when it was added; in ms since 1970.
    pub run_at: Option<u64>,
}

impl Fetched {
    /// As most jobs are.
    pub fn new(payload: Vec<u8>) -> Self {
        Self {
            payload,
            version: VERSION,
            user: None,
            attempt: 1,
            max_attempts: limited(None),
            backoff: None,
            checkpoint: None,
            trace: None,
            input: None,
            run_at: None,
        }
    }

    /// Reads one of the fields that a job may have besides.
    pub fn set(&mut self, name: &str, value: Value) -> Result<(), ParsingError> {
        match name {
            "version" => self.version = from_redis_value(value)?,
            "turn" => {} // is for the script alone
            "user" => self.user = Some(from_redis_value(value)?),
            "max_attempts" => self.max_attempts = limited(Some(from_redis_value(value)?)),
            "backoff" => {
                let json: String = from_redis_value(value)?;
                // A shape that this version does not know is no reason not to run.
                self.backoff = serde_json::from_str(&json).ok();
            }
            "trace" => self.trace = Some(from_redis_value(value)?),
            "input" => self.input = Some(from_redis_value(value)?),
            "checkpoint" => self.checkpoint = Some(from_redis_value(value)?),
            "run_at" => self.run_at = Some(from_redis_value(value)?),
            "attempts" => self.attempt = 1 + from_redis_value::<u32>(value)?,
            _ => return Err(format!("field {name:?}").into()),
        }
        Ok(())
    }
}

impl Running {
    /// The job.
    pub fn id(&self) -> &JobId {
        &self.lease.id
    }

    /// What was enqueued.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, QueueError> {
        Ok(serde_json::from_slice(&self.job.payload)?)
    }

    /// What came before leaves this job: for one of a [chain](Queues::enqueue_chain) the result of
    /// the job before it, for a callback of a [batch](Queues::open_batch) the batch's
    /// [`BatchCounts`](crate::BatchCounts). None for all others.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn input<T: DeserializeOwned>(&self) -> Result<Option<T>, QueueError> {
        let input = self.job.input.as_deref();
        Ok(input.map(serde_json::from_slice).transpose()?)
    }

    /// The version of the payload's shape.
    pub fn version(&self) -> u32 {
        self.job.version
    }

    /// On whose behalf the job runs.
    pub fn user(&self) -> Option<&str> {
        self.job.user.as_deref()
    }

    /// Which attempt this is, from 1; runs that ended with their worker are counted.
    pub fn attempt(&self) -> u32 {
        self.job.attempt
    }

    /// How many attempts there may be; None: until one succeeds.
    pub fn max_attempts(&self) -> Option<u32> {
        self.job.max_attempts
    }

    /// The trace the job belongs to.
    pub fn trace(&self) -> Option<&str> {
        self.job.trace.as_deref()
    }

    /// Fires when the run shall end: an operator cancelled the job, somebody else has it, or the
    /// process ends and its grace period is over. The handler is dropped
    /// [`STOP_GRACE`](crate::STOP_GRACE) later.
    pub fn cancelled(&self) -> CancellationToken {
        self.lease.stopped.clone()
    }

    /// Shows how far the job is. Sent at most every [`PROGRESS_INTERVAL`]; of values in between
    /// the last one counts, and it is never lost. At most [`PROGRESS_LIMIT`] bytes.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], [`QueueError::TooLarge`], and when Valkey does not answer.
    pub async fn progress(&self, value: &impl Serialize) -> Result<(), QueueError> {
        let value = serde_json::to_string(value)?;
        check_size("progress", value.len(), PROGRESS_LIMIT)?;
        let now = Instant::now();
        {
            let mut state = self.progress.lock();
            if state.sender_sleeps || now < state.not_before {
                state.unsent = Some(value);
                if !state.sender_sleeps {
                    state.sender_sleeps = true;
                    let (queues, lease) = (self.queues.clone(), self.lease.clone());
                    tokio::spawn(send_later(queues, lease, self.progress.clone()));
                }
                return Ok(());
            }
            state.not_before = now + PROGRESS_INTERVAL;
        }
        save(&self.queues, &self.lease, Some(("progress", &value))).await
    }

    /// Asks Valkey whether this run still has its job. A process that stood still may wake up after
    /// the job was run by another and ended, and what it reads from then on, it reads too late:
    /// what a handler relies on, it reads before this.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`] when not, and when Valkey does not answer.
    pub async fn confirm(&self) -> Result<(), QueueError> {
        save(&self.queues, &self.lease, None).await
    }

    /// Adds a line to the job's log, which operators see with the job and which goes with it. Costs
    /// no waiting: lines are sent together each [`PROGRESS_INTERVAL`] and before the run ends. Of a
    /// job's lines the last [`LOG_LINES`](crate::LOG_LINES) are kept, up to
    /// [`LOG_LIMIT`](crate::LOG_LIMIT) bytes; what has more than [`LINE_LIMIT`](crate::LINE_LIMIT)
    /// bytes is cut. Lines of a run that has lost its lease are dropped.
    pub fn log(&self, level: LogLevel, text: impl AsRef<str>) {
        self.log
            .add(&self.queues, &self.lease, level, text.as_ref());
    }

    /// What an earlier attempt saved, if it still has the shape of `T`.
    pub fn checkpoint<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(self.job.checkpoint.as_deref()?).ok()
    }

    /// Keeps something for the next attempt, should this one fail. At most [`CHECKPOINT_LIMIT`]
    /// bytes.
    ///
    /// # Errors
    /// [`QueueError::LeaseLost`], [`QueueError::TooLarge`], and when Valkey does not answer.
    pub async fn save_checkpoint(&self, value: &impl Serialize) -> Result<(), QueueError> {
        let value = serde_json::to_string(value)?;
        check_size("checkpoint", value.len(), CHECKPOINT_LIMIT)?;
        save(&self.queues, &self.lease, Some(("checkpoint", &value))).await
    }
}

/// Progress that was reported faster than it is sent.
pub(super) struct Progress(Mutex<ProgressState>);

struct ProgressState {
    not_before: Instant,
    unsent: Option<String>,
    sender_sleeps: bool,
}

impl Progress {
    pub fn new() -> Self {
        Self(Mutex::new(ProgressState {
            not_before: Instant::now(),
            unsent: None,
            sender_sleeps: false,
        }))
    }

    /// The last value, if it was not sent; the script that ends the run stores it.
    pub fn take_unsent(&self) -> Option<String> {
        self.lock().unsent.take()
    }

    fn lock(&self) -> MutexGuard<'_, ProgressState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn send_later(queues: Queues, lease: Arc<Lease>, progress: Arc<Progress>) {
    loop {
        let until = progress.lock().not_before;
        sleep_until(until).await;
        let value = progress.lock().unsent.clone();
        if let Some(value) = &value
            && let Err(error) = save(&queues, &lease, Some(("progress", value))).await
        {
            tracing::debug!(%error, job = %lease.id, "progress was not stored");
        }
        let mut state = progress.lock();
        state.not_before = Instant::now() + PROGRESS_INTERVAL;
        // It counts as unsent until it has arrived, so that the end of the run cannot overtake it.
        if state.unsent == value {
            state.unsent = None;
            state.sender_sleeps = false;
            return;
        }
    }
}

/// Stores a field and its value, or nothing, if the run still has the job.
async fn save(
    queues: &Queues,
    lease: &Lease,
    field: Option<(&str, &str)>,
) -> Result<(), QueueError> {
    let shared = &queues.shared;
    let kept: bool = shared
        .lane
        .script(&shared.scripts.save, &root(lease.id.queue()), |command| {
            command.arg(lease.id.job()).arg(&*lease.run);
            if let Some((name, value)) = field {
                command.arg(name).arg(value);
            }
        })
        .await?;
    if kept {
        Ok(())
    } else {
        Err(QueueError::LeaseLost(lease.id.clone()))
    }
}

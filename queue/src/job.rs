//! What goes into a queue and what can be seen of it.

use std::collections::HashMap;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::keys::NAME_LIMIT;
use crate::{JobId, QueueError};

/// A job to enqueue. [`NewJob::new`] has the defaults; the fields are there to be set.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The queue's name: `a-z`, `0-9` and `-`.
    pub queue: String,
    /// The version of the payload's shape. Default 1. Only workers that know it run the job, see
    /// [`WorkerConfig::version`](crate::WorkerConfig::version).
    pub version: u32,
    /// What the handler gets, at most [`QueueConfig::payload_limit`](crate::QueueConfig::payload_limit) bytes.
    pub payload: Box<RawValue>,
    /// On whose behalf the job runs.
    pub user: Option<String>,
    /// While a job with this key waits or runs, enqueueing answers with that job.
    pub unique_key: Option<String>,
    /// For 24 h, enqueueing with this key answers with its first job, whatever became of it.
    pub idempotency: Option<Idempotency>,
    /// At most one job of a group runs at a time, in the order of enqueueing. A job that is retried keeps its place, so
    /// the next ones wait until it succeeds or its attempts are used up. A delayed job joins the line when it is due.
    pub group: Option<String>,
    /// 0 (first) to 9 (last; larger numbers count as 9). Default 5. Within a group the order of enqueueing counts, not
    /// the priority.
    pub priority: u8,
    /// How often the job may be started, crashes of its worker included, before it is dead. At least 1, default 8.
    pub max_attempts: u32,
    /// How long the job waits at least.
    pub delay: Option<Duration>,
    /// The trace it belongs to (a W3C `traceparent`).
    pub trace: Option<String>,
}

/// An idempotency key and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, which the caller has scoped to whoever may use it.
    pub key: String,
    /// A digest of the request: the same key with another fingerprint is refused.
    pub fingerprint: String,
}

impl NewJob {
    /// A job with the defaults that the fields name.
    ///
    /// # Errors
    /// [`QueueError::Json`] when the payload cannot be written as JSON.
    pub fn new(queue: impl Into<String>, payload: &impl Serialize) -> Result<Self, QueueError> {
        Ok(Self {
            queue: queue.into(),
            version: 1,
            payload: serde_json::value::to_raw_value(payload)?,
            user: None,
            unique_key: None,
            idempotency: None,
            group: None,
            priority: 5,
            max_attempts: 8,
            delay: None,
            trace: None,
        })
    }

    /// Refuses what a queue does not keep.
    pub(crate) fn check(&self, payload_limit: usize) -> Result<(), QueueError> {
        crate::id::check_queue(&self.queue)?;
        check_size("payload", self.payload.get().len(), payload_limit)?;
        let idempotency = self.idempotency.as_ref();
        for (what, value) in [
            ("user", self.user.as_ref()),
            ("unique key", self.unique_key.as_ref()),
            ("group", self.group.as_ref()),
            ("trace", self.trace.as_ref()),
            ("idempotency key", idempotency.map(|it| &it.key)),
            ("fingerprint", idempotency.map(|it| &it.fingerprint)),
        ] {
            check_size(what, value.map_or(0, String::len), NAME_LIMIT)?;
        }
        Ok(())
    }
}

pub(crate) fn check_size(what: &'static str, bytes: usize, limit: usize) -> Result<(), QueueError> {
    if bytes <= limit {
        Ok(())
    } else {
        Err(QueueError::TooLarge { what, bytes, limit })
    }
}

/// The answer to enqueueing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The job that does the work.
    pub id: JobId,
    /// Whether it was there before.
    pub existing: bool,
}

/// Where a job is in its life; the crate's documentation draws the transitions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Waits for its time.
    Scheduled,
    /// Waits for a worker (that knows its version), or for another job of its group or user to end.
    Available,
    /// A worker has it.
    Running,
    /// Failed, and waits for its next attempt.
    Retrying,
    /// Has a result, or the handler's refusal.
    Completed,
    /// Was cancelled.
    Cancelled,
    /// Failed for good: a dead letter.
    Dead,
}

impl State {
    /// All of them, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Scheduled,
        Self::Available,
        Self::Running,
        Self::Retrying,
        Self::Completed,
        Self::Cancelled,
        Self::Dead,
    ];

    /// The name, which is also that of the key that holds the state's jobs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Available => "available",
            Self::Running => "running",
            Self::Retrying => "retrying",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::Dead => "dead",
        }
    }

    /// The keys, after the queue's root, that hold the jobs in this state. Jobs move from the earlier to the later ones.
    pub(crate) fn sets(&self) -> &[&'static str] {
        match self {
            Self::Scheduled => &["scheduled"],
            Self::Available => &["held", "newer", "crowded", "available"],
            Self::Running => &["running"],
            Self::Retrying => &["retrying"],
            Self::Completed => &["completed"],
            Self::Cancelled => &["cancelled"],
            Self::Dead => &["dead"],
        }
    }

    /// Whether the job has ended.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Completed | Self::Cancelled | Self::Dead)
    }
}

impl FromStr for State {
    type Err = QueueError;

    fn from_str(name: &str) -> Result<Self, QueueError> {
        Self::ALL
            .into_iter()
            .find(|state| state.as_str() == name)
            .ok_or_else(|| QueueError::Malformed(format!("state {name:?}")))
    }
}

/// A job as an operator sees it. Times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct JobView {
    /// The job.
    pub id: JobId,
    /// Its queue.
    pub queue: String,
    /// Where it is in its life.
    pub state: State,
    /// The version of the payload's shape.
    pub version: u32,
    /// What the handler gets.
    pub payload: Box<RawValue>,
    /// On whose behalf it runs.
    pub user: Option<String>,
    /// Its unique key.
    pub unique_key: Option<String>,
    /// Its group.
    pub group: Option<String>,
    /// 0 (first) to 9 (last).
    pub priority: u8,
    /// How often it was started.
    pub attempts: u32,
    /// How often it may be started.
    pub max_attempts: u32,
    /// When it was enqueued.
    pub created_at: u64,
    /// When it was or is to become available (again).
    pub run_at: u64,
    /// When its last attempt began.
    pub started_at: Option<u64>,
    /// When it ended.
    pub finished_at: Option<u64>,
    /// The worker of the last attempt.
    pub worker: Option<String>,
    /// Whether a running job was asked to stop.
    pub cancel_requested: bool,
    /// What the handler last said of its progress.
    pub progress: Option<Box<RawValue>>,
    /// What the handler returned.
    pub result: Option<Box<RawValue>>,
    /// Why the handler refused.
    pub error: Option<Box<RawValue>>,
    /// What went wrong in the attempts so far; the oldest ones are dropped when there is too much.
    pub errors: Vec<AttemptError>,
    /// The trace it belongs to.
    pub trace: Option<String>,
}

/// What went wrong in one attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptError {
    /// When, in milliseconds since 1970.
    pub at: u64,
    /// Which attempt, from 1.
    pub attempt: u32,
    /// What.
    pub message: String,
}

/// How a job ended.
#[derive(Debug, Clone)]
pub enum Finished {
    /// With this result.
    Completed(Box<RawValue>),
    /// The handler ran and its answer is "no", for this reason.
    Refused(Box<RawValue>),
    /// It is a dead letter.
    Dead {
        /// What went wrong in the last attempt.
        message: String,
    },
    /// It was cancelled.
    Cancelled,
}

impl Finished {
    /// Reads the end of a job from the fields of its hash; none when it has not ended.
    pub(crate) fn read(
        state: State,
        result: Option<String>,
        error: Option<String>,
        errors: Option<String>,
    ) -> Result<Option<Self>, QueueError> {
        let finished = match (state, result, error) {
            (State::Completed, _, Some(error)) => Self::Refused(RawValue::from_string(error)?),
            (State::Completed, Some(result), None) => {
                Self::Completed(RawValue::from_string(result)?)
            }
            (State::Completed, None, None) => Self::Completed(RawValue::NULL.to_owned()),
            (State::Cancelled, ..) => Self::Cancelled,
            (State::Dead, ..) => Self::Dead {
                message: attempt_errors(errors)?
                    .pop()
                    .map(|it| it.message)
                    .unwrap_or_default(),
            },
            _ => return Ok(None),
        };
        Ok(Some(finished))
    }
}

fn attempt_errors(lines: Option<String>) -> Result<Vec<AttemptError>, QueueError> {
    let lines = lines.unwrap_or_default();
    let errors: Result<_, _> = lines.lines().map(serde_json::from_str).collect();
    Ok(errors?)
}

impl JobView {
    /// Reads a job's hash as [`crate::keys`] describes it. None when there is none.
    pub(crate) fn read(
        id: JobId,
        mut hash: HashMap<String, String>,
    ) -> Result<Option<Self>, QueueError> {
        let Some(state) = hash.remove("state") else {
            return Ok(None);
        };
        let mut fields = Fields(hash);
        Ok(Some(Self {
            queue: id.queue().to_owned(),
            id,
            state: state.parse()?,
            version: fields.number("version")?,
            payload: fields
                .json("payload")?
                .unwrap_or_else(|| RawValue::NULL.to_owned()),
            user: fields.0.remove("user"),
            unique_key: fields.0.remove("unique"),
            group: fields.0.remove("group"),
            priority: fields.number("priority")?,
            attempts: fields.number("attempts")?,
            max_attempts: fields.number("max_attempts")?,
            created_at: fields.number("created_at")?,
            run_at: fields.number("run_at")?,
            started_at: fields.time("started_at")?,
            finished_at: fields.time("finished_at")?,
            worker: fields.0.remove("worker"),
            cancel_requested: fields.0.contains_key("cancel"),
            progress: fields.json("progress")?,
            result: fields.json("result")?,
            error: fields.json("error")?,
            errors: attempt_errors(fields.0.remove("errors"))?,
            trace: fields.0.remove("trace"),
        }))
    }
}

/// The fields of a job's hash that are still to be read.
struct Fields(HashMap<String, String>);

impl Fields {
    fn number<T: FromStr>(&mut self, name: &str) -> Result<T, QueueError> {
        self.0
            .remove(name)
            .and_then(|value| value.parse().ok())
            .ok_or_else(|| QueueError::Malformed(format!("field {name}")))
    }

    fn time(&mut self, name: &str) -> Result<Option<u64>, QueueError> {
        if self.0.contains_key(name) {
            self.number(name).map(Some)
        } else {
            Ok(None)
        }
    }

    fn json(&mut self, name: &str) -> Result<Option<Box<RawValue>>, QueueError> {
        let value = self.0.remove(name).map(RawValue::from_string);
        Ok(value.transpose()?)
    }
}

/// The numbers of one queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Its name.
    pub name: String,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait for a worker or their group.
    pub available: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Failed jobs that wait for their next attempt.
    pub retrying: u64,
    /// Completed and refused jobs that are still kept.
    pub completed: u64,
    /// Cancelled jobs that are still kept.
    pub cancelled: u64,
    /// Dead letters.
    pub dead: u64,
    /// Workers seen in the last 10 s.
    pub workers: u64,
    /// How long the job that is next in line has waited, in milliseconds.
    pub oldest_waiting_ms: Option<u64>,
    /// When the queue was paused, in milliseconds since 1970, if it is.
    pub paused_at: Option<u64>,
    /// How many jobs may run at a time, over all workers.
    pub limit: Option<u64>,
    /// How many jobs of one user may run at a time, over all workers.
    pub user_limit: Option<u64>,
}

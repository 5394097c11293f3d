//! A job as it is kept.

use std::collections::HashMap;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{LogLine, State};
use crate::keys::{MAX_ATTEMPTS, PRIORITY, UNLIMITED, VERSION, time_of};
use crate::{Backoff, BatchId, JobId, QueueError};

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
    /// The batch that it is counted in.
    pub batch: Option<BatchId>,
    /// The batch whose callback it is.
    pub callback_of: Option<BatchId>,
    /// The job before it in its chain.
    pub previous: Option<JobId>,
    /// The job behind it in its chain.
    pub next: Option<JobId>,
    /// What the job before it, or the batch, left it.
    pub input: Option<Box<RawValue>>,
    /// Its group.
    pub group: Option<String>,
    /// 0 (first) to 9 (last).
    pub priority: u8,
    /// How often it was started.
    pub attempts: u32,
    /// How often it may be started; None: until it succeeds.
    pub max_attempts: Option<u32>,
    /// How many leases in a row were lost with its worker.
    #[serde(skip_serializing_if = "is_zero")]
    pub losses: u32,
    /// How long it waits between its attempts, if it says so itself.
    pub backoff: Option<Backoff>,
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
    /// The lines that it logged, oldest first; there were `log_dropped` more before them.
    pub log: Vec<LogLine>,
    /// How many lines are not kept any more.
    pub log_dropped: u64,
    /// The trace it belongs to.
    pub trace: Option<String>,
    /// The enqueuer's note, which is no part of the JSON.
    #[serde(skip)]
    pub label: Option<String>,
    /// What of it cannot be read, if anything; it can be deleted all the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub damage: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as serde calls it")]
fn is_zero(count: &u32) -> bool {
    *count == 0
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

/// How a job ended: with a result `T`, or refused for a reason `R`; as JSON until it is
/// [read](Finished::parse).
#[derive(Debug, Clone)]
pub enum Finished<T = Box<RawValue>, R = Box<RawValue>> {
    /// With this result.
    Completed(T),
    /// The handler ran and its answer is "no", for this reason.
    Refused(R),
    /// It is a dead letter.
    Dead {
        /// What went wrong in the last attempt.
        message: String,
    },
    /// It was cancelled.
    Cancelled,
}

impl Finished {
    /// The same with the result, or the reason, read from its JSON.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn parse<T, R>(self) -> Result<Finished<T, R>, QueueError>
    where
        T: DeserializeOwned,
        R: DeserializeOwned,
    {
        Ok(match self {
            Self::Completed(result) => Finished::Completed(serde_json::from_str(result.get())?),
            Self::Refused(reason) => Finished::Refused(serde_json::from_str(reason.get())?),
            Self::Dead { message } => Finished::Dead { message },
            Self::Cancelled => Finished::Cancelled,
        })
    }

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
                message: json_lines::<AttemptError>(errors)?
                    .pop()
                    .map(|it| it.message)
                    .unwrap_or_default(),
            },
            _ => return Ok(None),
        };
        Ok(Some(finished))
    }
}

/// Reads a field that has a JSON value on each line.
fn json_lines<T: DeserializeOwned>(lines: Option<String>) -> Result<Vec<T>, QueueError> {
    let lines = lines.unwrap_or_default();
    let values: Result<_, _> = lines.lines().map(serde_json::from_str).collect();
    Ok(values?)
}

impl JobView {
    /// What the handler gets.
    ///
    /// # Errors
    /// [`QueueError::Json`] when it has another shape.
    pub fn payload<T: DeserializeOwned>(&self) -> Result<T, QueueError> {
        Ok(serde_json::from_str(self.payload.get())?)
    }

    /// What the handler returned, once the job has completed.
    ///
    /// # Errors
    /// As [`JobView::payload`].
    pub fn result<T: DeserializeOwned>(&self) -> Result<Option<T>, QueueError> {
        let result = self.result.as_deref().map(RawValue::get);
        Ok(result.map(serde_json::from_str).transpose()?)
    }

    /// Reads a job's hash as [`crate::keys`] describes it. None when there is none. What cannot be
    /// read is left out, and [noted](JobView::damage): it hides neither the rest of the job nor
    /// other jobs.
    pub(crate) fn read(id: JobId, hash: HashMap<String, Vec<u8>>) -> Option<Self> {
        let mut fields = Fields::new(hash);
        let (state, seat) = (fields.text("state"), fields.number("seat"));
        let (finished_at, run) = (fields.number("finished_at"), fields.text("run"));
        let joined_at = seat.map(time_of);
        let has_seat = seat.is_some() || fields.damage.is_some();
        let state = State::read(state, finished_at.is_some(), run.is_some(), has_seat);
        let state = state.unwrap_or_else(|_| {
            fields.note("state");
            Some(State::Dead)
        });
        let has_more = !fields.hash.is_empty();
        let state = state.or_else(|| {
            has_more.then(|| {
                fields.note("seat");
                State::Dead
            })
        })?;
        let queue = id.queue().to_owned();
        let log: Vec<LogLine> = fields.json_lines("log");
        let logged: u64 = fields.number("logged").unwrap_or_default();
        let created_at = fields.number("created_at").or(joined_at);
        let created_at = created_at.unwrap_or_default();
        // Those that did not complete the job, and the one that does or has.
        let attempts = fields
            .number::<u32>("attempts")
            .unwrap_or(0)
            .saturating_add(u32::from(matches!(
                state,
                State::Running | State::Completed
            )));
        // A released run does not count.
        let run = run.filter(|_| state != State::Available);
        let (started_at, worker) = run.as_deref().map_or((None, None), parts_of_run);
        Some(Self {
            id,
            queue: queue.clone(),
            state,
            version: fields.number("version").unwrap_or(VERSION),
            payload: fields
                .json("payload")
                .unwrap_or_else(|| RawValue::NULL.to_owned()),
            user: fields.text("user"),
            unique_key: fields.text("unique"),
            batch: fields.batch("batch", &queue),
            callback_of: fields.batch("callback_of", &queue),
            previous: fields.job("previous", &queue),
            next: fields.job("next", &queue),
            input: fields.json("input"),
            group: fields.text("group"),
            priority: fields.number("priority").unwrap_or(PRIORITY),
            attempts,
            max_attempts: limited(fields.number("max_attempts")),
            losses: fields.number("losses").unwrap_or_default(),
            backoff: fields.parsed("backoff"),
            created_at,
            run_at: fields.number("run_at").unwrap_or(created_at),
            started_at,
            finished_at,
            worker,
            cancel_requested: fields.text("cancel").is_some(),
            progress: fields.json("progress"),
            result: fields.json("result"),
            error: fields.json("error"),
            errors: fields.json_lines("errors"),
            log_dropped: logged.saturating_sub(log.len() as u64),
            log,
            trace: fields.text("trace"),
            label: fields.text("label"),
            damage: fields.damage,
        })
    }

    /// What is listed as a job and cannot be read at all.
    pub(crate) fn unreadable(id: JobId, damage: String) -> Option<Self> {
        let state = State::Dead.as_str().as_bytes().to_owned();
        let view = Self::read(id, HashMap::from([("state".to_owned(), state)]))?;
        Some(Self {
            damage: Some(damage),
            ..view
        })
    }
}

/// When a run began, and its worker.
fn parts_of_run(run: &str) -> (Option<u64>, Option<String>) {
    let worker = run.splitn(3, '/').nth(2);
    (began_at(run), worker.map(str::to_owned))
}

/// When a run began, in milliseconds since 1970.
pub(crate) fn began_at(run: &str) -> Option<u64> {
    run.split('/').next()?.parse().ok()
}

/// How often a job may be started, as it is kept.
pub(crate) fn limited(max_attempts: Option<u32>) -> Option<u32> {
    Some(max_attempts.unwrap_or(MAX_ATTEMPTS)).filter(|&it| it != UNLIMITED)
}

/// The fields of a hash that are still to be read.
pub(crate) struct Fields {
    hash: HashMap<String, Vec<u8>>,
    /// Which of them could not be read, if any: the first.
    pub damage: Option<String>,
}

impl Fields {
    pub fn new(hash: HashMap<String, Vec<u8>>) -> Self {
        Self { hash, damage: None }
    }

    fn note(&mut self, name: &str) {
        self.damage
            .get_or_insert_with(|| format!("its field {name} cannot be read"));
    }

    fn read<T>(&mut self, name: &str, read: impl FnOnce(String) -> Option<T>) -> Option<T> {
        let value = self.hash.remove(name)?;
        let value = String::from_utf8(value).ok().and_then(read);
        if value.is_none() {
            self.note(name);
        }
        value
    }

    fn text(&mut self, name: &str) -> Option<String> {
        self.read(name, Some)
    }

    pub fn number<T: FromStr>(&mut self, name: &str) -> Option<T> {
        self.read(name, |value| value.parse().ok())
    }

    pub fn job(&mut self, name: &str, queue: &str) -> Option<JobId> {
        let job = self.text(name)?;
        Some(JobId::from_parts(queue, &job))
    }

    fn batch(&mut self, name: &str, queue: &str) -> Option<BatchId> {
        let batch = self.text(name)?;
        Some(BatchId::from_parts(queue, &batch))
    }

    fn parsed<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        self.read(name, |value| serde_json::from_str(&value).ok())
    }

    fn json(&mut self, name: &str) -> Option<Box<RawValue>> {
        self.read(name, |value| RawValue::from_string(value).ok())
    }

    fn json_lines<T: DeserializeOwned>(&mut self, name: &str) -> Vec<T> {
        self.read(name, |lines| json_lines(Some(lines)).ok())
            .unwrap_or_default()
    }
}

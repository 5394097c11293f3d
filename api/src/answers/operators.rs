//! What operators get. Times are milliseconds since 1970.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sluice_queue::{Action, Found, JobView};
use utoipa::ToSchema;

use crate::openapi::schemas;
use crate::operators::actions::Done;

/// The numbers of a queue.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueNumbers {
    /// Its name.
    pub name: String,
    /// Jobs that wait for the one before them in a chain, or for the end of a batch.
    pub waiting: u64,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait for a worker, their group, or their user's turn.
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
    /// How long the job has waited, in milliseconds, that waits longest of those that could run.
    #[schema(required = true)]
    pub oldest_waiting_ms: Option<u64>,
    /// When the queue was paused, if it is.
    #[schema(required = true)]
    pub paused_at: Option<u64>,
    /// How many jobs may run at a time, over all workers.
    #[schema(required = true)]
    pub limit: Option<u64>,
    /// How many jobs of one user may run at a time, over all workers.
    #[schema(required = true)]
    pub user_limit: Option<u64>,
    /// How fast jobs start, over all workers.
    #[schema(required = true, value_type = Option<schemas::QueueRate>)]
    pub rate: Option<Value>,
    /// How fast jobs of one user start, over all workers.
    #[schema(required = true, value_type = Option<schemas::QueueRate>)]
    pub user_rate: Option<Value>,
    /// Why its numbers cannot be read, if so; then they are 0.
    #[schema(required = true)]
    pub damage: Option<String>,
}

/// What a queue did of late.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct QueueHistory {
    /// `hour` or `day`.
    #[schema(value_type = schemas::HistoryPeriod)]
    pub period: String,
    /// Minutes of the hour, or tens of minutes of the day, the oldest first. The last one is not
    /// over.
    pub slices: Vec<HistorySlice>,
}

/// What happened in one slice of time.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistorySlice {
    /// When it began.
    pub at: u64,
    /// Runs that began.
    pub started: u64,
    /// Jobs that completed.
    pub completed: u64,
    /// Jobs whose answer was "no".
    pub refused: u64,
    /// Runs that failed, or were lost with their worker.
    pub failed: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// How long jobs had waited that began.
    pub wait: HistoryTimes,
    /// How long runs took that ended.
    pub run: HistoryTimes,
}

/// How many times there are, and their quantiles in milliseconds.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct HistoryTimes {
    /// How many.
    pub count: u64,
    /// Their median.
    #[schema(required = true)]
    pub p50_ms: Option<u64>,
    /// What 95 of 100 do not exceed.
    #[schema(required = true)]
    pub p95_ms: Option<u64>,
    /// What 99 of 100 do not exceed.
    #[schema(required = true)]
    pub p99_ms: Option<u64>,
}

/// A job in a list.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobRow {
    /// Its id.
    #[schema(example = "sync_01jd3v3s2n3wq5s9m1x6r0e8kz")]
    pub id: String,
    /// The queue it is in.
    pub queue: String,
    /// Where it is in its life.
    #[schema(value_type = schemas::JobState)]
    pub state: String,
    /// Whose it is.
    #[schema(required = true)]
    pub user: Option<String>,
    /// From 0, which runs first, to 9.
    pub priority: u8,
    /// Times it was begun.
    pub attempts: u32,
    /// Times it may be begun before it is dead; null: it is tried until it succeeds.
    #[schema(required = true)]
    pub max_attempts: Option<u32>,
    /// When it was enqueued.
    pub created_at: u64,
    /// When it was or is due.
    pub run_at: u64,
    /// When its last attempt began.
    #[schema(required = true)]
    pub started_at: Option<u64>,
    /// When it ended.
    #[schema(required = true)]
    pub finished_at: Option<u64>,
    /// Who runs or ran it last.
    #[schema(required = true)]
    pub worker: Option<String>,
    /// Whether it was asked to stop while it ran.
    pub cancel_requested: bool,
    /// How far it is.
    #[schema(required = true)]
    pub progress: Option<Value>,
    /// What went wrong last, if anything: the last attempt, the refusal, or what cannot be read.
    #[schema(required = true)]
    pub last_error: Option<String>,
}

impl From<&JobView> for JobRow {
    fn from(job: &JobView) -> Self {
        Self {
            id: job.id.to_string(),
            queue: job.queue.clone(),
            state: job.state.as_str().to_owned(),
            user: job.user.clone(),
            priority: job.priority,
            attempts: job.attempts,
            max_attempts: job.max_attempts,
            created_at: job.created_at,
            run_at: job.run_at,
            started_at: job.started_at,
            finished_at: job.finished_at,
            worker: job.worker.clone(),
            cancel_requested: job.cancel_requested,
            progress: job
                .progress
                .as_ref()
                .and_then(|it| serde_json::from_str(it.get()).ok()),
            last_error: last_error(job),
        }
    }
}

/// What went wrong last with a job.
pub(crate) fn last_error(job: &JobView) -> Option<String> {
    if let Some(damage) = &job.damage {
        return Some(format!("damaged: {damage}"));
    }
    if let Some(error) = &job.error {
        return Some(error.get().to_owned());
    }
    job.errors.last().map(|error| error.message.clone())
}

/// A page of jobs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobRow>,
    /// The `cursor` of the next page, unless all were looked at.
    #[schema(required = true)]
    pub next: Option<String>,
    /// How many jobs were looked at for this page.
    pub looked_at: u64,
}

impl From<Found> for JobPage {
    fn from(found: Found) -> Self {
        Self {
            jobs: found.jobs.iter().map(JobRow::from).collect(),
            next: found.next.map(|place| place.to_string()),
            looked_at: found.looked_at,
        }
    }
}

/// How many jobs are meant.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct JobCount {
    /// That many.
    pub jobs: u64,
    /// There may be more.
    pub at_least: bool,
}

/// What came of an action.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Acted {
    /// The action, by which it can be undone, if at all.
    pub action: String,
    /// How many it was done to.
    pub count: u64,
    /// How many jobs were not retried because others have their unique keys by now.
    pub key_taken: u64,
}

impl From<Done> for Acted {
    fn from(done: Done) -> Self {
        Self {
            action: done.action,
            count: done.count,
            key_taken: done.key_taken,
        }
    }
}

/// A process that runs jobs.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct Worker {
    /// Its name, which no other one has.
    pub id: String,
    /// The machine that it runs on.
    pub host: String,
    /// Its process id there.
    pub pid: u32,
    /// The version that it runs.
    pub version: String,
    /// When it began.
    pub started_at: u64,
    /// When it was last seen.
    pub seen_at: u64,
    /// Whether it fetches no jobs.
    pub quiet: bool,
    /// What it was asked to do: `quiet`, `stop` or nothing.
    #[schema(required = true, value_type = Option<schemas::WorkerSignal>)]
    pub signal: Option<String>,
    /// The queues that it serves.
    pub queues: BTreeMap<String, WorkerLoad>,
    /// How many jobs it runs.
    pub running: u64,
    /// At most 100 of them.
    pub jobs: Vec<String>,
}

/// How much a process does for one queue.
#[derive(Clone, Copy, Debug, Serialize, Deserialize, ToSchema)]
pub struct WorkerLoad {
    /// How many jobs it runs at a time, at most.
    pub concurrency: u64,
    /// How many it runs.
    pub running: u64,
}

/// What operators did, the latest first.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditPage {
    /// The actions.
    pub actions: Vec<AuditEntry>,
    /// The `cursor` of the next page, if there may be one.
    #[schema(required = true)]
    pub next: Option<String>,
}

impl AuditPage {
    pub(crate) fn new(actions: Vec<Action>, limit: usize) -> Self {
        let is_full = actions.len() >= limit.min(sluice_queue::PAGE_LIMIT as usize);
        let next = actions.last().filter(|_| is_full).map(|it| it.id.clone());
        Self {
            actions: actions.into_iter().map(AuditEntry::from).collect(),
            next,
        }
    }
}

/// What an operator did.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct AuditEntry {
    /// Its id.
    pub id: String,
    /// When it began.
    pub at: u64,
    /// Who did it.
    pub who: String,
    /// By what: `board` or `api`.
    pub via: String,
    /// What was done.
    #[schema(example = "retry")]
    pub what: String,
    /// To what.
    #[schema(example = "all dead jobs of the queue sync")]
    pub target: String,
    /// To how many; null while it is under way, or when it broke off.
    #[schema(required = true)]
    pub count: Option<u64>,
    /// When it ended, well or not.
    #[schema(required = true)]
    pub ended_at: Option<u64>,
    /// Why it broke off, if it did.
    #[schema(required = true)]
    pub error: Option<String>,
    /// The action that undid it, if one did.
    #[schema(required = true)]
    pub undone_by: Option<String>,
}

impl From<Action> for AuditEntry {
    fn from(action: Action) -> Self {
        Self {
            id: action.id,
            at: action.at,
            who: action.who,
            via: action.via,
            what: action.what,
            target: action.target,
            count: action.count,
            ended_at: action.ended_at,
            error: action.error,
            undone_by: action.undone_by,
        }
    }
}

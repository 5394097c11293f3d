//! What operators do. Each action is written down before it begins, and again with what came of it,
//! so that one that broke off is seen, too.

use std::fmt::Write as _;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use sluice_jobs::schedules::{self, PutError, Schedule};
use sluice_queue::{
    Action, Applied, JobId, JobQuery, Limits, Operation, QueueError, QueueStats, Rate, Rates,
    Retried, Signal, Signalled,
};

use crate::http::problem::Problem;
use crate::{ApiError, AppState};

/// Who acts, and by what.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    who: String,
    via: &'static str,
}

impl Actor {
    pub fn new(subject: Option<&str>, via: &'static str) -> Self {
        Self {
            who: subject.unwrap_or("a token without a subject").to_owned(),
            via,
        }
    }

    fn action(&self, what: &str, target: &str) -> Action {
        Action::new(&self.who, self.via, what, target)
    }
}

/// How an action is undone.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Undo {
    Jobs(Operation),
    Pause(String, bool),
    Limits(String, Option<u32>, Option<u32>),
    Rates(String, Option<Rate>, Option<Rate>),
    PauseSchedule(String, bool),
}

/// Which jobs an action is about.
#[derive(Clone, Debug)]
pub(crate) enum Which {
    These(Vec<JobId>),
    All(JobQuery),
}

/// What came of an action.
pub(crate) struct Done {
    /// By which it can be undone.
    pub action: String,
    /// How many it was done to.
    pub count: u64,
    /// How many jobs were left alone since others have their unique keys.
    pub key_taken: u64,
}

/// A query in words.
pub(crate) fn in_words(query: &JobQuery) -> String {
    let mut words = match query.state {
        Some(state) => format!("all {} jobs", state.as_str()),
        None => "all jobs".to_owned(),
    };
    // Writing to a string cannot fail.
    if let Some(queue) = &query.queue {
        let _ = write!(words, " of the queue {queue}");
    }
    if let Some(user) = &query.user {
        let _ = write!(words, " of the user {user}");
    }
    if let Some(error) = &query.error {
        let _ = write!(words, " whose error contains \u{201c}{error}\u{201d}");
    }
    if let Some(text) = &query.text {
        let _ = write!(words, " with \u{201c}{text}\u{201d}");
    }
    words
}

/// The queue's numbers; a name that no queue has is not found.
pub(crate) async fn find_queue(state: &AppState, name: &str) -> Result<QueueStats, ApiError> {
    let queues = state.queues.queues().await?;
    let found = queues.into_iter().find(|queue| queue.name == name);
    found.ok_or(ApiError::NotFound)
}

/// Writes the action down around `work`, which says to how many it was done.
async fn audited<T>(
    state: &AppState,
    mut action: Action,
    undo: Option<Undo>,
    count: impl Fn(&T) -> u64,
    work: impl Future<Output = Result<T, ApiError>>,
) -> Result<T, ApiError> {
    action.undo = undo.and_then(|undo| serde_json::to_string(&undo).ok());
    state.queues.audit(&action).await?;
    let outcome = work.await;
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    action.ended_at = u64::try_from(since_1970.as_millis()).ok();
    match &outcome {
        Ok(done) => action.count = Some(count(done)),
        Err(error) => action.error = Some(error.to_string()),
    }
    let Action {
        who,
        via,
        what,
        target,
        count,
        error,
        ..
    } = &action;
    tracing::info!(who, via, what, target, count, error, "an operator acted");
    if let Err(error) = state.queues.audit(&action).await {
        tracing::warn!(%error, "the audit log does not say what came of this");
    }
    outcome
}

/// An operation on jobs.
pub(crate) async fn on_jobs(
    state: &AppState,
    actor: &Actor,
    operation: Operation,
    which: &Which,
) -> Result<Done, ApiError> {
    let target = match which {
        Which::These(ids) if ids.len() == 1 => ids[0].to_string(),
        Which::These(ids) => {
            let first = ids.first().map_or("", |id| id.as_str());
            format!("{} selected jobs: {first}, \u{2026}", ids.len())
        }
        Which::All(query) => in_words(query),
    };
    let action = actor.action(operation.as_str(), &target);
    let id = action.id.clone();
    let undo = matches!(operation, Operation::Cancel | Operation::Delete);
    let undo = undo.then_some(Undo::Jobs(operation));
    let applied = audited(state, action, undo, |it: &Applied| it.done, async {
        Ok(match which {
            Which::These(ids) => state.queues.apply(operation, ids, &id).await?,
            Which::All(query) => state.queues.apply_to_all(operation, query, &id).await?,
        })
    });
    let Applied { done, key_taken } = applied.await?;
    Ok(Done {
        action: id,
        count: done,
        key_taken,
    })
}

/// An operation on one job, which says why it was not done.
pub(crate) async fn on_job(
    state: &AppState,
    actor: &Actor,
    operation: Operation,
    job: &JobId,
) -> Result<Done, ApiError> {
    let done = on_jobs(state, actor, operation, &Which::These(vec![job.clone()])).await?;
    if done.count > 0 {
        return Ok(done);
    }
    let why = match operation {
        Operation::Retry => match state.queues.retry(job).await? {
            Retried::KeyTaken => {
                "another job has the unique key of this one by now: it does, or did, the same work"
            }
            Retried::Follows => {
                "this job was cancelled because one before it did not complete: retry that one, and \
                 this one follows"
            }
            // It has ended just now.
            Retried::Done => return Ok(Done { count: 1, ..done }),
            Retried::NothingToRetry => {
                "this job is not over, or ended well: there is nothing to retry"
            }
        },
        Operation::Cancel => "this job is already over: there is nothing to cancel",
        Operation::Delete => "this job runs: cancel it first",
        Operation::Run => "this job does not wait for its time",
    };
    Err(conflict(why))
}

fn conflict(why: &str) -> ApiError {
    Problem::new(StatusCode::CONFLICT, "not_possible", why).into()
}

/// Pauses a queue, or lets it go on.
pub(crate) async fn pause(
    state: &AppState,
    actor: &Actor,
    queue: &str,
    paused: bool,
) -> Result<Done, ApiError> {
    find_queue(state, queue).await?;
    let action = actor.action(
        if paused { "pause" } else { "resume" },
        &format!("queue {queue}"),
    );
    let undo = Undo::Pause(queue.to_owned(), !paused);
    simple(state, action, Some(undo), async {
        match paused {
            true => state.queues.pause(queue).await?,
            false => state.queues.resume(queue).await?,
        }
        Ok(())
    })
    .await
}

/// Bounds what runs at a time.
pub(crate) async fn limit(
    state: &AppState,
    actor: &Actor,
    queue: &str,
    limits: Limits,
) -> Result<Done, ApiError> {
    let before = find_queue(state, queue).await?;
    let number = |limit: Option<u64>| limit.and_then(|it| u32::try_from(it).ok());
    let undo = Undo::Limits(
        queue.to_owned(),
        number(before.limit),
        number(before.user_limit),
    );
    let shown = |limit: Option<u32>| limit.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let (all, per_user) = (shown(limits.all), shown(limits.per_user));
    let target = format!("queue {queue}: limit {all}, per user {per_user}");
    let action = actor.action("set limits", &target);
    simple(state, action, Some(undo), async {
        Ok(state.queues.set_limits(queue, limits).await?)
    })
    .await
}

/// Bounds what starts in a time.
pub(crate) async fn rate(
    state: &AppState,
    actor: &Actor,
    queue: &str,
    rates: Rates,
) -> Result<Done, ApiError> {
    let before = find_queue(state, queue).await?;
    let undo = Undo::Rates(queue.to_owned(), before.rate, before.user_rate);
    let shown = |rate: Option<Rate>| rate.map_or_else(|| "none".to_owned(), |it| it.to_string());
    let (all, per_user) = (shown(rates.all), shown(rates.per_user));
    let target = format!("queue {queue}: rate {all}; per user {per_user}");
    let action = actor.action("set rates", &target);
    simple(state, action, Some(undo), async {
        match state.queues.set_rates(queue, rates).await {
            Err(error @ QueueError::Invalid { .. }) => {
                Err(ApiError::InvalidRequest(error.to_string()))
            }
            done => Ok(done?),
        }
    })
    .await
}

/// Asks a process of workers to be quiet, to go on, or to end.
pub(crate) async fn signal(
    state: &AppState,
    actor: &Actor,
    worker: &str,
    signal: Signal,
) -> Result<Done, ApiError> {
    let known = state.queues.processes().await?;
    if !known.iter().any(|it| it.process.id == worker) {
        return Err(ApiError::NotFound);
    }
    let action = actor.action(signal.as_str(), &format!("worker {worker}"));
    simple(state, action, None, async {
        match state.queues.signal(worker, signal).await? {
            Signalled::Done => Ok(()),
            Signalled::NotFound => Err(ApiError::NotFound),
            Signalled::Ending => Err(conflict("this worker was asked to end before")),
        }
    })
    .await
}

/// Keeps a schedule.
pub(crate) async fn put_schedule(
    state: &AppState,
    actor: &Actor,
    name: &str,
    schedule: Schedule,
) -> Result<Done, ApiError> {
    // What cannot be taken is no action.
    let checked = schedule.check(name);
    checked.map_err(|error| ApiError::InvalidRequest(error.to_string()))?;
    let target = format!("schedule {name}: {} {}", schedule.cron, schedule.zone);
    let action = actor.action("set schedule", &target);
    simple(state, action, None, async {
        let put = schedules::put(&state.queues, name, schedule).await;
        put.map_err(refused)
    })
    .await
}

fn refused(error: PutError) -> ApiError {
    match error {
        PutError::Invalid(error) => ApiError::InvalidRequest(error.to_string()),
        PutError::Full | PutError::Configured => conflict(&error.to_string()),
        PutError::Queue(error) => error.into(),
    }
}

/// Takes a schedule away.
pub(crate) async fn remove_schedule(
    state: &AppState,
    actor: &Actor,
    name: &str,
) -> Result<Done, ApiError> {
    find_schedule(state, name).await?;
    let action = actor.action("delete schedule", &format!("schedule {name}"));
    simple(state, action, None, async {
        let removed = schedules::remove(&state.queues, name).await;
        removed
            .map_err(refused)?
            .then_some(())
            .ok_or(ApiError::NotFound)
    })
    .await
}

/// Pauses a schedule, or lets it go on.
pub(crate) async fn pause_schedule(
    state: &AppState,
    actor: &Actor,
    name: &str,
    paused: bool,
) -> Result<Done, ApiError> {
    find_schedule(state, name).await?;
    let what = if paused { "pause" } else { "resume" };
    let action = actor.action(what, &format!("schedule {name}"));
    let undo = Undo::PauseSchedule(name.to_owned(), !paused);
    simple(state, action, Some(undo), async {
        let known = state.queues.pause_schedule(name, paused).await?;
        known.then_some(()).ok_or(ApiError::NotFound)
    })
    .await
}

/// Enqueues the job of a schedule now.
pub(crate) async fn run_schedule(
    state: &AppState,
    actor: &Actor,
    name: &str,
) -> Result<JobId, ApiError> {
    find_schedule(state, name).await?;
    let action = actor.action("run now", &format!("schedule {name}"));
    audited(state, action, None, |_| 1, async {
        let job = schedules::run_now(&state.queues, name).await?;
        job.ok_or(ApiError::NotFound)
    })
    .await
}

async fn find_schedule(state: &AppState, name: &str) -> Result<(), ApiError> {
    let all = schedules::all(&state.queues).await?;
    let known = all.iter().any(|it| it.name == name);
    known.then_some(()).ok_or(ApiError::NotFound)
}

/// Undoes an action, once.
pub(crate) async fn undo(state: &AppState, actor: &Actor, id: &str) -> Result<Done, ApiError> {
    let mut undone = state.queues.action(id).await?.ok_or(ApiError::NotFound)?;
    let how = undone
        .undo
        .as_deref()
        .filter(|_| undone.undone_by.is_none());
    let how: Undo = how
        .and_then(|how| serde_json::from_str(how).ok())
        .ok_or_else(|| conflict("this action cannot be undone, or was before"))?;
    let action = actor.action("undo", &format!("{} {}", undone.what, undone.target));
    let by = action.id.clone();
    let count = audited(state, action, None, |count| *count, async {
        Ok(match how {
            Undo::Jobs(operation) => state.queues.undo(operation, id).await?,
            Undo::Pause(queue, true) => state.queues.pause(&queue).await.map(|()| 1)?,
            Undo::Pause(queue, false) => state.queues.resume(&queue).await.map(|()| 1)?,
            Undo::Limits(queue, all, per_user) => {
                let limits = Limits { all, per_user };
                state.queues.set_limits(&queue, limits).await.map(|()| 1)?
            }
            Undo::Rates(queue, all, per_user) => {
                let rates = Rates { all, per_user };
                state.queues.set_rates(&queue, rates).await.map(|()| 1)?
            }
            Undo::PauseSchedule(name, paused) => {
                u64::from(state.queues.pause_schedule(&name, paused).await?)
            }
        })
    })
    .await?;
    undone.undone_by = Some(by.clone());
    state.queues.audit(&undone).await?;
    Ok(Done {
        action: by,
        count,
        key_taken: 0,
    })
}

/// An action on one thing.
async fn simple(
    state: &AppState,
    action: Action,
    undo: Option<Undo>,
    work: impl Future<Output = Result<(), ApiError>>,
) -> Result<Done, ApiError> {
    let id = action.id.clone();
    audited(state, action, undo, |()| 1, work).await?;
    Ok(Done {
        action: id,
        count: 1,
        key_taken: 0,
    })
}

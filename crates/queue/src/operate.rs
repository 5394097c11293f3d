//! What operators do: pause queues; cancel, retry and delete jobs, one by one or all that a filter
//! matches.

use futures_util::future::try_join_all;
use serde::{Deserialize, Serialize};
use sluice_valkey::Repeat;

use crate::id::check_queue;
use crate::keys::root;
use crate::{JobId, JobQuery, QueueError, Queues, State};

/// How many jobs that were named are operated on at a time.
const AT_A_TIME: usize = 16;

/// Which jobs an operation is for. [`JobFilter::new`] matches all of a state; the fields are there
/// to be set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobFilter {
    /// The queue.
    pub queue: String,
    /// The state they are in.
    pub state: State,
    /// Only those on behalf of this user.
    pub user: Option<String>,
    /// Only those whose last error, or refusal as JSON, contains this text.
    pub error: Option<String>,
    /// Only those with this text in their id, user, group, unique key or last error, in upper or
    /// lower case.
    pub text: Option<String>,
}

impl JobFilter {
    /// All jobs of `queue` in `state`.
    pub fn new(queue: impl Into<String>, state: State) -> Self {
        Self {
            queue: queue.into(),
            state,
            user: None,
            error: None,
            text: None,
        }
    }
}

/// What an operator does to jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// [`Queues::retry`].
    Retry,
    /// [`Queues::cancel`].
    Cancel,
    /// [`Queues::delete`].
    Delete,
    /// [`Queues::run_now`].
    Run,
}

impl Operation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Retry, Self::Run, Self::Cancel, Self::Delete];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Retry => "retry",
            Self::Cancel => "cancel",
            Self::Delete => "delete",
            Self::Run => "run",
        }
    }

    /// Whether it does something to jobs in this state.
    pub fn is_for(self, state: State) -> bool {
        match self {
            // A completed job may have been refused.
            Self::Retry => state.is_final(),
            Self::Cancel => !state.is_final(),
            Self::Delete => state != State::Running,
            Self::Run => matches!(state, State::Scheduled | State::Retrying),
        }
    }

    /// What undoes it: an action that cancels or deletes.
    fn undo(self) -> Option<&'static str> {
        match self {
            Self::Cancel => Some("retry"),
            Self::Delete => Some("restore"),
            Self::Retry | Self::Run => None,
        }
    }
}

/// What came of an operation on many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Applied {
    /// How many it was done to.
    pub done: u64,
    /// How many were not retried because another job has their unique key by now.
    pub key_taken: u64,
}

/// How many jobs of a queue run at a time, over all workers. The default is no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// All jobs together. 0 counts as 1; to run none, [pause](Queues::pause) the queue.
    pub all: Option<u32>,
    /// Those of each user; jobs without a user are not limited. 0 counts as 1.
    pub per_user: Option<u32>,
}

/// The outcome of retrying a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retried {
    /// It is back in line.
    Done,
    /// It has not ended, or has ended well.
    NothingToRetry,
    /// Another job that counts has its unique key by now.
    KeyTaken,
    /// It was cancelled because a job before it did not complete, and comes back with that one:
    /// retry that.
    Follows,
}

/// The outcome of retrying many jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetriedAll {
    /// How many are back in line.
    pub done: u64,
    /// How many were left alone because another job has their unique key by now.
    pub key_taken: u64,
}

sluice_valkey::statuses! {
    /// How an operation on a job went.
    pub(crate) enum Operated {
        Done = "done",
        /// The job's state does not allow it.
        WrongState = "wrong_state",
        NotFound = "not_found",
        /// As [`Retried::KeyTaken`].
        KeyTaken = "key_taken",
        /// As [`Retried::Follows`].
        Follows = "follows",
    }
}

impl Queues {
    /// Puts a dead, cancelled or refused job back in line with all its attempts before it, or says
    /// why that cannot be.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn retry(&self, id: &JobId) -> Result<Retried, QueueError> {
        match self.operate("retry", id, "").await? {
            Operated::Done => Ok(Retried::Done),
            Operated::WrongState => Ok(Retried::NothingToRetry),
            Operated::NotFound => Err(QueueError::NotFound(id.clone())),
            Operated::KeyTaken => Ok(Retried::KeyTaken),
            Operated::Follows => Ok(Retried::Follows),
        }
    }

    /// Cancels a job: one that waits at once, one that runs through
    /// [`Run::cancelled`](crate::Run::cancelled). False when it has ended before.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn cancel(&self, id: &JobId) -> Result<bool, QueueError> {
        self.is_done("cancel", id).await
    }

    /// Removes a job with all that is known of it. A waiter gets
    /// [`QueueError::NotFound`]; its unique and idempotency keys are free again; in its batch, and
    /// for those behind it in its chain, one that had not ended counts as cancelled. False when it
    /// runs: cancel it first.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn delete(&self, id: &JobId) -> Result<bool, QueueError> {
        self.is_done("delete", id).await
    }

    /// [`Queues::retry`] for all jobs that the filter matches. Returns how many went back in line,
    /// and how many could not.
    ///
    /// Works in bounded steps, between which workers get their turn. Jobs that were added or ended
    /// after the call began are left alone, so a job that is retried and dies again is not retried
    /// twice. After an error some are done; the same call does the others.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn retry_all(&self, filter: &JobFilter) -> Result<RetriedAll, QueueError> {
        self.sweep("retry", filter, "").await
    }

    /// [`Queues::cancel`] for all jobs that the filter matches. Returns how many are or will be
    /// cancelled. Works as [`Queues::retry_all`] does.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn cancel_all(&self, filter: &JobFilter) -> Result<u64, QueueError> {
        Ok(self.sweep("cancel", filter, "").await?.done)
    }

    /// [`Queues::delete`] for all jobs that the filter matches. Returns how many are gone.
    /// Works as [`Queues::retry_all`] does.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn delete_all(&self, filter: &JobFilter) -> Result<u64, QueueError> {
        Ok(self.sweep("delete", filter, "").await?.done)
    }

    /// Stops giving out jobs of a queue, in all processes and until [`Queues::resume`]. Jobs that
    /// run go on and may end, delayed ones join the line, lost workers' jobs are rescued;
    /// [`QueueStats::paused_at`](crate::QueueStats::paused_at) shows it.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn pause(&self, queue: &str) -> Result<(), QueueError> {
        self.set_paused(queue, true).await
    }

    /// Gives out jobs again; does nothing when the queue is not paused.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn resume(&self, queue: &str) -> Result<(), QueueError> {
        self.set_paused(queue, false).await
    }

    /// Limits how many jobs run at a time, in all processes and until it is set again;
    /// [`QueueStats`](crate::QueueStats) shows it. What runs goes on: a limit takes effect as jobs
    /// start and end.
    ///
    /// Under a limit per user, users take turns: no more jobs of a user than the limit says are in
    /// line at all, and each that ends lets the next one join the line, at its end. So however many
    /// jobs a user has, others wait for no more of them than the limit.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn set_limits(&self, queue: &str, limits: Limits) -> Result<(), QueueError> {
        check_queue(queue)?;
        self.register(queue).await?;
        let scripts = &self.shared.scripts;
        let text = |limit: Option<u32>| limit.map_or_else(String::new, |it| it.max(1).to_string());
        let _: i64 = self
            .shared
            .calls
            .function(&scripts.limit, &root(queue), Repeat::Safe, |command| {
                command.arg(text(limits.all)).arg(text(limits.per_user));
            })
            .await?;
        Ok(())
    }

    /// Has a job that waits for its time, or for its next attempt, do so no longer. False when it
    /// does neither.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn run_now(&self, id: &JobId) -> Result<bool, QueueError> {
        self.is_done("run", id).await
    }

    /// An operation on jobs that are named. Those that are gone, or in a state that it is not for,
    /// are left alone. With the id of an `action`, which is lower-case letters and digits, it can be
    /// [undone](Queues::undo).
    ///
    /// # Errors
    /// When Valkey does not answer; then some are done.
    pub async fn apply(
        &self,
        operation: Operation,
        ids: &[JobId],
        action: &str,
    ) -> Result<Applied, QueueError> {
        let mut all = Applied::default();
        for ids in ids.chunks(AT_A_TIME) {
            let mut operated = Vec::with_capacity(ids.len());
            for id in ids {
                operated.push(self.operate(operation.as_str(), id, action));
            }
            for operated in try_join_all(operated).await? {
                all.done += u64::from(operated == Operated::Done);
                all.key_taken += u64::from(operated == Operated::KeyTaken);
            }
        }
        Ok(all)
    }

    /// An operation on all jobs that a query means, of those that were there when it began. Works
    /// as [`Queues::retry_all`] does, and as [`Queues::apply`].
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer; then some are done.
    pub async fn apply_to_all(
        &self,
        operation: Operation,
        query: &JobQuery,
        action: &str,
    ) -> Result<Applied, QueueError> {
        let queues = match &query.queue {
            Some(queue) => vec![queue.clone()],
            None => self.names().await?,
        };
        let mut all = Applied::default();
        for filter in query.filters(&queues) {
            if operation.is_for(filter.state) {
                let RetriedAll { done, key_taken } =
                    self.sweep(operation.as_str(), &filter, action).await?;
                all.done += done;
                all.key_taken += key_taken;
            }
        }
        Ok(all)
    }

    /// Undoes an action of the last [`UNDO`](crate::keys::UNDO): jobs that it cancelled are retried,
    /// jobs that had ended and were deleted are back. Returns how many.
    ///
    /// # Errors
    /// When Valkey does not answer; the same call does the others.
    pub async fn undo(&self, operation: Operation, action: &str) -> Result<u64, QueueError> {
        let Some(undo) = operation.undo() else {
            return Ok(0);
        };
        let mut all = 0;
        for queue in self.names().await? {
            loop {
                let shared = &self.shared;
                let (done, left): (u64, u64) = shared
                    .calls
                    .function(
                        &shared.scripts.undo,
                        &root(&queue),
                        Repeat::Safe,
                        |command| {
                            command.arg(action).arg(undo);
                        },
                    )
                    .await?;
                all += done;
                if left == 0 {
                    break;
                }
            }
        }
        Ok(all)
    }

    async fn set_paused(&self, queue: &str, paused: bool) -> Result<(), QueueError> {
        check_queue(queue)?;
        self.register(queue).await?;
        let scripts = &self.shared.scripts;
        let _: i64 = self
            .shared
            .calls
            .function(&scripts.pause, &root(queue), Repeat::Safe, |command| {
                command.arg(u8::from(paused));
            })
            .await?;
        Ok(())
    }

    async fn is_done(&self, operation: &str, id: &JobId) -> Result<bool, QueueError> {
        match self.operate(operation, id, "").await? {
            Operated::NotFound => Err(QueueError::NotFound(id.clone())),
            operated => Ok(operated == Operated::Done),
        }
    }

    async fn operate(
        &self,
        operation: &str,
        id: &JobId,
        action: &str,
    ) -> Result<Operated, QueueError> {
        let scripts = &self.shared.scripts;
        let operated = self
            .shared
            .calls
            .function(
                &scripts.operate,
                &root(id.queue()),
                Repeat::Safe,
                |command| {
                    command.arg(operation).arg(id.job()).arg(action);
                },
            )
            .await?;
        Ok(operated)
    }

    async fn sweep(
        &self,
        operation: &str,
        filter: &JobFilter,
        action: &str,
    ) -> Result<RetriedAll, QueueError> {
        check_queue(&filter.queue)?;
        let root = root(&filter.queue);
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let mut total = RetriedAll::default();
        let mut began = String::new();
        for set in filter.state.sets() {
            let (mut score, mut last) = (String::new(), String::new());
            loop {
                let (done, taken): (u64, u64);
                (done, taken, began, score, last) = self
                    .shared
                    .calls
                    .function(&self.shared.scripts.sweep, &root, Repeat::Safe, |command| {
                        command
                            .arg(operation)
                            .arg(set)
                            .arg(text(&filter.user))
                            .arg(text(&filter.error))
                            .arg(&began)
                            .arg(&score)
                            .arg(&last)
                            .arg(text(&filter.text))
                            .arg(action);
                    })
                    .await?;
                total.done += done;
                total.key_taken += taken;
                if last.is_empty() {
                    break;
                }
            }
        }
        Ok(total)
    }
}

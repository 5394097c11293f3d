//! What operators do: pause queues; cancel, retry and delete jobs, one by one or all that a filter
//! matches.

use sluice_valkey::Repeat;

use crate::id::check_queue;
use crate::keys::root;
use crate::{JobId, QueueError, Queues, State};

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
}

impl JobFilter {
    /// All jobs of `queue` in `state`.
    pub fn new(queue: impl Into<String>, state: State) -> Self {
        Self {
            queue: queue.into(),
            state,
            user: None,
            error: None,
        }
    }
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
        match self.operate("retry", id).await? {
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
        self.sweep("retry", filter).await
    }

    /// [`Queues::cancel`] for all jobs that the filter matches. Returns how many are or will be
    /// cancelled. Works as [`Queues::retry_all`] does.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn cancel_all(&self, filter: &JobFilter) -> Result<u64, QueueError> {
        Ok(self.sweep("cancel", filter).await?.done)
    }

    /// [`Queues::delete`] for all jobs that the filter matches. Returns how many are gone.
    /// Works as [`Queues::retry_all`] does.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn delete_all(&self, filter: &JobFilter) -> Result<u64, QueueError> {
        Ok(self.sweep("delete", filter).await?.done)
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
        match self.operate(operation, id).await? {
            Operated::NotFound => Err(QueueError::NotFound(id.clone())),
            operated => Ok(operated == Operated::Done),
        }
    }

    async fn operate(&self, operation: &str, id: &JobId) -> Result<Operated, QueueError> {
        let scripts = &self.shared.scripts;
        let operated = self
            .shared
            .calls
            .function(
                &scripts.operate,
                &root(id.queue()),
                Repeat::Safe,
                |command| {
                    command.arg(operation).arg(id.job());
                },
            )
            .await?;
        Ok(operated)
    }

    async fn sweep(&self, operation: &str, filter: &JobFilter) -> Result<RetriedAll, QueueError> {
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
                            .arg(&last);
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

//! Batches: many jobs that are counted together, and the jobs that are called back when all of them
//! have ended.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sluice_valkey::Repeat;

use crate::enqueue::{Details, Job, add};
use crate::id::check_queue;
use crate::job::{Fields, NewJob};
use crate::keys::root;
use crate::{JobId, QueueError, Queues};

/// Names a batch: `<queue>_<ulid>`, as a job id.
#[derive(Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct BatchId(JobId);

impl BatchId {
    pub(crate) fn from_parts(queue: &str, batch: &str) -> Self {
        Self(JobId::from_parts(queue, batch))
    }

    /// The name of the batch's queue.
    pub fn queue(&self) -> &str {
        self.0.queue()
    }

    /// The part after the queue's name.
    pub(crate) fn batch(&self) -> &str {
        self.0.job()
    }

    fn key(&self) -> String {
        format!("{}batch:{}", root(self.queue()), self.batch())
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl FromStr for BatchId {
    type Err = QueueError;

    fn from_str(id: &str) -> Result<Self, QueueError> {
        JobId::parse(id).map(Self)
    }
}

/// The callbacks of a batch to open: at least one, and all in the queue of the batch. They are
/// there from the start, [waiting](crate::State::Waiting), and have the batch's [`BatchCounts`] as
/// their [input](crate::Run::input).
#[derive(Debug, Clone, Default)]
pub struct NewBatch {
    /// Is enqueued once, when all jobs have ended, whatever their ends.
    pub on_end: Option<NewJob>,
    /// Is enqueued once, when all jobs have completed. When all have ended and some of them
    /// otherwise, it is cancelled; should an operator retry those, and they complete, it is
    /// enqueued after all.
    pub on_success: Option<NewJob>,
}

/// How many jobs of a batch there are and have ended, by how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCounts {
    /// All jobs that were added.
    pub jobs: u64,
    /// Those with a result.
    pub completed: u64,
    /// Those whose handler's answer was "no".
    pub refused: u64,
    /// Dead letters.
    pub dead: u64,
    /// Cancelled ones, and those that were deleted before they had ended.
    pub cancelled: u64,
}

impl BatchCounts {
    /// How many have not ended.
    pub fn pending(&self) -> u64 {
        self.jobs
            .saturating_sub(self.completed + self.refused + self.dead + self.cancelled)
    }
}

/// A batch as an operator sees it. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchView {
    /// The batch.
    pub id: BatchId,
    /// When it was opened.
    pub created_at: u64,
    /// When it was closed.
    pub closed_at: Option<u64>,
    /// When all of its jobs had ended for the first time.
    pub ended_at: Option<u64>,
    /// When all of its jobs had completed.
    pub succeeded_at: Option<u64>,
    /// Its jobs.
    #[serde(flatten)]
    pub counts: BatchCounts,
    /// The job that is called back when all have ended.
    pub on_end: Option<JobId>,
    /// The job that is called back when all have completed.
    pub on_success: Option<JobId>,
}

sluice_valkey::statuses! {
    /// How closing a batch went.
    pub(crate) enum CloseStatus {
        Closed = "closed",
        /// It was before.
        ClosedBefore = "closed_before",
        /// There is no such batch (any more).
        NotFound = "not_found",
    }
}

impl Queues {
    /// Opens a batch. Jobs join it by [`NewJob::batch`] until it has ended; it can end once it is
    /// [closed](Queues::close_batch). A batch that is not closed is gone 14 days after the last job
    /// joined, and its callbacks are cancelled; one that has ended is kept for 14 days.
    ///
    /// # Errors
    /// [`QueueError::Invalid`] for no callback, two queues, or a callback with a unique or
    /// idempotency key or a batch; else as [`Queues::enqueue`].
    pub async fn open_batch(&self, new: NewBatch) -> Result<BatchId, QueueError> {
        let refuse = |rule| {
            Err(QueueError::Invalid {
                what: "batch",
                rule,
            })
        };
        let callbacks = [("on_end", &new.on_end), ("on_success", &new.on_success)];
        let callbacks = callbacks.map(|(name, job)| Some((name, job.as_ref()?)));
        let callbacks: Vec<_> = callbacks.into_iter().flatten().collect();
        let Some(&(_, first)) = callbacks.first() else {
            return refuse("must have a callback");
        };
        if callbacks.iter().any(|(_, job)| job.queue != first.queue) {
            return refuse("must have its callbacks in one queue");
        }
        if callbacks
            .iter()
            .any(|(_, job)| job.has_key() || job.batch.is_some())
        {
            return refuse("must have callbacks without keys and batch");
        }
        let batch = BatchId(JobId::new(&first.queue));
        let mut details = Vec::with_capacity(2);
        for &(name, job) in &callbacks {
            let limit = self.shared.payload_limit;
            let mut callback = Details::of(job, limit)?;
            callback.link(name, "1");
            callback.link("callback_of", batch.batch());
            if callbacks.iter().any(|(_, job)| job.frees_memory) {
                callback.link("frees_memory", "1");
            }
            details.push(callback);
        }
        self.register(&first.queue).await?;
        let linked = callbacks.iter().zip(&details);
        let linked: Vec<Job> = linked.map(|(&(_, job), details)| (job, details)).collect();
        let answers = add(&self.shared, &first.queue, &linked, linked.len()).await?;
        for (answer, details) in answers.into_iter().zip(&details) {
            answer.of(&details.id)?;
        }
        Ok(batch)
    }

    /// Closes a batch: it ends, and calls back, when its jobs have; at once if they have already.
    /// False when it was closed before. Until it has ended, its own jobs may still add others to
    /// it.
    ///
    /// # Errors
    /// [`QueueError::BatchEnded`] when there is no such batch (any more), and when Valkey does not
    /// answer.
    pub async fn close_batch(&self, batch: &BatchId) -> Result<bool, QueueError> {
        let closed: CloseStatus = self
            .shared
            .calls
            .function(
                &self.shared.scripts.close,
                &root(batch.queue()),
                Repeat::Safe,
                |command| {
                    command.arg(batch.batch());
                },
            )
            .await?;
        match closed {
            CloseStatus::Closed => Ok(true),
            CloseStatus::ClosedBefore => Ok(false),
            CloseStatus::NotFound => Err(QueueError::BatchEnded(batch.clone())),
        }
    }

    /// A batch as it is now.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn batch(&self, batch: &BatchId) -> Result<Option<BatchView>, QueueError> {
        check_queue(batch.queue())?;
        let mut command = redis::cmd("HGETALL");
        command.arg(batch.key());
        let hash: HashMap<String, Vec<u8>> = self.shared.calls.command("batch", &command).await?;
        if hash.is_empty() {
            return Ok(None);
        }
        let mut fields = Fields::new(hash);
        let mut count = |name| fields.number(name).unwrap_or_default();
        let counts = BatchCounts {
            jobs: count("jobs"),
            completed: count("completed"),
            refused: count("refused"),
            dead: count("dead"),
            cancelled: count("cancelled"),
        };
        Ok(Some(BatchView {
            id: batch.clone(),
            created_at: fields.number("created_at").unwrap_or_default(),
            closed_at: fields.number("closed_at"),
            ended_at: fields.number("ended_at"),
            succeeded_at: fields.number("succeeded_at"),
            counts,
            on_end: fields.job("on_end", batch.queue()),
            on_success: fields.job("on_success", batch.queue()),
        }))
    }
}

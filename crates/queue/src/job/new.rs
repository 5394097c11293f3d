//! A job to enqueue.

use std::time::{Duration, SystemTime};

use serde::Serialize;
use serde_json::value::RawValue;

use crate::keys::{DELAY_LIMIT, MAX_ATTEMPTS, NAME_LIMIT, PRIORITY, VERSION};
use crate::{Backoff, BatchId, JobId, QueueError, Unique};

/// A job to enqueue. [`NewJob::new`] has the defaults; the fields are there to be set.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// The queue's name: `a-z`, `0-9` and `-`.
    pub queue: String,
    /// The job's id, which [`JobId::new`] makes. Enqueueing another job with the id of one that is
    /// kept adds none, and answers as the first time. Default: a new one.
    pub id: Option<JobId>,
    /// The version of the payload's shape. Default 1. Only workers that know it run the job, see
    /// [`WorkerConfig::version`](crate::WorkerConfig::version).
    pub version: u32,
    /// What the handler gets, at most
    /// [`QueueConfig::payload_limit`](crate::QueueConfig::payload_limit) bytes.
    pub payload: Box<RawValue>,
    /// On whose behalf the job runs.
    pub user: Option<String>,
    /// The party that takes turns with others, if that is not the user. See
    /// [`NewJob::priority`].
    pub turn: Option<String>,
    /// Enqueueing answers with the job that counts as the same, if there is one.
    pub unique: Option<Unique>,
    /// For 24 h, enqueueing with this key answers with its first job, however that ended.
    pub idempotency: Option<Idempotency>,
    /// The [batch](crate::Queues::open_batch) that the job is counted in, in the same queue. A job
    /// that is there already does not join it.
    pub batch: Option<BatchId>,
    /// At most one job of a group runs at a time, in the order of enqueueing. A job that is retried
    /// keeps its place, so the next ones wait until it succeeds or its attempts are used up. A
    /// delayed job joins the line when it is due.
    pub group: Option<String>,
    /// 0 (first) to 9 (last; larger numbers count as 9). Default 5. Within a group the order of
    /// enqueueing counts, not the priority. Of the jobs of the default priority, those of different
    /// users take turns: each user has one in line, and the next one joins it, at the end, when
    /// that starts.
    pub priority: u8,
    /// How often the job may be started, crashes of its worker included, before it is dead. At
    /// least 1, default 8. None: until it succeeds, however often that takes. One that kills its
    /// workers is dead [sooner](crate::WorkerConfig::losses).
    pub max_attempts: Option<u32>,
    /// How long it waits between its attempts. Default: as its worker
    /// [says](crate::WorkerConfig::backoff).
    pub backoff: Option<Backoff>,
    /// How long the job waits at least, in whole milliseconds, at most [`DELAY_LIMIT`]. One that is
    /// [later in a chain](crate::Queues::enqueue_chain), or a [callback](crate::NewBatch), does so
    /// once what it waits for has ended.
    pub delay: Option<Duration>,
    /// When the job may start at the earliest, to the millisecond and by the server's clock; a time
    /// in the past means at once. Not together with `delay`; before the year 2970. For one that is
    /// later in a chain, or a callback: not before that time either, once what it waits for has
    /// ended.
    pub run_at: Option<SystemTime>,
    /// The job frees memory of the server, so it is added also while that is full, and while the
    /// [queue](crate::QueueConfig::backlog_limit) is. Default false.
    pub frees_memory: bool,
    /// The trace it belongs to (a W3C `traceparent`).
    pub trace: Option<String>,
    /// A note of the enqueuer's own, such as who may see the job. The queue hands it out with
    /// [`JobView::label`](crate::JobView::label) and does not look at it.
    pub label: Option<String>,
}

/// An idempotency key and what it stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// The key, which the caller has scoped to its users.
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
        let payload = serde_json::value::to_raw_value(payload)?;
        Ok(Self::of_json(queue, payload))
    }

    /// As [`NewJob::new`], of a payload that is JSON already.
    pub(crate) fn of_json(queue: impl Into<String>, payload: Box<RawValue>) -> Self {
        Self {
            queue: queue.into(),
            id: None,
            version: VERSION,
            payload,
            user: None,
            turn: None,
            unique: None,
            idempotency: None,
            batch: None,
            group: None,
            priority: PRIORITY,
            max_attempts: Some(MAX_ATTEMPTS),
            backoff: None,
            delay: None,
            run_at: None,
            frees_memory: false,
            trace: None,
            label: None,
        }
    }

    /// Whether enqueueing it may answer with another job.
    pub(crate) fn has_key(&self) -> bool {
        self.unique.is_some() || self.idempotency.is_some()
    }

    /// Refuses what a queue does not keep.
    pub(crate) fn check(&self, payload_limit: usize) -> Result<(), QueueError> {
        crate::id::check_queue(&self.queue)?;
        if self.id.as_ref().is_some_and(|it| it.queue() != self.queue) {
            return Err(QueueError::Invalid {
                what: "id",
                rule: "must be in the job's queue",
            });
        }
        check_size("payload", self.payload.get().len(), payload_limit)?;
        if self
            .batch
            .as_ref()
            .is_some_and(|it| it.queue() != self.queue)
        {
            return Err(QueueError::Invalid {
                what: "batch",
                rule: "must be in the queue of its jobs",
            });
        }
        if let Some(backoff) = &self.backoff {
            backoff.check()?;
        }
        self.check_schedule()?;
        let idempotency = self.idempotency.as_ref();
        for (what, value) in [
            ("user", self.user.as_ref()),
            ("turn", self.turn.as_ref()),
            ("group", self.group.as_ref()),
            ("trace", self.trace.as_ref()),
            ("label", self.label.as_ref()),
            ("idempotency key", idempotency.map(|it| &it.key)),
            ("fingerprint", idempotency.map(|it| &it.fingerprint)),
        ] {
            check_size(what, value.map_or(0, String::len), NAME_LIMIT)?;
        }
        Ok(())
    }

    fn check_schedule(&self) -> Result<(), QueueError> {
        let refuse = |what, rule| Err(QueueError::Invalid { what, rule });
        if self.delay.is_some() && self.run_at.is_some() {
            return refuse("run_at", "must not be set together with delay");
        }
        if self.delay.is_some_and(|it| it > DELAY_LIMIT) {
            return refuse("delay", "must be at most 1,000 years");
        }
        if self.run_at.is_some_and(|it| since_1970(it) >= DELAY_LIMIT) {
            return refuse("run_at", "must be before the year 2970");
        }
        Ok(())
    }

    /// [`NewJob::run_at`] in ms since 1970, rounded up: it must not start before.
    pub(crate) fn run_at_millis(&self) -> Option<u128> {
        let at = since_1970(self.run_at?);
        Some(at.as_nanos().div_ceil(1_000_000))
    }
}

/// What was before counts as the beginning of 1970, which is as well past.
fn since_1970(time: SystemTime) -> Duration {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
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

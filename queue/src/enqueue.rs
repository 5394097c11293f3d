//! Adding jobs, one by one or many at once.

use redis::{Cmd, RedisResult};
use serde::Serialize;

use crate::batch::{Batches, Request, ask, fitting};
use crate::job::{Enqueued, NewJob};
use crate::keys::{UNLIMITED, root};
use crate::queues::Shared;
use crate::worker::millis;
use crate::{JobId, QueueError, Queues, Unique};

impl Queues {
    /// Adds a job, or answers with the one that is already there for its unique or idempotency key.
    ///
    /// # Errors
    /// [`QueueError::IdempotencyKeyReused`], [`QueueError::TooLarge`], [`QueueError::InvalidQueue`], and when Valkey
    /// does not answer; then the job may have been added all the same.
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let details = Details::of(&job, self.shared.payload_limit)?;
        let queue = job.queue.clone();
        self.register(&queue).await?;
        ask(&self.shared, &queue, Addition { job, details })
            .await?
            .of(&queue)
    }

    /// As [`Queues::enqueue`] for each job, in few round trips. The answers are in the order of the jobs; the only error
    /// among them is [`QueueError::IdempotencyKeyReused`].
    ///
    /// Not a transaction: a worker may start the first jobs before the last ones are added. Those of one queue get their
    /// places in line in the order given.
    ///
    /// # Errors
    /// [`QueueError::TooLarge`] and [`QueueError::InvalidQueue`] for any of the jobs; then none was added. When Valkey
    /// does not answer, any of them may have been added.
    pub async fn enqueue_all(
        &self,
        jobs: &[NewJob],
    ) -> Result<Vec<Result<Enqueued, QueueError>>, QueueError> {
        let details = jobs
            .iter()
            .map(|job| Details::of(job, self.shared.payload_limit));
        let details: Vec<_> = details.collect::<Result<_, _>>()?;
        let mut numbered: Vec<_> = jobs.iter().zip(&details).enumerate().collect();
        // Stable, so the jobs of a queue keep their order.
        numbered.sort_by_key(|&(_, (job, _))| job.queue.as_str());
        let (numbers, sorted): (Vec<usize>, Vec<Job>) = numbered.into_iter().unzip();
        let mut answers = Vec::with_capacity(jobs.len());
        for same_queue in sorted.chunk_by(|(one, _), (next, _)| one.queue == next.queue) {
            let queue = same_queue.first().map_or("", |(job, _)| job.queue.as_str());
            self.register(queue).await?;
            let mut left = same_queue;
            while !left.is_empty() {
                let sizes = left.iter().map(|(job, _)| job.payload.get().len());
                let (step, rest) = left.split_at(fitting(sizes));
                let found = add(&self.shared, queue, step).await?;
                answers.extend(found.into_iter().map(|answer| answer.of(queue)));
                left = rest;
            }
        }
        let mut answers: Vec<_> = numbers.into_iter().zip(answers).collect();
        answers.sort_unstable_by_key(|&(number, _)| number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

/// The script's answer for one job.
pub(crate) struct Added {
    outcome: String,
    job: String,
}

impl Added {
    fn of(self, queue: &str) -> Result<Enqueued, QueueError> {
        let id = JobId::from_parts(queue, &self.job);
        match self.outcome.as_str() {
            "conflict" => Err(QueueError::IdempotencyKeyReused { first: id }),
            outcome => Ok(Enqueued {
                id,
                existing: outcome == "existing",
            }),
        }
    }
}

/// A job that was checked, and what the script needs besides.
type Job<'a> = (&'a NewJob, &'a Details);

/// What is worked out of a job before it is sent.
struct Details {
    id: JobId,
    unique_key: String,
    more: String,
}

impl Details {
    /// Refuses what a queue does not keep.
    fn of(job: &NewJob, payload_limit: usize) -> Result<Self, QueueError> {
        job.check(payload_limit)?;
        let unique = job.unique.as_ref();
        let unique_key = unique.map(|it| it.key(&job.payload)).transpose()?;
        Ok(Self {
            id: JobId::new(&job.queue),
            unique_key: unique_key.unwrap_or_default(),
            more: More::of(job),
        })
    }
}

/// One caller's job.
pub(crate) struct Addition {
    job: NewJob,
    details: Details,
}

impl Request for Addition {
    type Answer = Added;

    fn batches(shared: &Shared) -> &Batches<Self> {
        &shared.added
    }

    fn size(&self) -> usize {
        self.job.payload.get().len()
    }

    async fn send(shared: &Shared, queue: &str, batch: &[Self]) -> RedisResult<Vec<Added>> {
        let jobs: Vec<Job> = batch.iter().map(|it| (&it.job, &it.details)).collect();
        add(shared, queue, &jobs).await
    }
}

/// Adds jobs of one queue by one script.
async fn add(shared: &Shared, queue: &str, jobs: &[Job<'_>]) -> RedisResult<Vec<Added>> {
    let answers: Vec<(String, String)> = shared
        .lane
        .script(&shared.scripts.enqueue, &root(queue), |command| {
            for &(job, details) in jobs {
                arguments(command, job, details);
            }
        })
        .await?;
    for outcome in ["new", "existing", "conflict"] {
        let count = answers.iter().filter(|(it, _)| it == outcome).count();
        if count > 0 {
            metrics::counter!("sluice_queue_enqueued_total", "queue" => queue.to_owned(), "outcome" => outcome)
                .increment(count as u64);
        }
    }
    let answers = answers.into_iter();
    Ok(answers
        .map(|(outcome, job)| Added { outcome, job })
        .collect())
}

fn arguments(command: &mut Cmd, job: &NewJob, details: &Details) {
    fn optional(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or_default()
    }
    let (key, fingerprint) = job
        .idempotency
        .as_ref()
        .map(|it| (it.key.as_str(), it.fingerprint.as_str()))
        .unwrap_or_default();
    command
        .arg(details.id.job())
        .arg(job.payload.get())
        .arg(job.version)
        .arg(optional(&job.user))
        .arg(&details.unique_key)
        .arg(key)
        .arg(fingerprint)
        .arg(optional(&job.group))
        .arg(job.priority.min(9))
        .arg(job.max_attempts.map_or(UNLIMITED, |it| it.max(1)))
        .arg(job.delay.map_or(0, millis))
        .arg(optional(&job.trace))
        .arg(&details.more);
}

/// What few jobs have, in one argument, so that the others do not pay for it.
#[derive(Default, PartialEq, Serialize)]
struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    backoff: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unique_in: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    period: Option<u64>,
}

impl More {
    /// As the script takes it: JSON, or nothing when there is nothing.
    fn of(job: &NewJob) -> String {
        let unique = job.unique.as_ref();
        let more = Self {
            backoff: job.backoff.as_ref().map(json),
            unique_in: unique.and_then(Unique::counts),
            period: unique.and_then(Unique::period).map(millis),
        };
        if more == Self::default() {
            return String::new();
        }
        json(&more)
    }
}

/// What is written here is made of texts and finite numbers, so that it cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

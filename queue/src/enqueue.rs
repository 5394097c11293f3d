//! Adding jobs, one by one or many at once.

use redis::{Cmd, RedisResult};

use crate::batch::{Batches, Request, ask, fitting};
use crate::job::{Enqueued, NewJob};
use crate::keys::root;
use crate::queues::Shared;
use crate::worker::millis;
use crate::{JobId, QueueError, Queues};

impl Queues {
    /// Adds a job, or answers with the one that is already there for its unique or idempotency key.
    ///
    /// # Errors
    /// [`QueueError::IdempotencyKeyReused`], [`QueueError::TooLarge`], [`QueueError::InvalidQueue`], and when Valkey
    /// does not answer; then the job may have been added all the same.
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        job.check()?;
        self.register(&job.queue).await?;
        let queue = job.queue.clone();
        ask(&self.shared, &queue, job).await?.of(&queue)
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
        for job in jobs {
            job.check()?;
        }
        let mut numbered: Vec<(usize, &NewJob)> = jobs.iter().enumerate().collect();
        // Stable, so the jobs of a queue keep their order.
        numbered.sort_by_key(|&(_, job)| job.queue.as_str());
        let (numbers, sorted): (Vec<usize>, Vec<&NewJob>) = numbered.into_iter().unzip();
        let mut answers = Vec::with_capacity(jobs.len());
        for same_queue in sorted.chunk_by(|one, next| one.queue == next.queue) {
            let queue = same_queue.first().map_or("", |job| job.queue.as_str());
            self.register(queue).await?;
            let mut left = same_queue;
            while !left.is_empty() {
                let (step, rest) = left.split_at(fitting(left.iter().map(|job| job.size())));
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

impl Request for NewJob {
    type Answer = Added;

    fn batches(shared: &Shared) -> &Batches<Self> {
        &shared.added
    }

    fn size(&self) -> usize {
        self.payload.get().len()
    }

    async fn send(shared: &Shared, queue: &str, batch: &[Self]) -> RedisResult<Vec<Added>> {
        let jobs: Vec<&Self> = batch.iter().collect();
        add(shared, queue, &jobs).await
    }
}

/// Adds jobs of one queue by one script.
async fn add(shared: &Shared, queue: &str, jobs: &[&NewJob]) -> RedisResult<Vec<Added>> {
    let ids: Vec<JobId> = jobs.iter().map(|_| JobId::new(queue)).collect();
    let answers: Vec<(String, String)> = shared
        .lane
        .script(&shared.scripts.enqueue, &root(queue), |command| {
            for (id, job) in ids.iter().zip(jobs) {
                arguments(command, id, job);
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

fn arguments(command: &mut Cmd, id: &JobId, job: &NewJob) {
    fn optional(value: &Option<String>) -> &str {
        value.as_deref().unwrap_or_default()
    }
    let (key, fingerprint) = job
        .idempotency
        .as_ref()
        .map(|it| (it.key.as_str(), it.fingerprint.as_str()))
        .unwrap_or_default();
    command
        .arg(id.job())
        .arg(job.payload.get())
        .arg(job.version)
        .arg(optional(&job.user))
        .arg(optional(&job.unique_key))
        .arg(key)
        .arg(fingerprint)
        .arg(optional(&job.group))
        .arg(job.priority.min(9))
        .arg(job.max_attempts.max(1))
        .arg(job.delay.map_or(0, millis))
        .arg(optional(&job.trace));
}

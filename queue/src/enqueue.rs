//! Adding jobs, one by one or many at once.

use redis::Cmd;

use crate::job::{Enqueued, NewJob};
use crate::keys::{ENQUEUE_BYTES, ENQUEUE_LIMIT, root};
use crate::worker::millis;
use crate::{JobId, QueueError, Queues};

impl Queues {
    /// Adds a job, or answers with the one that is already there for its unique or idempotency key.
    ///
    /// # Errors
    /// [`QueueError::IdempotencyKeyReused`], [`QueueError::TooLarge`], [`QueueError::InvalidQueue`], and when Valkey
    /// does not answer; then the job may have been added all the same.
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        job.check(self.shared.payload_limit)?;
        let answer = self.add(&job.queue, &[&job]).await?.pop();
        answer.unwrap_or_else(|| Err(QueueError::Malformed("no answer".into())))
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
            job.check(self.shared.payload_limit)?;
        }
        let mut numbered: Vec<(usize, &NewJob)> = jobs.iter().enumerate().collect();
        // Stable, so the jobs of a queue keep their order.
        numbered.sort_by_key(|&(_, job)| job.queue.as_str());
        let (numbers, sorted): (Vec<usize>, Vec<&NewJob>) = numbered.into_iter().unzip();
        let mut answers = Vec::with_capacity(jobs.len());
        for same_queue in sorted.chunk_by(|one, next| one.queue == next.queue) {
            let mut left = same_queue;
            while let [first, ..] = left {
                let (step, rest) = left.split_at(step(left));
                answers.extend(self.add(&first.queue, step).await?);
                left = rest;
            }
        }
        let mut answers: Vec<_> = numbers.into_iter().zip(answers).collect();
        answers.sort_unstable_by_key(|&(number, _)| number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }

    /// Adds jobs of one queue by one script.
    async fn add(
        &self,
        queue: &str,
        jobs: &[&NewJob],
    ) -> Result<Vec<Result<Enqueued, QueueError>>, QueueError> {
        self.register(queue).await?;
        let ids: Vec<JobId> = jobs.iter().map(|_| JobId::new(queue)).collect();
        let answers: Vec<(String, String)> = self
            .shared
            .lane
            .script(&self.shared.scripts.enqueue, &root(queue), |command| {
                for (id, job) in ids.iter().zip(jobs) {
                    arguments(command, id, job);
                }
            })
            .await?;
        let answers = answers.into_iter().map(|(outcome, found)| {
            let id = JobId::from_parts(queue, &found);
            let answer = match outcome.as_str() {
                "conflict" => Err(QueueError::IdempotencyKeyReused { first: id }),
                outcome => Ok(Enqueued {
                    id,
                    existing: outcome == "existing",
                }),
            };
            metrics::counter!("sluice_queue_enqueued_total", "queue" => queue.to_owned(), "outcome" => outcome)
                .increment(1);
            answer
        });
        Ok(answers.collect())
    }
}

/// How many of the jobs the next script takes: a bounded number and size, so that it does not hold up the server.
fn step(jobs: &[&NewJob]) -> usize {
    let mut bytes = 0;
    let fitting = jobs.iter().take(ENQUEUE_LIMIT).take_while(|job| {
        bytes += job.payload.get().len();
        bytes <= ENQUEUE_BYTES
    });
    fitting.count().max(1)
}

fn arguments(command: &mut Cmd, id: &JobId, job: &NewJob) {
    let optional = |value: &Option<String>| value.clone().unwrap_or_default();
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

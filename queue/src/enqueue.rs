//! Adding jobs, one by one or many at once.

use redis::Cmd;
use serde::Serialize;

use crate::job::{Enqueued, NewJob};
use crate::keys::{ENQUEUE_BYTES, ENQUEUE_LIMIT, UNLIMITED, root};
use crate::worker::millis;
use crate::{JobId, QueueError, Queues, Unique};

impl Queues {
    /// Adds a job, or answers with the one that is already there for its unique or idempotency key.
    ///
    /// # Errors
    /// [`QueueError::IdempotencyKeyReused`], [`QueueError::TooLarge`], [`QueueError::InvalidQueue`], and when Valkey
    /// does not answer; then the job may have been added all the same.
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let prepared = Prepared::new(&job)?;
        let answer = self.add(&job.queue, &[prepared]).await?.pop();
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
        let prepared = jobs.iter().map(Prepared::new);
        let prepared: Vec<_> = prepared.collect::<Result<_, _>>()?;
        let mut numbered: Vec<(usize, Prepared)> = prepared.into_iter().enumerate().collect();
        // Stable, so the jobs of a queue keep their order.
        numbered.sort_by_key(|(_, it)| it.job.queue.as_str());
        let (numbers, sorted): (Vec<usize>, Vec<Prepared>) = numbered.into_iter().unzip();
        let mut answers = Vec::with_capacity(jobs.len());
        for same_queue in sorted.chunk_by(|one, next| one.job.queue == next.job.queue) {
            let mut left = same_queue;
            while let [first, ..] = left {
                let (step, rest) = left.split_at(step(left));
                answers.extend(self.add(&first.job.queue, step).await?);
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
        jobs: &[Prepared<'_>],
    ) -> Result<Vec<Result<Enqueued, QueueError>>, QueueError> {
        self.register(queue).await?;
        let answers: Vec<(String, String)> = self
            .shared
            .lane
            .script(&self.shared.scripts.enqueue, &root(queue), |command| {
                for job in jobs {
                    job.arguments(command);
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
fn step(jobs: &[Prepared]) -> usize {
    let mut bytes = 0;
    let fitting = jobs.iter().take(ENQUEUE_LIMIT).take_while(|it| {
        bytes += it.job.payload.get().len();
        bytes <= ENQUEUE_BYTES
    });
    fitting.count().max(1)
}

/// A job that was checked, with what the script needs besides.
struct Prepared<'a> {
    job: &'a NewJob,
    id: JobId,
    unique_key: String,
    more: String,
}

impl<'a> Prepared<'a> {
    fn new(job: &'a NewJob) -> Result<Self, QueueError> {
        job.check()?;
        let unique = job.unique.as_ref();
        let unique_key = unique.map(|it| it.key(&job.payload)).transpose()?;
        Ok(Self {
            job,
            id: JobId::new(&job.queue),
            unique_key: unique_key.unwrap_or_default(),
            more: More::of(job),
        })
    }

    fn arguments(&self, command: &mut Cmd) {
        let job = self.job;
        let optional = |value: &Option<String>| value.clone().unwrap_or_default();
        let (key, fingerprint) = job
            .idempotency
            .as_ref()
            .map(|it| (it.key.as_str(), it.fingerprint.as_str()))
            .unwrap_or_default();
        command
            .arg(self.id.job())
            .arg(job.payload.get())
            .arg(job.version)
            .arg(optional(&job.user))
            .arg(&self.unique_key)
            .arg(key)
            .arg(fingerprint)
            .arg(optional(&job.group))
            .arg(job.priority.min(9))
            .arg(job.max_attempts.map_or(UNLIMITED, |it| it.max(1)))
            .arg(job.delay.map_or(0, millis))
            .arg(optional(&job.trace))
            .arg(&self.more);
    }
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

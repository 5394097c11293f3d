//! Jobs that run one after the other.

use crate::enqueue::{Details, Job, add};
use crate::job::{NewJob, check_size};
use crate::keys::{BATCH_BYTES, CHAIN_LIMIT, root};
use crate::{JobId, QueueError, Queues};

/// The answer to [`Queues::enqueue_chain`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chained {
    /// The jobs, in their order.
    pub jobs: Vec<JobId>,
    /// Whether they were there before.
    pub existing: bool,
}

impl Queues {
    /// Adds jobs of one queue that run one after the other: each begins when the one before it has
    /// completed, in the same script, and has its result as its [input](crate::Run::input). All
    /// of them are there at once, the later ones [waiting](crate::State::Waiting), so the last one
    /// can be waited for. A `delay` of a later one is the pause before it, a `run_at` the earliest
    /// time for it.
    ///
    /// When a job is refused, cancelled, deleted or dead, those behind it are cancelled; when an
    /// operator retries it and it completes, they go on. Only the first one may be unique or have
    /// an idempotency key: it stands for the chain.
    ///
    /// # Errors
    /// As [`Queues::enqueue`]; [`QueueError::Invalid`] for no job, more than [`CHAIN_LIMIT`],
    /// several queues or batches, or a later job with a key; [`QueueError::TooLarge`] for more than
    /// 1 MiB of payloads.
    pub async fn enqueue_chain(&self, jobs: &[NewJob]) -> Result<Chained, QueueError> {
        let refuse = |rule| {
            Err(QueueError::Invalid {
                what: "chain",
                rule,
            })
        };
        let [first, later @ ..] = jobs else {
            return refuse("must have a job");
        };
        if jobs.len() > CHAIN_LIMIT {
            return refuse("must have at most 100 jobs");
        }
        if later.iter().any(|job| job.queue != first.queue) {
            return refuse("must have all jobs in one queue");
        }
        if later.iter().any(|job| job.batch != first.batch) {
            return refuse("must have all jobs in one batch, or none");
        }
        if later.iter().any(NewJob::has_key) {
            return refuse("must have no unique or idempotency key but that of the first job");
        }
        let bytes = jobs.iter().map(|job| job.payload.get().len()).sum();
        check_size("chain", bytes, BATCH_BYTES)?;

        let limit = self.shared.payload_limit;
        let details = jobs.iter().map(|job| Details::of(job, limit));
        let mut details = details.collect::<Result<Vec<_>, _>>()?;
        let ids: Vec<_> = details.iter().map(|it| it.id.clone()).collect();
        for (at, pair) in ids.windows(2).enumerate() {
            if let ([previous, next], [before, behind]) = (pair, &mut details[at..at + 2]) {
                before.link("next", next.job());
                behind.link("previous", previous.job());
            }
        }
        self.register(&first.queue).await?;
        let linked: Vec<Job> = jobs.iter().zip(&details).collect();
        let answers = add(&self.shared, &first.queue, &linked, jobs.len()).await?;
        for (answer, id) in answers.into_iter().zip(&ids) {
            let enqueued = answer.of(id)?;
            // Only of the first one, and the others were not added then.
            if enqueued.existing {
                let jobs = self.chain_from(enqueued.id).await?;
                return Ok(Chained {
                    jobs,
                    existing: true,
                });
            }
        }
        Ok(Chained {
            jobs: ids,
            existing: false,
        })
    }

    /// A job and those behind it.
    async fn chain_from(&self, first: JobId) -> Result<Vec<JobId>, QueueError> {
        let mut jobs = vec![first];
        while let Some(last) = jobs.last()
            && jobs.len() < CHAIN_LIMIT
        {
            let mut command = redis::cmd("HGET");
            command
                .arg(format!("{}job:{}", root(last.queue()), last.job()))
                .arg("next");
            let next: Option<String> = self.shared.calls.command("chain", &command).await?;
            match next {
                Some(next) => jobs.push(JobId::from_parts(last.queue(), &next)),
                None => break,
            }
        }
        Ok(jobs)
    }
}

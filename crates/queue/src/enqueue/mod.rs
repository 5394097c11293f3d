//! Adding jobs, one by one or many at once.

mod added;

use std::pin::pin;
use std::task::Poll;

use futures_util::stream::FuturesOrdered;
use futures_util::{StreamExt, poll};
use redis::RedisResult;
use serde::Serialize;
use sluice_valkey::Repeat;

use crate::group_commit::{Answers, GroupCommit, Request, UNDER_WAY, fitting, submit};
use crate::job::{Enqueued, NewJob};
use crate::keys::{FIELDS, MAX_ATTEMPTS, PRIORITY, UNLIMITED, VERSION, root};
use crate::queues::Shared;
use crate::worker::millis;
use crate::{JobId, QueueError, Queues};
pub(crate) use added::Added;

impl Queues {
    /// Adds a job, or answers with the one that is already there for its unique or idempotency key.
    ///
    /// # Errors
    /// [`QueueError::IdempotencyKeyReused`], [`QueueError::BatchEnded`], [`QueueError::Full`],
    /// [`QueueError::TooLarge`], [`QueueError::Invalid`], [`QueueError::InvalidQueue`], and when
    /// Valkey does not answer; then the job may have been added all the same.
    pub async fn enqueue(&self, job: NewJob) -> Result<Enqueued, QueueError> {
        let details = Details::of(&job, self.shared.payload_limit)?;
        let id = details.id.clone();
        self.register(id.queue()).await?;
        let added = submit(&self.shared, id.queue(), Addition { job, details }).await?;
        added.of(&id)
    }

    /// As [`Queues::enqueue`] for each job, in few round trips. The answers are in the order of the
    /// jobs; the only errors among them are [`QueueError::IdempotencyKeyReused`],
    /// [`QueueError::BatchEnded`] and [`QueueError::Full`].
    ///
    /// Not a transaction: a worker may start the first jobs before the last ones are added. Those
    /// of one queue get their places in line in the order given, unless Valkey goes away meanwhile.
    /// None of them is added to a queue that has no room for as many: only when it fills up
    /// meanwhile, with jobs of other callers, the last ones are refused, each 200 or 1 MiB of them
    /// together.
    ///
    /// # Errors
    /// [`QueueError::TooLarge`], [`QueueError::Invalid`] and [`QueueError::InvalidQueue`] for any
    /// of the jobs; then none was added. When Valkey does not answer, any of them may have been
    /// added.
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
            // The first step finds out whether there is room for all of them. Then, while the
            // server works on one step, the next one is on its way.
            let mut steps = Steps {
                left: same_queue,
                is_full: false,
            };
            let mut under_way = FuturesOrdered::new();
            under_way.extend(steps.next().map(|step| add_step(&self.shared, step)));
            while let Some((step, found)) = under_way.next().await {
                let found = found?;
                steps.is_full |= found.iter().any(|it| matches!(it, Added::Full));
                let next = steps.by_ref().take(UNDER_WAY - under_way.len());
                under_way.extend(next.map(|step| add_step(&self.shared, step)));
                let found = found.into_iter().zip(step);
                answers.extend(found.map(|(answer, (_, details))| answer.of(&details.id)));
            }
        }
        let mut answers: Vec<_> = numbers.into_iter().zip(answers).collect();
        answers.sort_unstable_by_key(|&(number, _)| number);
        Ok(answers.into_iter().map(|(_, answer)| answer).collect())
    }
}

async fn add_step<'a>(
    shared: &Shared,
    (step, room): (&'a [Job<'a>], usize),
) -> (&'a [Job<'a>], RedisResult<Vec<Added>>) {
    let queue = step.first().map_or("", |(job, _)| &job.queue);
    (step, add(shared, queue, step, room).await)
}

/// The jobs that one script adds, for each of the scripts, and for how many there has to be room.
struct Steps<'a> {
    left: &'a [Job<'a>],
    /// Whether a step was refused: then no later one is added.
    is_full: bool,
}

impl<'a> Iterator for Steps<'a> {
    type Item = (&'a [Job<'a>], usize);

    fn next(&mut self) -> Option<Self::Item> {
        let room = if self.is_full {
            usize::MAX
        } else {
            self.left.len()
        };
        let sizes = self.left.iter().map(|(job, _)| job.payload.get().len());
        let (step, rest) = self.left.split_at_checked(fitting(sizes))?;
        self.left = rest;
        Some((step, room))
    }
}

/// A job that was checked, and what the script needs besides.
pub(crate) type Job<'a> = (&'a NewJob, &'a Details);

/// What is worked out of a job before it is sent.
pub(crate) struct Details {
    pub id: JobId,
    /// Names and values of what is not as most jobs have it.
    options: Vec<(&'static str, String)>,
}

impl Details {
    /// Refuses what a queue does not keep.
    pub fn of(job: &NewJob, payload_limit: usize) -> Result<Self, QueueError> {
        job.check(payload_limit)?;
        let mut options = Vec::new();
        let mut set = |name, value: Option<String>| options.extend(value.map(|it| (name, it)));
        set("version", unless(VERSION, job.version));
        set("priority", unless(PRIORITY, job.priority.min(9)));
        let max_attempts = job.max_attempts.map_or(UNLIMITED, |it| it.max(1));
        set("max_attempts", unless(MAX_ATTEMPTS, max_attempts));
        let delay = job.delay.map_or(0, millis);
        set("delay", unless(0, delay));
        set("run_at", job.run_at_millis().map(|it| it.to_string()));
        for (name, value) in [
            ("user", &job.user),
            ("turn", &job.turn),
            ("group", &job.group),
            ("trace", &job.trace),
            ("label", &job.label),
        ] {
            set(name, value.clone().filter(|it| !it.is_empty()));
        }
        set("backoff", job.backoff.as_ref().map(json));
        if let Some(unique) = &job.unique {
            set("unique", Some(unique.key(&job.payload)?));
            set("unique_in", unique.counts().map(str::to_owned));
            set("period", unique.period().map(|it| millis(it).to_string()));
        }
        if let Some(idempotency) = &job.idempotency {
            set("idempotency", Some(idempotency.key.clone()));
            set("fingerprint", Some(idempotency.fingerprint.clone()));
        }
        set("frees_memory", unless(0, u8::from(job.frees_memory)));
        if let Some(batch) = &job.batch {
            set("batch", Some(batch.batch().to_owned()));
        }
        let id = job.id.clone();
        let id = id.unwrap_or_else(|| JobId::new(&job.queue));
        Ok(Self { id, options })
    }

    /// Links it to another job, or to a batch.
    pub fn link(&mut self, name: &'static str, to: &str) {
        self.options.push((name, to.to_owned()));
    }
}

/// What the field `has` says of a job with these fields.
pub(crate) fn has<'a>(fields: impl Iterator<Item = &'a str> + Clone) -> String {
    let letters = FIELDS
        .iter()
        .filter(|(_, field)| fields.clone().any(|it| it == *field));
    letters.map(|(letter, _)| letter).collect()
}

/// A number as an option, if it is not what most jobs have.
fn unless<N: PartialEq + ToString>(usual: N, number: N) -> Option<String> {
    (number != usual).then(|| number.to_string())
}

/// One caller's job.
pub(crate) struct Addition {
    job: NewJob,
    details: Details,
}

impl Request for Addition {
    type Answer = Added;
    type Shared = Shared;

    fn group(shared: &Shared) -> &GroupCommit<Self> {
        &shared.added
    }

    fn at_once(_: &Shared) -> bool {
        true
    }

    fn size(&self) -> usize {
        self.job.payload.get().len()
    }

    async fn send(shared: &Shared, queue: &str, batch: &[Self]) -> RedisResult<Vec<Added>> {
        let jobs: Vec<Job> = batch.iter().map(|it| (&it.job, &it.details)).collect();
        add(shared, queue, &jobs, 1).await
    }
}

/// Adds jobs of one queue by one script, for as long as there is room; none if there is not for
/// `room` jobs.
pub(crate) async fn add(
    shared: &Shared,
    queue: &str,
    jobs: &[Job<'_>],
    room: usize,
) -> RedisResult<Vec<Added>> {
    let followed = shared.workers.idle.has(queue);
    let root = root(queue);
    let script = match jobs.iter().any(|(job, _)| job.frees_memory) {
        true => &shared.scripts.enqueue_when_full,
        false => &shared.scripts.enqueue,
    };
    // One whose caller chose the id may be there already.
    let chosen = jobs.iter().any(|(job, _)| job.id.is_some());
    let sending = shared
        .calls
        .function_resent(script, &root, Repeat::Safe, |command, again| {
            command.arg(match (again || chosen, followed) {
                (true, _) => "again",
                (false, true) => "followed",
                (false, false) => "",
            });
            command.arg(shared.backlog_limit).arg(room);
            for (job, details) in jobs {
                command.arg(details.id.job()).arg(job.payload.get());
                if details.options.is_empty() {
                    command.arg(0);
                    continue;
                }
                let has = has(details.options.iter().map(|&(name, _)| name));
                command.arg(2 * details.options.len() + 2);
                command.arg(&details.options).arg("has").arg(has);
            }
        });
    let mut sending = pin!(sending);
    let mut answer = Poll::Pending;
    if followed {
        // It is sent now, so the fetch is behind it.
        answer = poll!(&mut sending);
        shared.workers.idle.defer_wake(queue);
        shared.hub.wake(queue);
    }
    let answers: Answers<Added> = match answer {
        Poll::Ready(answer) => answer?,
        Poll::Pending => sending.await?,
    };
    let answers = answers.each(jobs.len(), || Added::New);
    for outcome in Added::OUTCOMES {
        let count = answers.iter().filter(|it| it.outcome() == outcome).count();
        if count > 0 {
            metrics::counter!(
                "sluice_queue_enqueued_total",
                "queue" => queue.to_owned(), "outcome" => outcome
            )
            .increment(count as u64);
        }
    }
    Ok(answers)
}

/// What is written here is made of texts and finite numbers, so that it cannot fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

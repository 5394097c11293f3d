//! What a job is: a request that the queue keeps as JSON, and what a worker does about it.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_queue::{
    Enqueued, HandlerResult, Idempotency, NewJob, QueueError, Queues, Running, Unique,
};

use crate::context::Context;
use crate::failure::Failure;

/// One kind of job. The type is the request: its JSON is what the queue keeps.
///
/// Each kind has a queue of its own, so that operators see and steer it by itself.
pub trait Job: Serialize + DeserializeOwned + Send + std::marker::Sync + 'static {
    /// The queue's name.
    const QUEUE: &'static str;
    /// The version of the request's JSON; raise it when an older worker could not read a new one.
    const VERSION: u32 = 1;
    /// How often it is tried before it becomes a dead letter.
    const MAX_ATTEMPTS: u32;
    /// The scopes, with spaces between, of which each lets its holder see any job of this kind; the
    /// job is labelled with them. Its user sees it without, and `admin` all.
    const VIEWERS: &'static str;
    /// Whether it frees memory of Valkey, so that it is enqueued also while that is full, or while
    /// its queue is.
    const FREES_MEMORY: bool = false;
    /// What the caller gets.
    type Answer: Serialize + DeserializeOwned + Send + std::marker::Sync + 'static;
    /// What the caller gets when the answer is "no".
    type Refusal: DeserializeOwned + Send + 'static;

    /// Does the work. May be run again after a crash at any line.
    fn run(
        self,
        context: &Context,
        running: &Running,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;

    /// On whose behalf it runs, where the request says so.
    fn user(&self) -> Option<&str> {
        None
    }

    /// Who takes turns with others, if not the user.
    fn turn(&self) -> Option<String> {
        None
    }

    /// Requests of one key share the job that waits or runs.
    fn unique_key(&self) -> Option<String> {
        None
    }

    /// Jobs of one group run one after the other, in the order of enqueueing.
    fn group(&self) -> Option<String> {
        None
    }

    /// From 0 (first) to 9 (last); none for the queue's usual one.
    fn priority(&self) -> Option<u8> {
        None
    }

    /// How often this one is tried; none: until it succeeds.
    fn max_attempts(&self) -> Option<u32> {
        Some(Self::MAX_ATTEMPTS)
    }

    /// The caller's own key for the request, where the request holds it.
    fn idempotency(&self) -> Option<Idempotency> {
        None
    }

    /// The request that the queue kept.
    ///
    /// # Errors
    /// When the payload has another shape.
    fn of(running: &Running) -> Result<Self, QueueError> {
        running.payload()
    }

    /// The job for the queue.
    ///
    /// # Errors
    /// When the request cannot be written as JSON.
    fn new_job(&self) -> Result<NewJob, QueueError> {
        let job = NewJob::new(Self::QUEUE, self)?;
        Ok(NewJob {
            version: Self::VERSION,
            user: self.user().map(str::to_owned),
            turn: self.turn(),
            unique: self.unique_key().map(Unique::by_key),
            group: self.group(),
            priority: self.priority().unwrap_or(job.priority),
            max_attempts: self.max_attempts(),
            idempotency: self.idempotency(),
            frees_memory: Self::FREES_MEMORY,
            label: Some(Self::VIEWERS.to_owned()),
            ..job
        })
    }

    /// Enqueues it, or finds the job that has its key.
    ///
    /// # Errors
    /// As [`Queues::enqueue`].
    fn enqueue(
        &self,
        queues: &Queues,
    ) -> impl Future<Output = Result<Enqueued, QueueError>> + Send {
        async { queues.enqueue(self.new_job()?).await }
    }
}

/// Runs `J` for one delivery of the queue.
pub(crate) async fn handle<J: Job>(context: Context, running: Running) -> HandlerResult<J::Answer> {
    let job = J::of(&running).map_err(Failure::Payload)?;
    Ok(job.run(&context, &running).await?)
}

/// Ends the job when the operator cancelled it, its lease was lost, or the process is shutting
/// down.
pub(crate) fn stop_if_cancelled(running: &Running) -> Result<(), Failure> {
    if running.cancelled().is_cancelled() {
        return Err(Failure::Cancelled);
    }
    Ok(())
}

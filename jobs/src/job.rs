//! What a job is: a type with a queue, a request, an answer, and a run.

use std::future::Future;

use serde::Serialize;
use serde::de::DeserializeOwned;
use sluice_queue::{HandlerResult, NewJob, QueueError, Running};

use crate::context::Context;
use crate::failure::Failure;

/// One kind of job. Each kind has a queue of its own, so that operators see and steer it by itself.
pub(crate) trait Job: 'static {
    /// The queue's name.
    const QUEUE: &'static str;
    /// The version of [`Job::Request`]; raise it when an older worker could not read a new request.
    const VERSION: u32 = 1;
    /// How often it is tried before it becomes a dead letter; a request may say otherwise.
    const MAX_ATTEMPTS: u32;
    /// What is asked, kept in the queue as JSON.
    type Request: Serialize + DeserializeOwned + Send;
    /// What the caller gets.
    type Answer: Serialize + Send + Sync + 'static;

    /// Does the work. May be run again after a crash at any line.
    fn run(
        context: &Context,
        request: Self::Request,
        running: &Running,
    ) -> impl Future<Output = Result<Self::Answer, Failure>> + Send;

    /// A job of this kind for the queue, without keys.
    ///
    /// # Errors
    /// When the request cannot be written as JSON.
    fn new_job(request: &Self::Request) -> Result<NewJob, QueueError> {
        Ok(NewJob {
            version: Self::VERSION,
            max_attempts: Some(Self::MAX_ATTEMPTS),
            ..NewJob::new(Self::QUEUE, request)?
        })
    }
}

/// Runs `J` for one delivery of the queue.
pub(crate) async fn handle<J: Job>(context: Context, running: Running) -> HandlerResult<J::Answer> {
    let request = running.payload::<J::Request>().map_err(Failure::Payload)?;
    Ok(J::run(&context, request, &running).await?)
}

/// Ends the job when the operator cancelled it, its lease was lost, or the process is shutting
/// down.
pub(crate) fn stop_if_cancelled(running: &Running) -> Result<(), Failure> {
    if running.cancelled().is_cancelled() {
        return Err(Failure::Cancelled);
    }
    Ok(())
}

//! Pushes tasks: each becomes a job.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};

use apalis_core::backend::future::BoxSyncFuture;
use apalis_core::task::Task;
use futures_util::{FutureExt, Sink};

use super::storage::ValkeyStorage;
use crate::keys::{BATCH_LIMIT, PRIORITY};
use crate::{JobId, NewJob, QueueError, Queues, Unique};

/// What was pushed and is not in the queue yet.
#[derive(Default)]
pub(super) struct Pushes {
    jobs: Vec<NewJob>,
    under_way: Option<BoxSyncFuture<Result<(), QueueError>>>,
}

impl<Args> Sink<Task<Vec<u8>>> for ValkeyStorage<Args> {
    type Error = QueueError;

    /// Ready until there are as many as one script adds.
    fn poll_ready(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        if self.pushes.jobs.len() < BATCH_LIMIT {
            return Poll::Ready(Ok(()));
        }
        self.poll_flush(context)
    }

    fn start_send(self: Pin<&mut Self>, task: Task<Vec<u8>>) -> Result<(), QueueError> {
        let this = self.get_mut();
        let job = new_job(this.source.queue(), task)?;
        this.pushes.jobs.push(job);
        Ok(())
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        let this = self.get_mut();
        loop {
            if let Some(under_way) = &mut this.pushes.under_way {
                let pushed = ready!(under_way.poll_unpin(context));
                this.pushes.under_way = None;
                pushed?;
            }
            if this.pushes.jobs.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let jobs = std::mem::take(&mut this.pushes.jobs);
            let pushing = push(this.source.queues().clone(), jobs);
            this.pushes.under_way = Some(pushing.boxed().into());
        }
    }

    fn poll_close(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<(), QueueError>> {
        self.poll_flush(context)
    }
}

async fn push(queues: Queues, mut jobs: Vec<NewJob>) -> Result<(), QueueError> {
    // One job goes along with those of other callers.
    if jobs.len() == 1
        && let Some(job) = jobs.pop()
    {
        queues.enqueue(job).await?;
        return Ok(());
    }
    for added in queues.enqueue_all(&jobs).await? {
        added?;
    }
    Ok(())
}

/// The job of a task that is pushed to `queue`.
fn new_job(queue: &str, task: Task<Vec<u8>>) -> Result<NewJob, QueueError> {
    let refuse = |what, rule| Err(QueueError::Invalid { what, rule });
    let (payload, context) = task.take();
    if !context.metadata().is_empty() {
        return refuse("metadata", "is not kept by the queue");
    }
    if context.queue().is_some_and(|it| it.as_ref() != queue) {
        return refuse("queue", "must be that of the storage");
    }
    let mut job = NewJob::of_json(queue, serde_json::from_slice(&payload)?);
    job.id = context.task_id().map(JobId::try_from).transpose()?;
    if let Some(priority) = context.priority() {
        job.priority = PRIORITY.saturating_sub(u8::try_from(priority).unwrap_or(u8::MAX));
    }
    if let Some(attempts) = context.max_attempts() {
        job.max_attempts = Some(u32::try_from(attempts).unwrap_or(u32::MAX - 1));
    }
    job.unique = context
        .idempotency_key()
        .map(|key| Unique::by_key(key).in_any_state());
    if let Some(seconds) = context.run_at() {
        let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
        let Some(at) = at else {
            return refuse("run_at", "must be before the year 2970");
        };
        job.run_at = Some(at);
    }
    Ok(job)
}

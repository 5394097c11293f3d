//! The middleware that runs a handler and records how the run ended.

use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tower::{Layer, Service};
use tracing::Instrument;

use super::lease::{Lease, Stop};
use super::record::{Ending, record};
use super::running::{JobError, Running};
use crate::keys::{RESULT_LIMIT, STOP_GRACE};
use crate::{Backoff, Queues};

/// Wraps handlers; see [`LeaseService`].
#[derive(Clone)]
pub struct LeaseLayer {
    queues: Queues,
    backoff: Backoff,
}

impl LeaseLayer {
    pub(super) fn new(queues: Queues, backoff: Backoff) -> Self {
        Self { queues, backoff }
    }
}

impl<S> Layer<S> for LeaseLayer {
    type Service = LeaseService<S>;

    fn layer(&self, handler: S) -> LeaseService<S> {
        LeaseService {
            layer: self.clone(),
            handler,
        }
    }
}

/// Runs each job in a task of its own, so that one that blocks or panics harms no other, and turns
/// what comes of it into the script that ends the run. Answers when that is recorded.
pub struct LeaseService<S> {
    layer: LeaseLayer,
    handler: S,
}

impl<S> Service<Task<Running>> for LeaseService<S>
where
    S: Service<Task<Running>>,
    S::Response: Serialize + 'static,
    S::Error: Into<BoxDynError> + Send + 'static,
    S::Future: Send + 'static,
{
    type Response = ();
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<(), BoxDynError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.handler.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, mut task: Task<Running>) -> Self::Future {
        let LeaseLayer { queues, backoff } = self.layer.clone();
        let slot = task.args.slot.take();
        let lease = task.args.lease.clone();
        let progress = task.args.progress.clone();
        let log = task.args.log.clone();
        let attempt = task.args.attempt();
        let backoff = task.args.job.backoff.take().unwrap_or(backoff);
        let span = tracing::info_span!("job", id = %lease.id, attempt);
        let run = self.handler.call(task).map(|result| match result {
            Ok(value) => to_raw_value(&value).map_err(|error| JobError::unwritable(error).into()),
            Err(error) => Err(error.into()),
        });
        let mut run = AbortOnDropHandle::new(tokio::spawn(run.instrument(span)));
        async move {
            let begun = Instant::now();
            let result = tokio::select! {
                result = &mut run => Some(flatten(result)),
                () = out_of_time(&lease) => None,
            };
            drop(run);
            metrics::histogram!("sluice_queue_run_seconds", "queue" => lease.id.queue().to_owned())
                .record(begun.elapsed());
            let ending = ending(result, lease.stop_reason(), || backoff.delay(attempt));
            log.flush(&queues, &lease).await;
            record(&queues, &lease, ending, progress.take_unsent()).await;
            drop(slot);
            Ok(())
        }
        .boxed()
    }
}

/// Returns when the handler was asked to end and had its time to do so.
async fn out_of_time(lease: &Lease) {
    lease.stopped.cancelled().await;
    sleep(STOP_GRACE).await;
}

fn flatten(
    result: Result<Result<Box<RawValue>, BoxDynError>, JoinError>,
) -> Result<Box<RawValue>, JobError> {
    match result {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(match error.downcast::<JobError>() {
            Ok(error) => *error,
            Err(other) => JobError::Retry(other.to_string()),
        }),
        Err(join) => Err(match join.try_into_panic() {
            Ok(panic) => JobError::Retry(format!("panicked: {}", panic_message(&*panic))),
            // The runtime is going down.
            Err(_) => JobError::Cancelled,
        }),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// What a handler's answer (none if it was dropped) means, given that it may have been asked to
/// end.
fn ending(
    result: Option<Result<Box<RawValue>, JobError>>,
    stop: Option<Stop>,
    delay: impl FnOnce() -> Duration,
) -> Ending {
    match (result, stop) {
        (Some(Ok(value) | Err(JobError::Refuse(value))), _) if value.get().len() > RESULT_LIMIT => {
            let bytes = value.get().len();
            Ending::Dead(format!(
                "the result has {bytes} bytes, the limit is {RESULT_LIMIT}"
            ))
        }
        (Some(Ok(value)), _) => Ending::Completed(value),
        (Some(Err(JobError::Refuse(reason))), _) => Ending::Refused(reason),
        (Some(Err(JobError::Fatal(message))), _) => Ending::Dead(message),
        (_, Some(Stop::Shutdown)) => Ending::Released,
        (_, Some(_)) | (Some(Err(JobError::Cancelled)) | None, None) => Ending::Cancelled,
        (Some(Err(JobError::Yield)), None) => Ending::Yielded,
        (Some(Err(JobError::Retry(message))), None) => Ending::Retry {
            message,
            delay: delay(),
        },
        (Some(Err(JobError::Outage(message))), None) => Ending::Deferred {
            message,
            delay: delay(),
        },
    }
}

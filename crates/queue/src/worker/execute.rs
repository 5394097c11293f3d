//! Runs a handler in a task of its own, and records how the run ended.

use std::time::Duration;

use futures_util::FutureExt;
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

use super::finish::{Ending, finish};
use super::job_error::JobError;
use super::lease::{Lease, Stop};
use super::run::Run;
use crate::Backoff;
use crate::keys::{RESULT_LIMIT, STOP_GRACE};

/// Any error of a handler.
pub(crate) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What an error of a handler means for its job.
pub(crate) struct Failure {
    pub error: JobError,
    /// How long to wait before the next attempt, if that is not the backoff's to say.
    pub pause: Option<Duration>,
}

impl From<JobError> for Failure {
    fn from(error: JobError) -> Self {
        Self { error, pause: None }
    }
}

impl Run {
    /// Runs the handler, which may block or panic and harms no other. Answers when the end of the
    /// run is recorded, with what the handler answered, or why the job has no result. `read` says
    /// what an error means; `backoff` is that of the worker.
    pub(crate) fn execute<T: Serialize + Send + 'static>(
        self,
        handler: impl Future<Output = Result<T, BoxError>> + Send + 'static,
        read: fn(&BoxError) -> Failure,
        backoff: Backoff,
    ) -> impl Future<Output = Result<T, BoxError>> + Send + 'static {
        let slot = self.take_slot();
        let (id, attempt) = (self.id(), self.attempt());
        let span = tracing::info_span!("job", %id, attempt);
        let handler = handler.map(|answer| {
            let value = answer?;
            let json = to_raw_value(&value).map_err(JobError::unwritable)?;
            Ok((value, json))
        });
        let mut task = AbortOnDropHandle::new(tokio::spawn(handler.instrument(span)));
        async move {
            let begun = Instant::now();
            let (queues, lease) = (self.queues(), self.lease());
            let answer = tokio::select! {
                answer = &mut task => Some(flatten(answer)),
                () = out_of_time(lease) => None,
            };
            drop(task);
            metrics::histogram!("sluice_queue_run_seconds", "queue" => lease.id.queue().to_owned())
                .record(begun.elapsed());
            let (answer, ending) = match answer {
                Some(Ok((value, json))) => completed(value, json),
                Some(Err(error)) => {
                    let backoff = self.job().backoff.as_ref().unwrap_or(&backoff);
                    let delay = || backoff.delay(attempt);
                    let ending = failed(read(&error), lease.stop_reason(), delay);
                    (Err(error), ending)
                }
                None => {
                    let ending = match lease.stop_reason() {
                        Some(Stop::Shutdown) => Ending::Released,
                        _ => Ending::Cancelled,
                    };
                    (Err(JobError::Cancelled.into()), ending)
                }
            };
            self.logged().flush(queues, lease).await;
            let recorded = finish(queues, lease, ending, self.reported().take_unsent()).await;
            drop(slot);
            // What is not recorded is no result.
            answer.and_then(|value| recorded.map(|()| value).map_err(Into::into))
        }
    }
}

/// Returns when the handler was asked to end and had its time to do so.
async fn out_of_time(lease: &Lease) {
    lease.stopped.cancelled().await;
    sleep(STOP_GRACE).await;
}

fn flatten<T>(answer: Result<Result<T, BoxError>, JoinError>) -> Result<T, BoxError> {
    answer.unwrap_or_else(|join| {
        Err(match join.try_into_panic() {
            Ok(panic) => JobError::Retry(format!("panicked: {}", panic_message(&*panic))).into(),
            // The runtime is going down.
            Err(_) => JobError::Cancelled.into(),
        })
    })
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

fn completed<T>(value: T, json: Box<RawValue>) -> (Result<T, BoxError>, Ending) {
    match too_large(&json) {
        Some(message) => {
            let error = JobError::Fatal(message.clone());
            (Err(error.into()), Ending::Dead(message))
        }
        None => (Ok(value), Ending::Completed(json)),
    }
}

/// How a run ends whose handler failed, given that it may have been asked to end.
fn failed(failure: Failure, stop: Option<Stop>, delay: impl FnOnce() -> Duration) -> Ending {
    let delay = || failure.pause.unwrap_or_else(delay);
    match (failure.error, stop) {
        (JobError::Refuse(reason), _) => match too_large(&reason) {
            Some(message) => Ending::Dead(message),
            None => Ending::Refused(reason),
        },
        (JobError::Fatal(message), _) => Ending::Dead(message),
        (_, Some(Stop::Shutdown)) => Ending::Released,
        (_, Some(_)) | (JobError::Cancelled, None) => Ending::Cancelled,
        (JobError::Yield, None) => Ending::Yielded,
        (JobError::Retry(message), None) => Ending::Retry {
            message,
            delay: delay(),
        },
        (JobError::Outage(message), None) => Ending::Deferred {
            message,
            delay: delay(),
        },
    }
}

fn too_large(result: &RawValue) -> Option<String> {
    let bytes = result.get().len();
    (bytes > RESULT_LIMIT)
        .then(|| format!("the result has {bytes} bytes, the limit is {RESULT_LIMIT}"))
}

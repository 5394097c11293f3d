//! The backend's middleware: runs a handler with all its layers, and records how the run ended.

use std::task::{Context, Poll};

use apalis_core::error::{AbortError, BoxDynError, DeferredError, RetryAfterError};
use apalis_core::task::Task;
use apalis_core::task::data::MissingDataError;
use apalis_core::task::from_request::FromRequest;
use futures_util::future::{BoxFuture, ready};
use futures_util::{FutureExt, TryFutureExt};
use serde::Serialize;
use tower::{Layer, Service};

use crate::worker::{BoxError, Failure, Run};
use crate::{Backoff, JobError};

/// Wraps handlers; see [`LeaseService`].
#[derive(Clone)]
pub struct LeaseLayer {
    backoff: Backoff,
}

impl LeaseLayer {
    pub(super) fn new(backoff: Backoff) -> Self {
        Self { backoff }
    }
}

impl<S> Layer<S> for LeaseLayer {
    type Service = LeaseService<S>;

    fn layer(&self, handler: S) -> LeaseService<S> {
        LeaseService {
            backoff: self.backoff.clone(),
            handler,
        }
    }
}

/// Runs each task in a tokio task of its own, so that one that blocks or panics harms no other, and
/// answers when the end of its run is recorded: with the result, or with the error that the handler
/// and its layers came to. It is apalis' events that get the answer.
///
/// Errors that are no [`JobError`] are failed attempts, but for those of apalis: an [`AbortError`]
/// makes the job a dead letter, a [`RetryAfterError`] names the pause before the next attempt, and
/// a [`DeferredError`] is a [`JobError::Yield`].
pub struct LeaseService<S> {
    backoff: Backoff,
    handler: S,
}

impl<S, Args> Service<Task<Args>> for LeaseService<S>
where
    S: Service<Task<Args>>,
    S::Response: Serialize + Send + 'static,
    S::Error: Into<BoxDynError> + 'static,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxDynError;
    type Future = BoxFuture<'static, Result<S::Response, BoxDynError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxDynError>> {
        self.handler.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, task: Task<Args>) -> Self::Future {
        let Some(run) = task.data().get::<Run>().cloned() else {
            return ready(Err("the task comes from no queue".into())).boxed();
        };
        let handler = self.handler.call(task).map_err(Into::into);
        run.execute(handler, failure, self.backoff.clone()).boxed()
    }
}

/// What an error means for the job.
fn failure(error: &BoxError) -> Failure {
    if let Some(error) = error.downcast_ref::<JobError>() {
        return error.clone().into();
    }
    // Without the name of the wrapper.
    let message = || {
        error
            .source()
            .map_or_else(|| error.to_string(), ToString::to_string)
    };
    if let Some(after) = error.downcast_ref::<RetryAfterError>() {
        return Failure {
            error: JobError::Retry(message()),
            pause: Some(after.get_duration()),
        };
    }
    if error.is::<AbortError>() {
        return JobError::Fatal(message()).into();
    }
    if error.is::<DeferredError>() {
        return JobError::Yield.into();
    }
    JobError::Retry(error.to_string()).into()
}

/// Handlers of an apalis worker take the run as an argument.
impl<Args: Sync> FromRequest<Task<Args>> for Run {
    type Error = MissingDataError;

    async fn from_request(task: &Task<Args>) -> Result<Self, MissingDataError> {
        task.data().get_checked().cloned()
    }
}

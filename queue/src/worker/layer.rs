//! The middleware that runs a handler and records how the run ended.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use apalis_core::error::BoxDynError;
use apalis_core::task::Task;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Cmd, FromRedisValue, ParsingError, RedisResult, Value, from_redis_value};
use serde_json::value::RawValue;
use tokio::task::JoinError;
use tokio::time::{Instant, sleep};
use tokio_util::task::AbortOnDropHandle;
use tower::{Layer, Service};
use tracing::Instrument;

use super::heartbeat::millis;
use super::lease::{Lease, Stop};
use super::running::{JobError, Running};
use crate::batch::{Batches, Request, ask};
use crate::keys::{FINISH_PATIENCE, MESSAGE_LIMIT, RESULT_LIMIT, STOP_GRACE, root};
use crate::lane::jittered;
use crate::queues::Shared;
use crate::{Backoff, Queues};

/// The mean pause between two attempts to record the end of a run.
const RECORD_PAUSE: Duration = Duration::from_millis(500);

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

/// Runs each job in a task of its own, so that one that blocks or panics harms no other, and turns what comes of it into
/// the script that ends the run. Answers when that is recorded.
pub struct LeaseService<S> {
    layer: LeaseLayer,
    handler: S,
}

impl<S> Service<Task<Running>> for LeaseService<S>
where
    S: Service<Task<Running>, Response = Box<RawValue>>,
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
        let run = self
            .handler
            .call(task)
            .map(|result| result.map_err(Into::into));
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

/// How a run ended, as `lua/queue/finish.lua` takes it.
pub(super) enum Ending {
    Completed(Box<RawValue>),
    Refused(Box<RawValue>),
    Retry { message: String, delay: Duration },
    Dead(String),
    Cancelled,
    Released,
}

impl Ending {
    fn outcome(&self) -> &'static str {
        match self {
            Self::Completed(_) => "completed",
            Self::Refused(_) => "refused",
            Self::Retry { .. } => "retry",
            Self::Dead(_) => "dead",
            Self::Cancelled => "cancelled",
            Self::Released => "released",
        }
    }

    fn body(&self) -> &str {
        match self {
            Self::Completed(json) | Self::Refused(json) => json.get(),
            Self::Retry { message, .. } | Self::Dead(message) => cut(message, MESSAGE_LIMIT),
            Self::Cancelled | Self::Released => "",
        }
    }
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

/// What a handler's answer (none if it was dropped) means, given that it may have been asked to end.
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
        (Some(Err(JobError::Retry(message))), None) => Ending::Retry {
            message,
            delay: delay(),
        },
    }
}

/// Ends a run in the queue. Tries for as long as Valkey may be away; should it be in vain, the lease runs out.
pub(super) async fn record(
    queues: &Queues,
    lease: &Arc<Lease>,
    ending: Ending,
    progress: Option<String>,
) {
    let begun = Instant::now();
    let end = End {
        lease: lease.clone(),
        ending: Arc::new(ending),
        progress: progress.map(Arc::from),
    };
    let ending = &end.ending;
    let outcome = loop {
        match ask(&queues.shared, lease.id.queue(), end.clone()).await {
            Ok(state) if state == "lost" => {
                lease.stop(Stop::Lost);
                break "lost";
            }
            Ok(state) if ending.outcome() == "retry" && state == "dead" => break "dead",
            Ok(_) => break ending.outcome(),
            Err(error) if begun.elapsed() < FINISH_PATIENCE => {
                tracing::warn!(%error, job = %lease.id, "cannot record the end of a run yet");
                sleep(jittered(RECORD_PAUSE)).await;
            }
            Err(error) => {
                tracing::error!(%error, job = %lease.id, "cannot record the end of a run, it will be run again");
                break "unrecorded";
            }
        }
    };
    metrics::counter!("sluice_queue_jobs_total", "queue" => lease.id.queue().to_owned(), "outcome" => outcome)
        .increment(1);
    match &**ending {
        Ending::Retry { message, .. } if outcome == "retry" => {
            tracing::warn!(job = %lease.id, error = message, "an attempt failed, the job will be tried again");
        }
        Ending::Retry { message, .. } | Ending::Dead(message) => {
            tracing::error!(job = %lease.id, outcome, error = message, "the job failed");
        }
        _ => {}
    }
}

/// The end of a run, to be recorded.
#[derive(Clone)]
pub(crate) struct End {
    lease: Arc<Lease>,
    ending: Arc<Ending>,
    progress: Option<Arc<str>>,
}

impl Request for End {
    /// The job's state, or "lost".
    type Answer = String;
    // Runs that end together are recorded together.
    const AT_ONCE: bool = false;

    fn batches(shared: &Shared) -> &Batches<Self> {
        &shared.ended
    }

    fn size(&self) -> usize {
        self.ending.body().len() + self.progress.as_ref().map_or(0, |it| it.len())
    }

    async fn send(shared: &Shared, queue: &str, batch: &[Self]) -> RedisResult<Vec<String>> {
        let states: States = shared
            .lane
            .script(&shared.scripts.finish, &root(queue), |command| {
                for fetched in batch.chunk_by(|one, next| one.lease.run == next.lease.run) {
                    let run = fetched.first().map_or("", |end| &end.lease.run);
                    command.arg(run).arg(fetched.len());
                    fetched.iter().for_each(|end| end.write(command));
                }
            })
            .await?;
        Ok(match states {
            States::AllCompleted => batch.iter().map(|_| "completed".to_owned()).collect(),
            States::Each(states) => states,
        })
    }
}

impl End {
    fn write(&self, command: &mut Cmd) {
        command.arg(self.lease.id.job());
        let (body, progress) = (self.ending.body(), self.progress.as_deref());
        if let (Ending::Completed(_), "null", None) = (&*self.ending, body, progress) {
            command.arg("done");
            return;
        }
        let delay = match &*self.ending {
            Ending::Retry { delay, .. } => millis(*delay),
            _ => 0,
        };
        command
            .arg(self.ending.outcome())
            .arg(body)
            .arg(delay)
            .arg(progress.unwrap_or_default());
    }
}

/// The script's answer for all of its jobs.
enum States {
    AllCompleted,
    Each(Vec<String>),
}

impl FromRedisValue for States {
    fn from_redis_value(states: Value) -> Result<Self, ParsingError> {
        match states {
            Value::Int(1) => Ok(Self::AllCompleted),
            states => from_redis_value(states).map(Self::Each),
        }
    }
}

/// The first bytes of a text, less what would be half a character.
pub(super) fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

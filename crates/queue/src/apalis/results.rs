//! Waits for the results of tasks.

use std::time::Duration;

use apalis_core::backend::{TaskResult, WaitForCompletion};
use apalis_core::task::task_id::TaskId;
use futures_util::StreamExt;
use futures_util::future::try_join_all;
use futures_util::stream::{BoxStream, FuturesUnordered};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::count;
use super::storage::ValkeyStorage;
use super::tasks::status;
use crate::job::JobView;
use crate::{JobId, QueueError, Queues, State};

/// How long one call waits; the next one follows.
const WAIT: Duration = Duration::from_secs(3600);

/// A task that has ended without a result has an error: why the handler refused, as JSON, the
/// message of its last failed attempt, or that it was cancelled.
impl<Args, Output> WaitForCompletion<Output> for ValkeyStorage<Args>
where
    Args: Serialize + DeserializeOwned,
    Output: DeserializeOwned + Send + 'static,
{
    type ResultStream = BoxStream<'static, Result<TaskResult<Output>, QueueError>>;

    /// In the order in which the tasks end. [`QueueError::NotFound`] for a task that there is not,
    /// or that was deleted meanwhile.
    fn wait_for(&mut self, tasks: impl IntoIterator<Item = TaskId>) -> Self::ResultStream {
        let results = tasks.into_iter().map(|task| {
            let queues = self.source.queues().clone();
            async move { wait(&queues, task).await }
        });
        results.collect::<FuturesUnordered<_>>().boxed()
    }

    /// Of those that have ended.
    fn check_status(
        &mut self,
        tasks: impl IntoIterator<Item = TaskId> + Send,
    ) -> impl Future<Output = Result<Vec<TaskResult<Output>>, QueueError>> + Send {
        let queues = self.source.queues().clone();
        let results = tasks.into_iter().map(|task| {
            let queues = queues.clone();
            async move {
                let job = queues.get(&JobId::try_from(&task)?).await?;
                job.map_or(Ok(None), |job| result(task, &job))
            }
        });
        let results: Vec<_> = results.collect();
        async move { Ok(try_join_all(results).await?.into_iter().flatten().collect()) }
    }
}

async fn wait<T: DeserializeOwned>(
    queues: &Queues,
    task: TaskId,
) -> Result<TaskResult<T>, QueueError> {
    let id = JobId::try_from(&task)?;
    loop {
        if queues.wait(&id, WAIT).await?.is_none() {
            continue;
        }
        let job = queues.get(&id).await?;
        let job = job.ok_or_else(|| QueueError::NotFound(id.clone()))?;
        // None when an operator retried it in between.
        if let Some(result) = result(task.clone(), &job)? {
            return Ok(result);
        }
    }
}

/// The result of a job, if it has ended.
fn result<T: DeserializeOwned>(
    task_id: TaskId,
    job: &JobView,
) -> Result<Option<TaskResult<T>>, QueueError> {
    let last_error = || job.errors.last().map(|it| it.message.clone());
    let result = match (job.state, &job.error, &job.result) {
        (State::Completed, Some(reason), _) => Err(reason.get().to_owned()),
        (State::Completed, None, Some(result)) => Ok(serde_json::from_str(result.get())?),
        (State::Completed, None, None) => Ok(serde_json::from_str("null")?),
        (State::Dead, ..) => Err(last_error().unwrap_or_default()),
        (State::Cancelled, ..) => Err("cancelled".to_owned()),
        _ => return Ok(None),
    };
    Ok(Some(TaskResult {
        task_id,
        attempt: count(job.attempts),
        status: status(job.state),
        result,
    }))
}

//! Finds, lists, resumes and deletes tasks.

use std::time::{Duration, SystemTime};

use apalis_core::backend::queue::Queue;
use apalis_core::backend::{FetchById, Filter, ListAllTasks, ListTasks, ResumeById, Vacuum};
use apalis_core::task::Task;
use apalis_core::task::builder::TaskBuilder;
use apalis_core::task::status::Status;
use apalis_core::task::task_id::TaskId;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::count;
use super::storage::ValkeyStorage;
use crate::job::JobView;
use crate::keys::PRIORITY;
use crate::operate::{JobFilter, Retried};
use crate::{JobId, QueueError, Queues, State};

impl<Args: Serialize + DeserializeOwned> FetchById for ValkeyStorage<Args> {
    async fn fetch_by_id(&mut self, task: &TaskId) -> Result<Option<Task<Vec<u8>>>, QueueError> {
        let id = JobId::try_from(task)?;
        if id.queue() != self.source.queue() {
            return Ok(None);
        }
        Ok(self.source.queues().get(&id).await?.as_ref().map(task_of))
    }
}

impl<Args: Serialize + DeserializeOwned> ResumeById for ValkeyStorage<Args> {
    /// Puts a dead, cancelled or refused task back in line with all its attempts before it; false
    /// when there is nothing to resume.
    async fn resume_by_id(&mut self, task: TaskId) -> Result<bool, QueueError> {
        let id = JobId::try_from(&task)?;
        Ok(self.source.queues().retry(&id).await? == Retried::Done)
    }
}

/// [Retention](crate::Retention) deletes them, too, by age and by number.
impl<Args: Serialize + DeserializeOwned> Vacuum for ValkeyStorage<Args> {
    /// Deletes all tasks of the queue that have ended, dead letters included.
    async fn vacuum(&mut self) -> Result<usize, QueueError> {
        let (queues, queue) = (self.source.queues(), self.source.queue());
        let mut total = 0;
        for state in State::ALL.into_iter().filter(|it| it.is_final()) {
            total += queues.delete_all(&JobFilter::new(queue, state)).await?;
        }
        Ok(usize::try_from(total).unwrap_or(usize::MAX))
    }

    /// As [`Vacuum::vacuum`], of those that ended before the last `age`.
    async fn vacuum_before(&mut self, age: Duration) -> Result<usize, QueueError> {
        let (queues, queue) = (self.source.queues(), self.source.queue());
        let before = SystemTime::now().checked_sub(age);
        let before = before.unwrap_or(SystemTime::UNIX_EPOCH);
        let mut total = 0;
        for state in State::ALL.into_iter().filter(|it| it.is_final()) {
            loop {
                let mut deleted = 0;
                for id in queues.oldest_ended(queue, state, before).await? {
                    match queues.delete(&id).await {
                        Ok(gone) => deleted += usize::from(gone),
                        Err(QueueError::NotFound(_)) => {}
                        Err(error) => return Err(error),
                    }
                }
                total += deleted;
                if deleted == 0 {
                    break;
                }
            }
        }
        Ok(total)
    }
}

impl<Args: Serialize + DeserializeOwned> ListTasks for ValkeyStorage<Args> {
    /// State by state, in each of them the newest ones first.
    async fn list_tasks(&self, filter: &Filter) -> Result<Vec<Task<Vec<u8>>>, QueueError> {
        let mut page = Page::of(filter);
        let queues = self.source.queues();
        page.list(queues, self.source.queue(), filter).await?;
        Ok(page.tasks)
    }
}

impl<Args: Serialize + DeserializeOwned> ListAllTasks for ValkeyStorage<Args> {
    /// Queue by queue, and as [`ListTasks::list_tasks`] in each of them.
    async fn list_all_tasks(&self, filter: &Filter) -> Result<Vec<Task<Vec<u8>>>, QueueError> {
        let mut page = Page::of(filter);
        let queues = self.source.queues();
        for queue in queues.names().await? {
            page.list(queues, &queue, filter).await?;
        }
        Ok(page.tasks)
    }
}

/// A part of a list that goes over several states and queues.
struct Page {
    skip: u64,
    limit: u64,
    tasks: Vec<Task<Vec<u8>>>,
}

impl Page {
    fn of(filter: &Filter) -> Self {
        let limit = u64::from(filter.limit());
        Self {
            skip: u64::from(filter.page.saturating_sub(1)) * limit,
            limit,
            tasks: Vec::new(),
        }
    }

    fn left(&self) -> u64 {
        self.limit.saturating_sub(self.tasks.len() as u64)
    }

    /// Takes what it still needs of a queue.
    async fn list(
        &mut self,
        queues: &Queues,
        queue: &str,
        filter: &Filter,
    ) -> Result<(), QueueError> {
        if self.left() == 0 {
            return Ok(());
        }
        let stats = queues.stats(queue.to_owned()).await?;
        let wanted = |state: &State| {
            filter
                .status
                .as_ref()
                .is_none_or(|it| *it == status(*state))
        };
        for state in State::ALL.into_iter().filter(wanted) {
            let depth = stats.depth(state);
            while self.skip < depth && self.left() > 0 {
                let jobs = queues.list(queue, state, self.skip, self.left()).await?;
                if jobs.is_empty() {
                    break; // they have moved on since they were counted
                }
                self.skip += jobs.len() as u64;
                self.tasks.extend(jobs.iter().map(task_of));
            }
            self.skip = self.skip.saturating_sub(depth);
        }
        Ok(())
    }
}

/// How apalis calls a state. A failed task may have attempts left, or none.
pub(super) fn status(state: State) -> Status {
    match state {
        State::Waiting | State::Scheduled | State::Available => Status::Pending,
        State::Running => Status::Running,
        State::Retrying | State::Dead => Status::Failed,
        State::Completed => Status::Done,
        State::Cancelled => Status::Killed,
    }
}

/// A job as a task. What apalis does not name is not shown.
fn task_of(job: &JobView) -> Task<Vec<u8>> {
    let seconds = |millis: Option<u64>| millis.map(|it| it / 1000);
    let mut task = TaskBuilder::new(job.payload.get().as_bytes().to_owned())
        .task_id(TaskId::from(&job.id))
        .queue(Queue::from(job.queue.as_str()))
        .status(status(job.state))
        .attempt(count(job.attempts))
        .priority(usize::from(PRIORITY.saturating_sub(job.priority)))
        .run_at_timestamp(job.run_at / 1000)
        .lock_at(seconds(job.started_at))
        .lock_by(job.worker.clone())
        .done_at(seconds(job.finished_at));
    if let Some(attempts) = job.max_attempts {
        task = task.max_attempts(count(attempts));
    }
    if let Some(key) = &job.unique_key {
        task = task.idempotency_key(key);
    }
    task.build()
}

//! Looking at jobs: one, one as it changes, a page of them.

use std::time::Duration;

use futures_util::Stream;
use futures_util::future::try_join_all;
use serde_json::value::RawValue;
use sluice_valkey::Repeat;
use tokio::time::Instant;

use crate::calls::Calls;
use crate::events::Change;
use crate::id::check_queue;
use crate::job::{Finished, JobView, State};
use crate::keys::{PAGE_LIMIT, SLOW_POLL, WATCH, root};
use crate::{JobId, QueueError, Queues};

impl Queues {
    /// Waits for the end of a job. None when `limit` ran out before.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn wait(&self, id: &JobId, limit: Duration) -> Result<Option<Finished>, QueueError> {
        let deadline = Instant::now() + limit;
        let mut events = self.shared.hub.end_of(id);
        loop {
            let finished = self.finished(id).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match finished {
                Some(finished) => return Ok(Some(finished)),
                None if left.is_zero() => return Ok(None),
                None => {
                    if events.changed(left.min(SLOW_POLL)).await == Change::Done {
                        return Ok(Some(Finished::Completed(RawValue::NULL.to_owned())));
                    }
                }
            }
        }
    }

    /// How a job ended, if it has. Unlike the whole job this is small, whatever its payload.
    async fn finished(&self, id: &JobId) -> Result<Option<Finished>, QueueError> {
        let mut command = redis::cmd("HMGET");
        command
            .arg(format!("{}job:{}", root(id.queue()), id.job()))
            .arg(&["state", "finished_at", "seat", "result", "error", "errors"]);
        let [state, finished_at, position, result, error, errors]: [Option<String>; 6] =
            self.shared.calls.command("wait", &command).await?;
        // Whether it runs makes no difference here.
        let state = State::read(state, finished_at.is_some(), false, position.is_some())?;
        let state = state.ok_or_else(|| QueueError::NotFound(id.clone()))?;
        Finished::read(state, result, error, errors)
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn get(&self, id: &JobId) -> Result<Option<JobView>, QueueError> {
        view(&self.shared.calls, id.clone()).await
    }

    /// A job as it is now, then again at every change of its state, progress or log, until it has
    /// ended. Changes in quick succession may be seen as one. Ends with [`QueueError::NotFound`]
    /// when there is no such job.
    pub fn watch(
        &self,
        id: &JobId,
    ) -> impl Stream<Item = Result<JobView, QueueError>> + Send + 'static + use<> {
        let (queues, id) = (self.clone(), id.clone());
        async_stream::try_stream! {
            let mut events = queues.shared.hub.changes_of(&id);
            let mut last = None;
            let mut asked_at: Option<Instant> = None;
            loop {
                let job = queues.get(&id).await?;
                let job = job.ok_or_else(|| QueueError::NotFound(id.clone()))?;
                let ended = job.state.is_final();
                let progress = job.progress.as_ref().map(|it| it.get().to_owned());
                let logged = job.log_dropped + job.log.len() as u64;
                let seen = (job.state, job.attempts, job.cancel_requested, progress, logged);
                if last.as_ref() != Some(&seen) {
                    last = Some(seen);
                    yield job;
                }
                if ended {
                    break;
                }
                if asked_at.is_none_or(|at| at.elapsed() > WATCH / 3) {
                    queues.announce_changes(id.queue()).await?;
                    asked_at = Some(Instant::now());
                    continue; // with what changed before that
                }
                events.changed(SLOW_POLL).await;
            }
        }
    }

    /// Has changes of the queue's jobs announced for the next [`WATCH`].
    async fn announce_changes(&self, queue: &str) -> Result<(), QueueError> {
        let (calls, scripts) = (&self.shared.calls, &self.shared.scripts);
        let _: i64 = calls
            .function(&scripts.watch, &root(queue), Repeat::Safe, |_| {})
            .await?;
        Ok(())
    }

    /// One page of a queue's jobs in a state, newest first: by when they ended, are due, or are to
    /// be taken. Of the available ones those that wait for their group come first, then those that
    /// wait for a newer worker, then those that wait for others of their user. At most
    /// [`PAGE_LIMIT`]; costs O(log n + page).
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn list(
        &self,
        queue: &str,
        state: State,
        offset: u64,
        limit: u64,
    ) -> Result<Vec<JobView>, QueueError> {
        check_queue(queue)?;
        let limit = limit.min(PAGE_LIMIT);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let root = root(queue);
        let reads = &self.shared.reads;
        let (mut skip, mut jobs) = (offset, Vec::<String>::new());
        for set in state.sets() {
            let key = format!("{root}{set}");
            let left = limit - jobs.len() as u64;
            let mut range = redis::cmd("ZREVRANGE");
            range.arg(&key).arg(skip).arg(skip.saturating_add(left - 1));
            let mut size = redis::cmd("ZCARD");
            size.arg(&key);
            let (page, size): (Vec<String>, u64) =
                tokio::try_join!(reads.command("list", &range), reads.command("list", &size))?;
            skip = skip.saturating_sub(size);
            jobs.extend(page);
            if jobs.len() as u64 == limit {
                break;
            }
        }
        let views = jobs
            .iter()
            .map(|job| view(reads, JobId::from_parts(queue, job)));
        let views = try_join_all(views).await?;
        Ok(views.into_iter().flatten().collect())
    }
}

/// A job as it is now. One whose key holds something else is shown as such, for it is listed all
/// the same.
pub(crate) async fn view(calls: &Calls, id: JobId) -> Result<Option<JobView>, QueueError> {
    let mut command = redis::cmd("HGETALL");
    command.arg(format!("{}job:{}", root(id.queue()), id.job()));
    match calls.command("get", &command).await {
        Ok(hash) => Ok(JobView::read(id, hash)),
        Err(error) if error.code() == Some("WRONGTYPE") => Ok(JobView::unreadable(
            id,
            "its key does not hold a job".to_owned(),
        )),
        Err(error) => Err(error.into()),
    }
}

//! The numbers of queues.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use sluice_valkey::Repeat;
use ulid::Ulid;

use crate::keys::{PAGE_LIMIT, QUEUES, root};
use crate::worker::millis;
use crate::{JobId, QueueError, Queues, Rate, State};

/// The numbers of one queue.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct QueueStats {
    /// Its name.
    pub name: String,
    /// Jobs that wait for the one before them in a chain, or for the end of a batch.
    pub waiting: u64,
    /// Jobs that wait for their time.
    pub scheduled: u64,
    /// Jobs that wait for a worker or their group.
    pub available: u64,
    /// Jobs that a worker has.
    pub running: u64,
    /// Failed jobs that wait for their next attempt.
    pub retrying: u64,
    /// Completed and refused jobs that are still kept.
    pub completed: u64,
    /// Cancelled jobs that are still kept.
    pub cancelled: u64,
    /// Dead letters.
    pub dead: u64,
    /// Workers seen in the last 10 s.
    pub workers: u64,
    /// How long the job that is next in line has waited, in milliseconds.
    pub oldest_waiting_ms: Option<u64>,
    /// When the queue was paused, in milliseconds since 1970, if it is.
    pub paused_at: Option<u64>,
    /// How many jobs may run at a time, over all workers.
    pub limit: Option<u64>,
    /// How many jobs of one user may run at a time, over all workers.
    pub user_limit: Option<u64>,
    /// How fast jobs start, over all workers.
    pub rate: Option<Rate>,
    /// How fast jobs of one user start, over all workers.
    pub user_rate: Option<Rate>,
    /// Why its numbers cannot be read, if so; then they are 0.
    pub damage: Option<String>,
}

/// A worker that fetches from a queue. Times are milliseconds since 1970.
pub(crate) struct SeenWorker {
    /// Its name, and what tells it from others of that name.
    pub instance: String,
    pub started_at: u64,
    pub seen_at: u64,
}

/// When a worker began: its instance ends in a ULID of that time.
fn began(instance: &str) -> Option<u64> {
    let (_, ulid) = instance.rsplit_once('@')?;
    Some(Ulid::from_string(ulid).ok()?.timestamp_ms())
}

impl Queues {
    /// The numbers of all queues, by name.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn queues(&self) -> Result<Vec<QueueStats>, QueueError> {
        let names = self.names().await?;
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(match self.stats(name.clone()).await {
                // One queue whose keys are damaged must not hide the others.
                Err(error) if error.is_damage() => QueueStats {
                    damage: Some(error.to_string()),
                    name,
                    ..QueueStats::default()
                },
                stats => stats?,
            });
        }
        Ok(all)
    }

    /// The names of all queues, in order.
    pub(crate) async fn names(&self) -> Result<Vec<String>, QueueError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(QUEUES);
        let mut names: Vec<String> = self.shared.calls.command("queues", &command).await?;
        names.sort_unstable();
        Ok(names)
    }

    /// The workers that were seen in the last 10 s, the latest first.
    pub(crate) async fn seen_workers(&self, queue: &str) -> Result<Vec<SeenWorker>, QueueError> {
        // How many that are is the server's clock to say.
        let Some(last) = self.stats(queue.to_owned()).await?.workers.checked_sub(1) else {
            return Ok(Vec::new());
        };
        let mut command = redis::cmd("ZREVRANGE");
        command.arg(root(queue) + "workers").arg(0).arg(last);
        command.arg("WITHSCORES");
        let seen: Vec<(String, u64)> = self.shared.reads.command("workers", &command).await?;
        let workers = seen.into_iter().map(|(instance, seen_at)| SeenWorker {
            started_at: began(&instance).unwrap_or(seen_at),
            instance,
            seen_at,
        });
        Ok(workers.collect())
    }

    /// How many jobs ended after `from` and no later than `until`, of those that are kept.
    pub(crate) async fn ended_between(
        &self,
        queue: &str,
        from: SystemTime,
        until: SystemTime,
    ) -> Result<u64, QueueError> {
        let mut total = 0;
        for state in State::ALL.into_iter().filter(|it| it.is_final()) {
            let mut command = redis::cmd("ZCOUNT");
            command.arg(root(queue) + state.as_str());
            command
                .arg(format!("({}", since_1970(from)))
                .arg(since_1970(until));
            let count: u64 = self.shared.reads.command("ended", &command).await?;
            total += count;
        }
        Ok(total)
    }

    /// Some of the jobs that ended in this state no later than `until`, the oldest first.
    pub(crate) async fn oldest_ended(
        &self,
        queue: &str,
        state: State,
        until: SystemTime,
    ) -> Result<Vec<JobId>, QueueError> {
        let mut command = redis::cmd("ZRANGEBYSCORE");
        command.arg(root(queue) + state.as_str());
        command.arg("-inf").arg(since_1970(until));
        command.arg("LIMIT").arg(0).arg(PAGE_LIMIT);
        let jobs: Vec<String> = self.shared.reads.command("ended", &command).await?;
        Ok(jobs
            .iter()
            .map(|job| JobId::from_parts(queue, job))
            .collect())
    }

    /// The numbers of one queue.
    pub(crate) async fn stats(&self, name: String) -> Result<QueueStats, QueueError> {
        let scripts = &self.shared.scripts;
        let (counts, numbers, rates): ([i64; 9], [i64; 4], [String; 2]) = self
            .shared
            .calls
            .function(&scripts.stats, &root(&name), Repeat::Safe, |_| {})
            .await?;
        let [oldest_waiting, paused_at, limit, user_limit] = numbers;
        let [rate, user_rate] = rates.map(|kept| Rate::read(&kept));
        let optional = |number: i64| u64::try_from(number).ok();
        let [
            waiting,
            scheduled,
            available,
            running,
            retrying,
            completed,
            cancelled,
            dead,
            workers,
        ] = counts.map(i64::unsigned_abs);
        Ok(QueueStats {
            name,
            waiting,
            scheduled,
            available,
            running,
            retrying,
            completed,
            cancelled,
            dead,
            workers,
            oldest_waiting_ms: optional(oldest_waiting),
            paused_at: optional(paused_at),
            limit: optional(limit),
            user_limit: optional(user_limit),
            rate,
            user_rate,
            damage: None,
        })
    }
}

/// In milliseconds, as scores have it.
fn since_1970(time: SystemTime) -> u64 {
    millis(time.duration_since(UNIX_EPOCH).unwrap_or_default())
}

impl QueueStats {
    /// How many jobs are in a state.
    pub fn depth(&self, state: State) -> u64 {
        match state {
            State::Waiting => self.waiting,
            State::Scheduled => self.scheduled,
            State::Available => self.available,
            State::Running => self.running,
            State::Retrying => self.retrying,
            State::Completed => self.completed,
            State::Cancelled => self.cancelled,
            State::Dead => self.dead,
        }
    }
}

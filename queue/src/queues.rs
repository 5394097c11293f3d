//! The handle to all queues of one Valkey.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::Stream;
use redis::Client;
use tokio::time::{Instant, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::events::{Hub, listen};
use crate::id::check_queue;
use crate::job::{Finished, JobView, QueueStats, State};
use crate::keys::{CONNECT_TIMEOUT, PAGE_LIMIT, PAYLOAD_LIMIT, QUEUES, Retention, SLOW_POLL, root};
use crate::lane::Lane;
use crate::script::Scripts;
use crate::worker::Workers;
use crate::worker::lease::Leases;
use crate::{JobId, QueueError};

/// Settings of a [`Queues`].
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// How long a command may take. Default 10 s.
    pub response_timeout: Duration,
    /// How long finished jobs are kept. All processes that share queues should agree.
    pub retention: Retention,
    /// The largest payload that this process enqueues, in bytes. Default [`PAYLOAD_LIMIT`]. A worker gets several at
    /// once, so keep it to a few MiB.
    pub payload_limit: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(10),
            retention: Retention::default(),
            payload_limit: PAYLOAD_LIMIT,
        }
    }
}

/// The queues in one Valkey. Cheap to clone; all clones share one connection for commands and one for events, which
/// come back by themselves. Commands are tried again for about two seconds while Valkey restarts.
#[derive(Clone)]
pub struct Queues {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub client: Client,
    pub lane: Lane,
    pub scripts: Arc<Scripts>,
    pub hub: Arc<Hub>,
    pub workers: Workers,
    /// Large reads go through the pool, so that nothing queues up behind them.
    pool: deadpool_redis::Pool,
    response_timeout: Duration,
    pub payload_limit: usize,
    /// Names that this process has put into the set of all queues.
    registered: Mutex<HashSet<String>>,
    _listener: AbortOnDropHandle<()>,
}

impl Queues {
    /// Opens the queues of the Valkey at `url` (`redis://…`), which is also the one that `pool` leads to.
    /// Waits shortly for the subscription; should Valkey be away, everything works as soon as it is there.
    ///
    /// # Errors
    /// [`QueueError::Valkey`] for a malformed URL.
    pub async fn connect(
        url: &str,
        pool: deadpool_redis::Pool,
        config: QueueConfig,
    ) -> Result<Self, QueueError> {
        let client = Client::open(url)?;
        let leases = Arc::new(Leases::default());
        let hub = Arc::new(Hub::new(leases.clone()));
        let mut subscribed = hub.subscribed();
        let listener = tokio::spawn(listen(client.clone(), hub.clone()));
        if timeout(CONNECT_TIMEOUT, subscribed.wait_for(|&yes| yes))
            .await
            .is_err()
        {
            tracing::warn!("Valkey does not answer yet, the queues wait for it");
        }
        Ok(Self {
            shared: Arc::new(Shared {
                lane: Lane::new(client.clone(), config.response_timeout),
                client,
                scripts: Arc::new(Scripts::new(&config.retention)),
                hub,
                workers: Workers::new(leases),
                pool,
                response_timeout: config.response_timeout,
                payload_limit: config.payload_limit,
                registered: Mutex::default(),
                _listener: AbortOnDropHandle::new(listener),
            }),
        })
    }

    /// Waits for the end of a job. None when `limit` ran out before.
    ///
    /// # Errors
    /// [`QueueError::NotFound`], and when Valkey does not answer.
    pub async fn wait(&self, id: &JobId, limit: Duration) -> Result<Option<Finished>, QueueError> {
        let deadline = Instant::now() + limit;
        let mut events = self.shared.hub.job(id.job());
        loop {
            let finished = self.finished(id).await?;
            let left = deadline.saturating_duration_since(Instant::now());
            match finished {
                Some(finished) => return Ok(Some(finished)),
                None if left.is_zero() => return Ok(None),
                None => events.changed(left.min(SLOW_POLL)).await,
            }
        }
    }

    /// How a job ended, if it has. Unlike the whole job this is small, whatever its payload.
    async fn finished(&self, id: &JobId) -> Result<Option<Finished>, QueueError> {
        let mut command = redis::cmd("HMGET");
        command
            .arg(format!("{}job:{}", root(id.queue()), id.job()))
            .arg(&["state", "result", "error", "errors"]);
        let [state, result, error, errors]: [Option<String>; 4] =
            self.shared.lane.command("wait", &command).await?;
        let state = state.ok_or_else(|| QueueError::NotFound(id.clone()))?;
        Finished::read(state.parse()?, result, error, errors)
    }

    /// A job as it is now.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn get(&self, id: &JobId) -> Result<Option<JobView>, QueueError> {
        let mut command = redis::cmd("HGETALL");
        command.arg(format!("{}job:{}", root(id.queue()), id.job()));
        let hash = self.shared.lane.command("get", &command).await?;
        JobView::read(id.clone(), hash)
    }

    /// A job as it is now, then again at every change of its state or progress, until it has ended.
    /// Changes in quick succession may be seen as one. Ends with [`QueueError::NotFound`] when there is no such job.
    pub fn watch(
        &self,
        id: &JobId,
    ) -> impl Stream<Item = Result<JobView, QueueError>> + Send + 'static + use<> {
        let (queues, id) = (self.clone(), id.clone());
        async_stream::try_stream! {
            let mut events = queues.shared.hub.job(id.job());
            let mut last = None;
            loop {
                let job = queues.get(&id).await?;
                let job = job.ok_or_else(|| QueueError::NotFound(id.clone()))?;
                let ended = job.state.is_final();
                let progress = job.progress.as_ref().map(|it| it.get().to_owned());
                let seen = (job.state, job.attempts, job.cancel_requested, progress);
                if last.as_ref() != Some(&seen) {
                    last = Some(seen);
                    yield job;
                }
                if ended {
                    break;
                }
                events.changed(SLOW_POLL).await;
            }
        }
    }

    /// The numbers of all queues, by name.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn queues(&self) -> Result<Vec<QueueStats>, QueueError> {
        let mut command = redis::cmd("SMEMBERS");
        command.arg(QUEUES);
        let mut names: Vec<String> = self.shared.lane.command("queues", &command).await?;
        names.sort_unstable();
        let mut all = Vec::with_capacity(names.len());
        for name in names {
            all.push(self.stats(name).await?);
        }
        Ok(all)
    }

    async fn stats(&self, name: String) -> Result<QueueStats, QueueError> {
        let scripts = &self.shared.scripts;
        let numbers: [i64; 12] = self
            .shared
            .lane
            .script(&scripts.stats, &root(&name), |_| {})
            .await?;
        let [counts @ .., oldest_waiting, paused_at, limit, user_limit] = numbers;
        let optional = |number: i64| u64::try_from(number).ok();
        let [
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
        })
    }

    /// One page of a queue's jobs in a state, newest first: by when they ended, are due, or are to be taken. Of the
    /// available ones those that wait for their group come first, then those that wait for a newer worker, then those that wait
    /// for others of their user. At most [`PAGE_LIMIT`]; costs O(log n + page).
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
        let mut connection = self.pooled().await?;
        let (mut skip, mut jobs) = (offset, Vec::<String>::new());
        for set in state.sets() {
            let left = limit - jobs.len() as u64;
            let (page, size): (Vec<String>, u64) = redis::pipe()
                .cmd("ZREVRANGE")
                .arg(format!("{root}{set}"))
                .arg(skip)
                .arg(skip.saturating_add(left - 1))
                .cmd("ZCARD")
                .arg(format!("{root}{set}"))
                .query_async(&mut connection)
                .await?;
            skip = skip.saturating_sub(size);
            jobs.extend(page);
            if jobs.len() as u64 == limit {
                break;
            }
        }
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for job in &jobs {
            pipeline.cmd("HGETALL").arg(format!("{root}job:{job}"));
        }
        let hashes: Vec<HashMap<String, String>> = pipeline.query_async(&mut connection).await?;
        jobs.iter()
            .zip(hashes)
            .filter_map(|(job, hash)| {
                JobView::read(JobId::from_parts(queue, job), hash).transpose()
            })
            .collect()
    }

    /// Whether Valkey answers and events arrive.
    ///
    /// # Errors
    /// When not.
    pub async fn ready(&self) -> Result<(), QueueError> {
        let mut connection = self.pooled().await?;
        let _: String = redis::cmd("PING").query_async(&mut connection).await?;
        let mut subscribed = self.shared.hub.subscribed();
        match timeout(CONNECT_TIMEOUT, subscribed.wait_for(|&yes| yes)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(QueueError::Timeout("the event subscription")),
        }
    }

    /// Makes the queue's name known to [`Queues::queues`], once per process.
    pub(crate) async fn register(&self, queue: &str) -> Result<(), QueueError> {
        let registered = || {
            self.shared
                .registered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if registered().contains(queue) {
            return Ok(());
        }
        let mut command = redis::cmd("SADD");
        command.arg(QUEUES).arg(queue);
        let _: i64 = self.shared.lane.command("register", &command).await?;
        registered().insert(queue.to_owned());
        Ok(())
    }

    async fn pooled(&self) -> Result<deadpool_redis::Connection, QueueError> {
        let connection = timeout(self.shared.response_timeout, self.shared.pool.get()).await;
        Ok(connection.map_err(|_| QueueError::Timeout("the connection pool"))??)
    }
}

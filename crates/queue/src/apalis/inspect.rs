//! Shows queues, their workers and their figures.

use std::time::{Duration, SystemTime};

use apalis_core::backend::{
    ListQueues, ListWorkers, Metrics, QueueInfo, RunningWorker, StatType, Statistic,
};
use futures_util::future::try_join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::storage::ValkeyStorage;
use crate::stats::{QueueStats, SeenWorker};
use crate::{QueueError, Queues, State};

/// How many days of activity a queue shows.
const DAYS: u32 = 7;
const DAY: Duration = Duration::from_secs(24 * 3600);

impl<Args: Serialize + DeserializeOwned> ListQueues for ValkeyStorage<Args> {
    /// The activity is how many tasks ended on each of the last seven days, the current one last,
    /// of those that [retention](crate::Retention) keeps.
    async fn list_queues(&self) -> Result<Vec<QueueInfo>, QueueError> {
        let queues = self.source.queues();
        let stats = queues.queues().await?;
        try_join_all(stats.into_iter().map(|stats| info(queues, stats))).await
    }
}

impl<Args: Serialize + DeserializeOwned> ListWorkers for ValkeyStorage<Args> {
    async fn list_workers(&self) -> Result<Vec<RunningWorker>, QueueError> {
        workers(self.source.queues(), self.source.queue()).await
    }

    async fn list_all_workers(&self) -> Result<Vec<RunningWorker>, QueueError> {
        let queues = self.source.queues();
        let names = queues.names().await?;
        let workers = names.iter().map(|queue| workers(queues, queue));
        Ok(try_join_all(workers).await?.into_iter().flatten().collect())
    }
}

impl<Args: Serialize + DeserializeOwned> Metrics for ValkeyStorage<Args> {
    /// Of all queues together.
    async fn global(&self) -> Result<Vec<Statistic>, QueueError> {
        let queues = self.source.queues().queues().await?;
        let total = |count: &dyn Fn(&QueueStats) -> u64| queues.iter().map(count).sum();
        Ok(statistics(total))
    }

    async fn fetch_by_queue(&self) -> Result<Vec<Statistic>, QueueError> {
        let stats = self
            .source
            .queues()
            .stats(self.source.queue().to_owned())
            .await?;
        Ok(statistics(|count| count(&stats)))
    }
}

/// Jobs by state, and workers; `figure` is asked for each.
fn statistics(figure: impl Fn(&dyn Fn(&QueueStats) -> u64) -> u64) -> Vec<Statistic> {
    let statistic = |title: &str, value: u64, priority| Statistic {
        title: title.to_owned(),
        stat_type: StatType::Number,
        value: value.to_string(),
        priority: Some(priority),
    };
    let states = State::ALL.into_iter().zip(1..);
    let states = states.map(|(state, priority)| {
        let depth = figure(&|stats: &QueueStats| stats.depth(state));
        statistic(state.as_str(), depth, priority)
    });
    let workers = statistic("workers", figure(&|stats: &QueueStats| stats.workers), 0);
    [workers].into_iter().chain(states).collect()
}

async fn info(queues: &Queues, stats: QueueStats) -> Result<QueueInfo, QueueError> {
    let workers = queues.seen_workers(&stats.name).await?;
    let now = SystemTime::now();
    let days = (0..DAYS).rev().map(|day| {
        let from = now - DAY * (day + 1);
        // The server's clock may be ahead.
        let until = if day == 0 { now + DAY } else { from + DAY };
        queues.ended_between(&stats.name, from, until)
    });
    let activity = try_join_all(days).await?;
    Ok(QueueInfo {
        stats: statistics(|count| count(&stats)),
        workers: workers.into_iter().map(|it| it.instance).collect(),
        activity: activity
            .into_iter()
            .map(|it| usize::try_from(it).unwrap_or(usize::MAX))
            .collect(),
        name: stats.name,
    })
}

async fn workers(queues: &Queues, queue: &str) -> Result<Vec<RunningWorker>, QueueError> {
    let seen = queues.seen_workers(queue).await?;
    let running = seen.into_iter().map(|worker: SeenWorker| RunningWorker {
        started_at: worker.started_at / 1000,
        last_heartbeat: worker.seen_at / 1000,
        id: worker.instance,
        queue: queue.to_owned(),
        backend: "ValkeyStorage".to_owned(),
        layers: String::new(),
    });
    Ok(running.collect())
}

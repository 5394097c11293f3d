//! `sweep`: enqueues a prefetch for each user who read something lately.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sluice_queue::{NewJob, QueueError, Running};
use tokio::time::{Instant, sleep_until};

use super::prefetch::Prefetch;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// How many of a user's hottest entries a sweep keeps warm.
const ENTRIES_PER_USER: u32 = 100;

/// How many users one sweep serves, those who read last first.
const USERS_PER_SWEEP: usize = 10_000;

/// How many users are read and enqueued at once: others wait for a part of a millisecond.
const USERS_PER_PAGE: usize = 100;

/// How many users are enqueued in a second, unless the request says otherwise.
const USERS_PER_SECOND: u32 = 1_000;

/// Keeps hot entries warm. It costs as much as there are users who read something lately.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sweep {
    /// How many users are enqueued in a second, so that a sweep is no burst. At least 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    users_per_second: Option<u32>,
}

/// What a sweep has done.
#[derive(Serialize, Deserialize)]
pub(crate) struct SweepResult {
    users: usize,
}

impl Job for Sweep {
    const QUEUE: &'static str = "sweep";
    const MAX_ATTEMPTS: u32 = 3;
    const VIEWERS: &'static str = super::VIEWERS;
    type Answer = SweepResult;
    type Refusal = NoRefusal;

    async fn run(self, context: &Context, running: &Running) -> Result<SweepResult, Failure> {
        let mut users = 0;
        let mut at = 0;
        let rate = self.users_per_second.unwrap_or(USERS_PER_SECOND).max(1);
        let (cancelled, begun) = (running.cancelled(), Instant::now());
        while at < USERS_PER_SWEEP {
            let due = begun + Duration::from_secs_f64(at as f64 / f64::from(rate));
            tokio::select! {
                () = sleep_until(due) => {}
                () = cancelled.cancelled() => {}
            }
            stop_if_cancelled(running)?;
            // Who reads meanwhile moves up, so that others come twice; their jobs are unique.
            let page = context.cache.recent_users(at, USERS_PER_PAGE).await?;
            if page.is_empty() {
                break;
            }
            at += page.len();
            let prefetches = page.into_iter().map(|(user, read_at)| {
                Prefetch::keep_warm(user, ENTRIES_PER_USER, read_at).new_job()
            });
            let jobs: Vec<NewJob> = prefetches.collect::<Result<_, _>>()?;
            for added in context.queues.enqueue_all(&jobs).await? {
                match added {
                    // The users who are left come with the next sweep.
                    Err(QueueError::Full(_)) => return Ok(SweepResult { users }),
                    added => added?,
                };
                users += 1;
            }
        }
        Ok(SweepResult { users })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sluice_convex::{Client, ClientConfig, FilesVia, files};
    use sluice_queue::{Finished, QueueConfig, Queues};
    use sluice_store::cache::{Cache, CacheConfig};
    use sluice_store::documents::DocumentsConfig;
    use sluice_test_support::TestValkey;
    use sluice_valkey::Valkey;
    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::workers::{JobsConfig, run_workers};

    const LONG: Duration = Duration::from_secs(30);

    /// Runs a sweep. How many users it served.
    async fn sweep(queues: &Queues) -> usize {
        let id = Sweep::default().enqueue(queues).await.unwrap().id;
        let finished = queues.wait(&id, LONG).await.unwrap();
        match finished.expect("the sweep does not end") {
            Finished::Completed(result) => {
                let result: SweepResult = serde_json::from_str(result.get()).unwrap();
                result.users
            }
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn users_for_whom_the_queue_has_no_room_come_with_a_later_sweep() {
        let valkey = TestValkey::start();
        let config = QueueConfig {
            backlog_limit: 2,
            ..QueueConfig::default()
        };
        let queues = Queues::connect(&valkey.url(), config).await.unwrap();
        let store = Valkey::at(&valkey.url()).unwrap();
        let cache = Cache::new(&store, CacheConfig::default()).unwrap();
        for user in ["ann", "bob"] {
            cache.note_access(user, "a", 0);
        }
        cache.record_accesses().await;
        queues.pause(Prefetch::QUEUE).await.unwrap();
        let other = Prefetch::new("cat".to_owned(), 1).enqueue(&queues).await;
        let other = other.unwrap().id;

        // Nobody asks it for anything.
        let convex = ClientConfig::new("http://127.0.0.1:1".parse().unwrap(), "key".into());
        let files = files(Client::new(convex).unwrap(), FilesVia::Functions);
        let config = JobsConfig {
            concurrency: 1,
            losses: 3,
            worker_name: "test".to_owned(),
            host: "test".to_owned(),
            schedules: Vec::new(),
            device_idle: Duration::MAX,
            contents: Default::default(),
            documents: DocumentsConfig::default(),
            drain: Duration::ZERO,
            tail: None,
        };
        let shutdown = CancellationToken::new();
        let _end = shutdown.clone().drop_guard();
        let workers = run_workers(queues.clone(), cache, files, config, shutdown);
        tokio::spawn(workers);

        assert_eq!(sweep(&queues).await, 0);
        queues.cancel(&other).await.unwrap();
        assert_eq!(sweep(&queues).await, 2);
    }
}

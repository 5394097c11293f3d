//! `sweep`: enqueues a prefetch for each user who read something lately.

use serde::{Deserialize, Serialize};
use sluice_queue::{NewJob, Running};

use super::prefetch::Prefetch;
use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::refusal::NoRefusal;

/// How many of a user's hottest entries a sweep keeps warm.
const ENTRIES_PER_USER: u32 = 100;

/// How many users one sweep serves, those who read last first.
const USERS_PER_SWEEP: usize = 10_000;

/// How many users are read and enqueued at once: others wait for a millisecond.
const USERS_PER_PAGE: usize = 500;

/// Keeps hot entries warm.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Sweep {}

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
        while users < USERS_PER_SWEEP {
            stop_if_cancelled(running)?;
            // Who reads meanwhile moves up, so that others come twice; their jobs are unique.
            let page = context.cache.recent_users(users, USERS_PER_PAGE).await?;
            if page.is_empty() {
                break;
            }
            users += page.len();
            let prefetches = page.into_iter().map(|(user, read_at)| {
                Prefetch::keep_warm(user, ENTRIES_PER_USER, read_at).new_job()
            });
            let jobs: Vec<NewJob> = prefetches.collect::<Result<_, _>>()?;
            for added in context.queues.enqueue_all(&jobs).await? {
                added?;
            }
        }
        Ok(SweepResult { users })
    }
}

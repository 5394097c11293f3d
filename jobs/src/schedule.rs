//! What happens by the clock.
//!
//! Every worker process ticks, and every tick enqueues its job under a key made of its time, so that of all workers one
//! runs it: the purge of what expired documents leave behind, or the sweep. The sweep enqueues a prefetch for each user who read something lately.

use std::str::FromStr;

use apalis_cron::Tick;
use cron::Schedule;
use serde::{Deserialize, Serialize};
use sluice_queue::{Idempotency, NewJob, QueueError, Queues, Running, Unique};

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::requests::{BATCH_PRIORITY, PrefetchRequest, Request};

/// How many of a user's hottest entries a sweep keeps warm.
const ENTRIES_PER_USER: u32 = 100;

/// How many users one sweep serves, those who read last first.
const USERS_PER_SWEEP: usize = 10_000;

/// A cron expression that does not parse.
#[derive(Debug, thiserror::Error)]
#[error(
    "the schedule {expression:?} is not a cron expression with seconds, such as \"0 */15 * * * *\": {reason}"
)]
pub struct ScheduleError {
    expression: String,
    reason: cron::error::Error,
}

/// Reads a cron expression with a seconds field, e.g. `0 */15 * * * *`; times are UTC.
///
/// # Errors
/// When it is not one.
pub fn parse_schedule(expression: &str) -> Result<Schedule, ScheduleError> {
    Schedule::from_str(expression).map_err(|reason| ScheduleError {
        expression: expression.to_owned(),
        reason,
    })
}

/// Enqueues the job of this tick, once over all workers.
pub(crate) async fn enqueue<J: Job<Request: Default>>(
    tick: Tick,
    queues: &Queues,
) -> Result<(), QueueError> {
    let at = tick.get_timestamp();
    let job = NewJob {
        idempotency: Some(Idempotency {
            key: format!("tick:{at}"),
            fingerprint: String::new(),
        }),
        // One that could not run before the next tick is not worth a second one.
        unique: Some(Unique::by_key("tick")),
        ..J::new_job(&J::Request::default())?
    };
    queues.enqueue(job).await?;
    Ok(())
}

/// The job that keeps hot entries warm.
pub(crate) struct Sweep;

#[derive(Default, Serialize, Deserialize)]
pub(crate) struct SweepRequest {}

#[derive(Serialize)]
pub(crate) struct SweepAnswer {
    users: usize,
}

impl Job for Sweep {
    const QUEUE: &'static str = "sweep";
    const MAX_ATTEMPTS: u32 = 3;
    type Request = SweepRequest;
    type Answer = SweepAnswer;

    async fn run(
        context: &Context,
        _: SweepRequest,
        running: &Running,
    ) -> Result<SweepAnswer, Failure> {
        let users = context.cache.recent_users(USERS_PER_SWEEP).await?;
        for user in &users {
            stop_if_cancelled(running)?;
            let request = PrefetchRequest {
                user: user.clone(),
                limit: ENTRIES_PER_USER,
            };
            let job = NewJob {
                priority: BATCH_PRIORITY,
                ..Request::Prefetch(request).into_job(None)?
            };
            context.queues.enqueue(job).await?;
        }
        Ok(SweepAnswer { users: users.len() })
    }
}

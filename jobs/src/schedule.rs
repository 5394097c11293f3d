//! What happens by the clock.
//!
//! Every worker process ticks, and every tick enqueues its job under a key made of its time, so
//! that of all workers one runs it: the purge of what expired documents leave behind, or the sweep.
//! The sweep enqueues a prefetch for each user who read something lately.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apalis_cron::Tick;
use chrono::{DateTime, Utc};
use cron::Schedule;
use serde::{Deserialize, Serialize};
use sluice_queue::{Idempotency, NewJob, QueueError, Queues, Running, Unique};

use crate::context::Context;
use crate::failure::Failure;
use crate::job::{Job, stop_if_cancelled};
use crate::prefetch::{Prefetch, PrefetchWork};
use crate::requests::{BATCH_PRIORITY, PrefetchRequest};

/// How many of a user's hottest entries a sweep keeps warm.
const ENTRIES_PER_USER: u32 = 100;

/// How many users one sweep serves, those who read last first.
const USERS_PER_SWEEP: usize = 10_000;

/// How many users are read and enqueued at once: others wait for a millisecond.
const USERS_PER_PAGE: usize = 500;

/// What is wrong with a schedule.
#[derive(Debug, thiserror::Error)]
pub enum ScheduleError {
    /// It does not parse.
    #[error(
        "the schedule {expression:?} is not a cron expression with seconds, such as \"0 */15 * * * *\": {reason}"
    )]
    Malformed {
        /// The text.
        expression: String,
        /// What is wrong with it.
        reason: cron::error::Error,
    },
    /// It has no time from now on, such as 30 February.
    #[error("the schedule {0:?} never comes to pass")]
    Never(String),
}

/// Reads a cron expression with a seconds field, e.g. `0 */15 * * * *`; times are UTC.
///
/// # Errors
/// When it is not one, or never comes to pass.
pub fn parse_schedule(expression: &str) -> Result<Schedule, ScheduleError> {
    let schedule = Schedule::from_str(expression).map_err(|reason| ScheduleError::Malformed {
        expression: expression.to_owned(),
        reason,
    })?;
    match schedule.after(&now()).next() {
        Some(_) => Ok(schedule),
        None => Err(ScheduleError::Never(expression.to_owned())),
    }
}

/// The time between the next two ticks of a schedule; none when it has less than two.
///
/// # Errors
/// As [`parse_schedule`].
pub fn schedule_interval(expression: &str) -> Result<Option<Duration>, ScheduleError> {
    let schedule = parse_schedule(expression)?;
    let now = now();
    let mut ticks = schedule.after(&now);
    let next_two = ticks.next().zip(ticks.next());
    Ok(next_two.and_then(|(first, second)| (second - first).to_std().ok()))
}

fn now() -> DateTime<Utc> {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = since_1970.unwrap_or_default().as_secs();
    DateTime::from_timestamp(seconds.try_into().unwrap_or_default(), 0).unwrap_or_default()
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
        let mut users = 0;
        while users < USERS_PER_SWEEP {
            stop_if_cancelled(running)?;
            // Who reads meanwhile moves up, so that others come twice; their jobs are unique.
            let page = context.cache.recent_users(users, USERS_PER_PAGE).await?;
            if page.is_empty() {
                break;
            }
            users += page.len();
            let jobs: Result<Vec<NewJob>, _> = page.into_iter().map(keep_warm).collect();
            for added in context.queues.enqueue_all(&jobs?).await? {
                added?;
            }
        }
        Ok(SweepAnswer { users })
    }
}

/// The prefetch for a user who read at this second.
fn keep_warm((user, read_at): (String, u64)) -> Result<NewJob, QueueError> {
    let work = PrefetchWork {
        request: PrefetchRequest {
            user: user.clone(),
            limit: ENTRIES_PER_USER,
        },
        read_at: Some(read_at),
    };
    Ok(NewJob {
        priority: BATCH_PRIORITY,
        // Not that of callers, who may ask for it after a log-out that ends this one.
        unique: Some(Unique::by_key(format!("sweep:{user}"))),
        user: Some(user),
        ..Prefetch::new_job(&work)?
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_schedule_that_never_comes_to_pass_is_refused() {
        for never in ["0 0 0 30 2 *", "0 0 0 1 1 * 2020"] {
            let error = parse_schedule(never).unwrap_err();
            assert!(matches!(error, ScheduleError::Never(_)), "{error}");
        }
        parse_schedule("0 0 0 29 2 *").unwrap();
    }

    #[test]
    fn an_interval_is_the_time_between_two_ticks() {
        let quarter = schedule_interval("0 */15 * * * *").unwrap();
        assert_eq!(quarter, Some(Duration::from_secs(900)));
    }
}

//! What happens by the clock.
//!
//! Every worker process ticks, and every tick enqueues its job under a key made of its time, so
//! that of all workers one runs it.

use std::str::FromStr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apalis_cron::Tick;
use chrono::{DateTime, Utc};
use cron::Schedule;
use sluice_queue::{Idempotency, NewJob, QueueError, Queues, Unique};

use crate::job::Job;

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

/// Enqueues the job of this tick, once over all workers; not while its queue is full.
pub(crate) async fn enqueue<J: Job + Default>(
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
        ..J::default().new_job()?
    };
    match queues.enqueue(job).await {
        Err(QueueError::Full(queue)) => {
            tracing::warn!(queue, "the queue is full: this tick is left out");
            Ok(())
        }
        enqueued => enqueued.map(drop),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use sluice_queue::{QueueConfig, State};
    use sluice_test_support::TestValkey;

    use super::*;
    use crate::meta::Sweep;

    #[tokio::test]
    async fn a_tick_is_left_out_while_its_queue_is_full_and_a_later_one_is_not() {
        let valkey = TestValkey::start();
        let config = QueueConfig {
            backlog_limit: 1,
            ..QueueConfig::default()
        };
        let queues = Queues::connect(&valkey.url(), config).await.unwrap();
        let other = Sweep::default().enqueue(&queues).await.unwrap().id;
        let waiting = async || queues.queues().await.unwrap()[0].depth(State::Available);
        enqueue::<Sweep>(Tick::new(1), &queues).await.unwrap();
        assert_eq!(waiting().await, 1);
        queues.cancel(&other).await.unwrap();
        for tick in [2, 3] {
            enqueue::<Sweep>(Tick::new(tick), &queues).await.unwrap();
            assert_eq!(waiting().await, 1);
        }
    }

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

//! What happens by the clock.
//!
//! A schedule says when a job is enqueued, and which. Those of the configuration are declared by
//! each worker process as it starts, others are added while everything runs; all of them are kept
//! in Valkey, whose clock is the one that counts. Every worker process fires them: a
//! tick is a job's idempotency key, so of all workers one enqueues it.

pub mod cron;
mod fire;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use sluice_queue::{JobId, KeptSchedule, NewJob, QueueError, Queues, SCHEDULES_LIMIT, Unique};
use utoipa::ToSchema;

use crate::documents::Purge;
use crate::filesync::{SleepDevices, SweepContents, SweepOrphans, TrimShares};
use crate::job::Job;
use crate::meta::{Invalidate, Prefetch, Sweep, Sync};
pub(crate) use fire::run;

use cron::{Cron, ScheduleError};

/// The longest jitter, in seconds: a day.
const JITTER_LIMIT_SECS: u32 = 86_400;

/// The longest name of a schedule, in bytes.
const NAME_LIMIT: usize = 64;

/// When a job is enqueued, and which.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// A cron expression with seconds: second, minute, hour, day of the month, month, day of the
    /// week, and a year if need be.
    #[schema(example = "0 30 2 * * *")]
    pub cron: String,
    /// The time zone that the expression is in. Where its clock is set, see the manual.
    #[serde(default = "utc")]
    #[schema(example = "Europe/Berlin")]
    pub zone: String,
    /// The queue of the job.
    #[schema(example = "purge")]
    pub queue: String,
    /// The job, as its queue takes it.
    #[serde(default = "empty")]
    #[schema(value_type = Object)]
    pub payload: Value,
    /// For up to so many seconds after its tick the job waits; how long differs from tick to tick.
    #[serde(default)]
    #[schema(maximum = 86400)]
    pub jitter_secs: u32,
    /// What comes of ticks at which no worker ran.
    #[serde(default)]
    pub missed: Missed,
}

/// What comes of ticks at which no worker ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// The first worker that runs again enqueues one job for all of them.
    #[default]
    Once,
    /// They are left out.
    Skip,
}

/// Where a schedule comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// The configuration of the workers.
    Config,
    /// An operator.
    Operator,
}

/// A schedule as it is kept.
#[derive(Serialize, Deserialize)]
struct Definition {
    origin: Origin,
    schedule: Schedule,
}

/// A schedule, with what came of its ticks. Times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Where it comes from.
    pub origin: Origin,
    /// When it ticks: a cron expression with seconds.
    pub cron: String,
    /// The time zone of that.
    pub zone: String,
    /// The queue of its job.
    pub queue: String,
    /// The job.
    #[schema(value_type = Object)]
    pub payload: Value,
    /// For up to so many seconds after its tick the job waits.
    pub jitter_secs: u32,
    /// What comes of ticks at which no worker ran.
    pub missed: Missed,
    /// Its next tick; none while it is paused.
    #[schema(required = true)]
    pub next: Option<u64>,
    /// The last tick that was fired or left out.
    #[schema(required = true)]
    pub last: Option<u64>,
    /// The job of that tick.
    #[schema(required = true, value_type = Option<String>)]
    pub last_job: Option<JobId>,
    /// Why that tick has none.
    #[schema(required = true)]
    pub left_out: Option<String>,
    /// When it was paused, if it is.
    #[schema(required = true)]
    pub paused_at: Option<u64>,
}

/// Why a schedule is not taken.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSchedule {
    /// Its name has other characters, or too many.
    #[error("name: must be 1 to 64 of a-z, 0-9 and -")]
    Name,
    /// Its times.
    #[error("cron: {0}")]
    Cron(#[from] ScheduleError),
    /// Its jitter.
    #[error("jitter_secs: must be at most 86400")]
    Jitter,
    /// Its queue is none whose jobs can be scheduled.
    #[error("queue: {0:?} has no jobs that can be scheduled; it must be one of {1}")]
    Queue(String, String),
    /// Its payload is no job of its queue.
    #[error("payload: {0}")]
    Payload(String),
}

/// Why a schedule was not kept.
#[derive(Debug, thiserror::Error)]
pub enum PutError {
    /// It is not valid.
    #[error(transparent)]
    Invalid(#[from] InvalidSchedule),
    /// There are as many as there may be.
    #[error("there are {SCHEDULES_LIMIT} schedules, which is as many as there may be")]
    Full,
    /// It comes from the configuration.
    #[error("this schedule comes from the configuration; it can be paused")]
    Configured,
    /// Valkey did not take it.
    #[error(transparent)]
    Queue(#[from] QueueError),
}

fn utc() -> String {
    "UTC".to_owned()
}

fn empty() -> Value {
    json!({})
}

macro_rules! schedulable {
    ($($kind:ty),+ $(,)?) => {
        /// The queues whose jobs can be scheduled.
        pub const SCHEDULABLE: &[&str] = &[$(<$kind>::QUEUE),+];

        /// The job of a queue that a payload describes.
        fn read_job(queue: &str, payload: &Value) -> Result<NewJob, InvalidSchedule> {
            let invalid = |error: &dyn std::fmt::Display| InvalidSchedule::Payload(error.to_string());
            $(if queue == <$kind>::QUEUE {
                let job: $kind = Deserialize::deserialize(payload).map_err(|error| invalid(&error))?;
                return job.new_job().map_err(|error| invalid(&error));
            })+
            Err(InvalidSchedule::Queue(queue.to_owned(), SCHEDULABLE.join(", ")))
        }
    };
}

schedulable! {
    Sync, Prefetch, Invalidate, Sweep, Purge, SleepDevices, SweepContents, SweepOrphans, TrimShares,
}

impl Schedule {
    /// One in UTC, of a job that needs no payload.
    pub fn new(cron: impl Into<String>, queue: &str) -> Self {
        Self {
            cron: cron.into(),
            zone: utc(),
            queue: queue.to_owned(),
            payload: empty(),
            jitter_secs: 0,
            missed: Missed::default(),
        }
    }

    /// Whether workers can fire it.
    ///
    /// # Errors
    /// When not; says which field is wrong.
    pub fn check(&self, name: &str) -> Result<(), InvalidSchedule> {
        let is_name = (1..=NAME_LIMIT).contains(&name.len())
            && name
                .bytes()
                .all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-'));
        if !is_name {
            return Err(InvalidSchedule::Name);
        }
        if self.jitter_secs > JITTER_LIMIT_SECS {
            return Err(InvalidSchedule::Jitter);
        }
        self.ticks()?;
        read_job(&self.queue, &self.payload).map(drop)
    }

    fn ticks(&self) -> Result<Cron, ScheduleError> {
        Cron::parse(&self.cron, &self.zone)
    }

    /// Its job, which counts as the same as one of it that has not ended: a job that could not run
    /// before the next tick is not worth a second one.
    fn job(&self, name: &str) -> Result<NewJob, InvalidSchedule> {
        let job = read_job(&self.queue, &self.payload)?;
        let unique = job
            .unique
            .or_else(|| Some(Unique::by_key(format!("schedule:{name}"))));
        Ok(NewJob { unique, ..job })
    }
}

impl ScheduleView {
    fn read(kept: KeptSchedule, now: u64) -> Option<Self> {
        let Definition { origin, schedule } = read(&kept)?;
        let next = schedule
            .ticks()
            .ok()
            .and_then(|ticks| ticks.after(time(now)));
        Some(Self {
            name: kept.name,
            origin,
            next: next.filter(|_| kept.paused_at.is_none()).map(millis),
            cron: schedule.cron,
            zone: schedule.zone,
            queue: schedule.queue,
            payload: schedule.payload,
            jitter_secs: schedule.jitter_secs,
            missed: schedule.missed,
            last: kept.tick,
            last_job: kept.job,
            left_out: kept.left_out,
            paused_at: kept.paused_at,
        })
    }
}

/// One that another version wrote, and this one cannot read, is left to that one.
fn read(kept: &KeptSchedule) -> Option<Definition> {
    serde_json::from_str(kept.definition.get()).ok()
}

fn time(ms: u64) -> DateTime<chrono::Utc> {
    DateTime::from_timestamp_millis(ms.try_into().unwrap_or(i64::MAX)).unwrap_or_default()
}

fn millis(time: DateTime<chrono::Utc>) -> u64 {
    time.timestamp_millis().try_into().unwrap_or_default()
}

/// All schedules, by name.
///
/// # Errors
/// When Valkey does not answer.
pub async fn all(queues: &Queues) -> Result<Vec<ScheduleView>, QueueError> {
    let kept = queues.schedules().await?;
    let views = kept.all.into_iter();
    Ok(views
        .filter_map(|it| ScheduleView::read(it, kept.now))
        .collect())
}

/// Keeps a schedule of an operator, a new one or in place of another.
///
/// # Errors
/// [`PutError`].
pub async fn put(queues: &Queues, name: &str, schedule: Schedule) -> Result<(), PutError> {
    schedule.check(name)?;
    if is_configured(queues, name).await? {
        return Err(PutError::Configured);
    }
    match queues
        .put_schedule(name, &definition(Origin::Operator, schedule)?)
        .await?
    {
        true => Ok(()),
        false => Err(PutError::Full),
    }
}

/// Takes a schedule of an operator away. False when there is none of that name.
///
/// # Errors
/// [`PutError`].
pub async fn remove(queues: &Queues, name: &str) -> Result<bool, PutError> {
    if is_configured(queues, name).await? {
        return Err(PutError::Configured);
    }
    Ok(queues.remove_schedule(name).await?)
}

async fn is_configured(queues: &Queues, name: &str) -> Result<bool, QueueError> {
    let mut kept = queues.schedules().await?.all.into_iter();
    let found = kept.find(|it| it.name == name).and_then(|it| read(&it));
    Ok(found.is_some_and(|it| it.origin == Origin::Config))
}

/// Enqueues the job of a schedule now, or finds the one that has not ended. None when there is no
/// such schedule.
///
/// # Errors
/// When the queue does not take it.
pub async fn run_now(queues: &Queues, name: &str) -> Result<Option<JobId>, QueueError> {
    let mut kept = queues.schedules().await?.all.into_iter();
    let found = kept.find(|it| it.name == name).and_then(|it| read(&it));
    let Some(job) = found.and_then(|it| it.schedule.job(name).ok()) else {
        return Ok(None);
    };
    Ok(Some(queues.enqueue(job).await?.id))
}

fn definition(origin: Origin, schedule: Schedule) -> Result<Box<RawValue>, QueueError> {
    Ok(to_raw_value(&Definition { origin, schedule })?)
}

/// Keeps the schedules of the configuration, and no others of it.
async fn declare(queues: &Queues, declared: &[(String, Schedule)]) -> Result<(), QueueError> {
    let names: BTreeSet<&str> = declared.iter().map(|(name, _)| &**name).collect();
    for kept in queues.schedules().await?.all {
        let is_old = read(&kept).is_some_and(|it| it.origin == Origin::Config);
        if is_old && !names.contains(&*kept.name) {
            queues.remove_schedule(&kept.name).await?;
        }
    }
    for (name, schedule) in declared {
        let definition = definition(Origin::Config, schedule.clone())?;
        if !queues.put_schedule(name, &definition).await? {
            tracing::error!(name, "there are too many schedules: this one is not kept");
        }
    }
    Ok(())
}

/// When the job of a tick may start: later than the tick by a part of the jitter that is the same
/// for all workers.
fn with_jitter(name: &str, tick_ms: u64, jitter_secs: u32) -> SystemTime {
    // FNV-1a: of all workers and versions the same.
    let bytes = name.bytes().chain(tick_ms.to_be_bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let span_ms = u64::from(jitter_secs) * 1000 + 1;
    SystemTime::UNIX_EPOCH + Duration::from_millis(tick_ms + (hash >> 11) % span_ms)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_schedule_that_no_worker_could_fire_is_refused_by_its_field() {
        let good = Schedule::new("0 0 3 * * *", "purge");
        good.check("nightly-purge").unwrap();
        let with = |change: fn(&mut Schedule)| {
            let mut schedule = good.clone();
            change(&mut schedule);
            schedule.check("x").unwrap_err().to_string()
        };
        assert!(
            good.check("Nightly")
                .unwrap_err()
                .to_string()
                .starts_with("name:")
        );
        assert!(with(|it| it.cron = "* *".to_owned()).starts_with("cron:"));
        assert!(with(|it| it.zone = "Nowhere".to_owned()).starts_with("cron:"));
        assert!(with(|it| it.jitter_secs = 86_401).starts_with("jitter_secs:"));
        assert!(with(|it| it.queue = "documents".to_owned()).starts_with("queue:"));
        assert!(with(|it| it.queue = "sync".to_owned()).starts_with("payload:"));
    }

    #[test]
    fn jitter_is_the_same_for_all_workers_and_differs_between_ticks() {
        let after = |tick: u64| {
            let at = with_jitter("a", tick, 60).duration_since(SystemTime::UNIX_EPOCH);
            at.unwrap().as_millis() as u64 - tick
        };
        let waits: BTreeSet<u64> = (0..20).map(|n| after(n * 60_000)).collect();
        assert!(
            waits.len() > 15 && waits.iter().all(|&it| it <= 60_000),
            "{waits:?}"
        );
        assert_eq!(after(60_000), after(60_000));
        let none = with_jitter("a", 5, 0)
            .duration_since(SystemTime::UNIX_EPOCH)
            .unwrap();
        assert_eq!(none.as_millis(), 5);
    }
}

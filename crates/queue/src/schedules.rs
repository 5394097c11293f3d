//! Schedules as they are kept. What their definitions mean, and when they tick, is for whoever
//! fires them to know: all that is decided here is that what has passed has passed for all.

use std::collections::HashMap;

use redis::{Value, from_redis_value};
use serde::Serialize;
use serde_json::value::RawValue;
use sluice_valkey::Repeat;

use crate::keys::{COMMON, SCHEDULES_LIMIT};
use crate::operate::Operated;
use crate::{JobId, QueueError, Queues};

/// A schedule with what became of its ticks. Times are milliseconds since 1970.
#[derive(Debug, Clone, Serialize)]
pub struct KeptSchedule {
    /// Its name.
    pub name: String,
    /// Its definition.
    pub definition: Box<RawValue>,
    /// Ticks up to then have passed: it was created then, or they were fired or left out.
    pub passed: u64,
    /// The last tick that was fired or left out.
    pub tick: Option<u64>,
    /// The job of that tick.
    pub job: Option<JobId>,
    /// Why that tick has none.
    pub left_out: Option<String>,
    /// When it was paused, if it is.
    pub paused_at: Option<u64>,
}

/// All schedules at one moment.
#[derive(Debug, Clone)]
pub struct KeptSchedules {
    /// The time by the server's clock, by which all workers agree.
    pub now: u64,
    /// They, by name.
    pub all: Vec<KeptSchedule>,
}

impl Queues {
    /// All schedules.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn schedules(&self) -> Result<KeptSchedules, QueueError> {
        let shared = &self.shared;
        let answer: Vec<Value> = shared
            .reads
            .function(&shared.scripts.schedules, COMMON, Repeat::Safe, |_| {})
            .await?;
        let mut answer = answer.into_iter();
        let now = from_redis_value(answer.next().unwrap_or(Value::Int(0)));
        let now: u64 = now.map_err(redis::RedisError::from)?;
        let mut all = Vec::new();
        for kept in answer {
            type Kept = (String, String, HashMap<String, String>);
            let (name, definition, mut state): Kept =
                from_redis_value(kept).map_err(redis::RedisError::from)?;
            let mut text = |name: &str| state.remove(name).filter(|it| !it.is_empty());
            let number = |it: Option<String>| it.and_then(|it| it.parse().ok());
            all.push(KeptSchedule {
                name,
                definition: RawValue::from_string(definition)?,
                passed: number(text("passed")).unwrap_or(now),
                tick: number(text("tick")),
                job: text("job").and_then(|id| JobId::parse(&id).ok()),
                left_out: text("left_out"),
                paused_at: number(text("paused_at")),
            });
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(KeptSchedules { now, all })
    }

    /// Keeps a schedule, a new one or in place of the one of that name, whose ticks so far stay
    /// known. False when there are [`SCHEDULES_LIMIT`] others.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn put_schedule(
        &self,
        name: &str,
        definition: &RawValue,
    ) -> Result<bool, QueueError> {
        let put: String = self.schedule_put(name, definition.get()).await?;
        Ok(put == "done")
    }

    /// Takes a schedule away. False when there is none of that name.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn remove_schedule(&self, name: &str) -> Result<bool, QueueError> {
        let removed: String = self.schedule_put(name, "").await?;
        Ok(removed == "done")
    }

    /// Notes that the ticks of a schedule up to a time have passed, and of the last one its job, or
    /// why it has none.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn pass_schedule(
        &self,
        name: &str,
        until: u64,
        tick: Option<u64>,
        outcome: Result<&JobId, &str>,
    ) -> Result<(), QueueError> {
        let shared = &self.shared;
        let tick = tick.map_or_else(String::new, |it| it.to_string());
        let (job, left_out) = match outcome {
            Ok(job) => (job.as_str(), ""),
            Err(reason) => ("", reason),
        };
        let _: i64 = shared
            .calls
            .function(
                &shared.scripts.schedule_pass,
                COMMON,
                Repeat::Safe,
                |command| {
                    command
                        .arg(name)
                        .arg(until)
                        .arg(&tick)
                        .arg(job)
                        .arg(left_out);
                },
            )
            .await?;
        Ok(())
    }

    /// Pauses a schedule, or lets it go on from now. False when there is none of that name.
    ///
    /// # Errors
    /// When Valkey does not answer.
    pub async fn pause_schedule(&self, name: &str, paused: bool) -> Result<bool, QueueError> {
        let shared = &self.shared;
        let operated: Operated = shared
            .calls
            .function(
                &shared.scripts.schedule_pause,
                COMMON,
                Repeat::Safe,
                |command| {
                    command.arg(name).arg(u8::from(paused));
                },
            )
            .await?;
        Ok(operated == Operated::Done)
    }

    async fn schedule_put(&self, name: &str, definition: &str) -> Result<String, QueueError> {
        let shared = &self.shared;
        let answer = shared
            .calls
            .function(
                &shared.scripts.schedule_put,
                COMMON,
                Repeat::Safe,
                |command| {
                    command.arg(name).arg(definition).arg(SCHEDULES_LIMIT);
                },
            )
            .await?;
        Ok(answer)
    }
}

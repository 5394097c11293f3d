//! The jobs that a fetch brings, as `lua/queue/fetch.lua` returns them.

use redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use crate::Backoff;
use crate::job::limited;
use crate::keys::VERSION;

/// One leased job.
pub(super) struct Leased {
    pub id: String,
    /// Its place in line, which says when it joined.
    pub position: u64,
    /// The job, or what of it cannot be read: the others that were fetched with it run.
    pub job: Result<Fetched, ParsingError>,
}

/// All jobs of one fetch.
pub(super) struct Batch(pub Vec<Leased>);

impl FromRedisValue for Batch {
    fn from_redis_value(values: Value) -> Result<Self, ParsingError> {
        let mut values = values.into_sequence().map_err(|_| "no jobs")?.into_iter();
        let mut jobs = Vec::with_capacity(values.len() / 2);
        while let Some(head) = values.next() {
            let Some(Value::BulkString(payload)) = values.next() else {
                return Err("half a job".into());
            };
            let head: String = from_redis_value(head)?;
            let mut words = head.split(' ');
            let id = words.next().unwrap_or_default().to_owned();
            let mut numbers = words.map(str::parse);
            let Some(Ok(position)) = numbers.next() else {
                return Err("no position".into());
            };
            let more = match numbers.next() {
                None => 0,
                Some(more) => more.map_err(|_| "how many fields")?,
            };
            let mut job = Ok(Fetched::new(payload));
            for _ in 0..more / 2 {
                let (Some(name), Some(value)) = (values.next(), values.next()) else {
                    return Err("half a field".into());
                };
                let name: String = from_redis_value(name)?;
                job = job.and_then(|mut job| {
                    job.attributes.set(&name, value).map_err(|error| {
                        ParsingError::from(format!("its field {name} cannot be read: {error}"))
                    })?;
                    Ok(job)
                });
            }
            jobs.push(Leased { id, position, job });
        }
        Ok(Self(jobs))
    }
}

/// What a worker knows of a job.
pub(super) struct Fetched {
    pub payload: Vec<u8>,
    pub attributes: Attributes,
}

/// All of it but the payload.
pub(super) struct Attributes {
    pub version: u32,
    pub user: Option<String>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    pub max_attempts: Option<u32>,
    pub backoff: Option<Backoff>,
    pub checkpoint: Option<Vec<u8>>,
    pub trace: Option<String>,
    pub input: Option<Vec<u8>>,
    /// When it became available, if that is not when it was added; in ms since 1970.
    pub run_at: Option<u64>,
}

impl Fetched {
    /// As most jobs are.
    fn new(payload: Vec<u8>) -> Self {
        Self {
            payload,
            attributes: Attributes {
                version: VERSION,
                user: None,
                attempt: 1,
                max_attempts: limited(None),
                backoff: None,
                checkpoint: None,
                trace: None,
                input: None,
                run_at: None,
            },
        }
    }
}

impl Attributes {
    /// Reads one of the fields that a job may have besides.
    fn set(&mut self, name: &str, value: Value) -> Result<(), ParsingError> {
        match name {
            "version" => self.version = from_redis_value(value)?,
            "turn" => {} // is for the script alone
            "user" => self.user = Some(from_redis_value(value)?),
            "max_attempts" => self.max_attempts = limited(Some(from_redis_value(value)?)),
            "backoff" => {
                let json: String = from_redis_value(value)?;
                // A shape that this version does not know is no reason not to run.
                self.backoff = serde_json::from_str(&json).ok();
            }
            "trace" => self.trace = Some(from_redis_value(value)?),
            "input" => self.input = Some(from_redis_value(value)?),
            "checkpoint" => self.checkpoint = Some(from_redis_value(value)?),
            "run_at" => self.run_at = Some(from_redis_value(value)?),
            "attempts" => self.attempt = 1 + from_redis_value::<u32>(value)?,
            _ => return Err(format!("field {name:?}").into()),
        }
        Ok(())
    }
}

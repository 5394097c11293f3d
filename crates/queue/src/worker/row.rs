//! What a fetch brings, as `lua/queue/fetch.lua` returns it.

use redis::{FromRedisValue, ParsingError, Value, from_redis_value};

use super::running::Fetched;

/// A job as the script returns it.
pub(super) struct Row {
    pub id: String,
    /// Its place in line, which says when it joined.
    pub seat: u64,
    /// Or what of it cannot be read: it must not take those that were fetched with it along.
    pub job: Result<Fetched, ParsingError>,
}

/// All of them.
pub(super) struct Rows(pub Vec<Row>);

impl FromRedisValue for Rows {
    fn from_redis_value(values: Value) -> Result<Self, ParsingError> {
        let mut values = values.into_sequence().map_err(|_| "no jobs")?.into_iter();
        let mut rows = Vec::with_capacity(values.len() / 2);
        while let Some(head) = values.next() {
            let Some(Value::BulkString(payload)) = values.next() else {
                return Err("half a job".into());
            };
            let head: String = from_redis_value(head)?;
            let mut words = head.split(' ');
            let id = words.next().unwrap_or_default().to_owned();
            let mut numbers = words.map(str::parse);
            let Some(Ok(seat)) = numbers.next() else {
                return Err("no seat".into());
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
                    job.set(&name, value).map_err(|error| {
                        ParsingError::from(format!("its field {name} cannot be read: {error}"))
                    })?;
                    Ok(job)
                });
            }
            rows.push(Row { id, seat, job });
        }
        Ok(Self(rows))
    }
}

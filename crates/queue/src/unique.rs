//! Which jobs count as the same, and for how long.

use std::fmt::Write;
use std::time::Duration;

use serde_json::Value;
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use crate::QueueError;
use crate::job::check_size;
use crate::keys::{NAME_LIMIT, PERIOD_LIMIT};

/// Makes a job unique in its queue: while one of its key counts, enqueueing answers with that one.
///
/// What the key is: [`by_key`](Self::by_key), [`by_payload`](Self::by_payload) or
/// [`by_fields`](Self::by_fields). When a job counts: by default while it waits or runs; also after
/// it [completed](Self::or_completed) or ended [in any state](Self::in_any_state), for as long as
/// the queue keeps it; [once in each period](Self::per). That is kept with the job that has the
/// key, and so what the first one said holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unique {
    by: By,
    counts: Counts,
    per: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum By {
    Key(String),
    Payload,
    Fields(Vec<String>),
}

/// In which states a job counts, from fewer to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Counts {
    Unfinished,
    Completed,
    Any,
}

impl Unique {
    /// By a key that the caller makes up, at most [`NAME_LIMIT`] bytes.
    pub fn by_key(key: impl Into<String>) -> Self {
        Self::by(By::Key(key.into()))
    }

    /// By the whole payload, whatever the order of its fields. Numbers are the same when they are
    /// written the same.
    pub fn by_payload() -> Self {
        Self::by(By::Payload)
    }

    /// By these fields of the payload, which is an object. A field that is not there differs from
    /// any that is.
    pub fn by_fields<F: Into<String>>(fields: impl IntoIterator<Item = F>) -> Self {
        Self::by(By::Fields(fields.into_iter().map(Into::into).collect()))
    }

    fn by(by: By) -> Self {
        Self {
            by,
            counts: Counts::Unfinished,
            per: None,
        }
    }

    /// Counts also when it is completed (or refused), until [retention](crate::Retention) drops it.
    #[must_use]
    pub fn or_completed(mut self) -> Self {
        self.counts = self.counts.max(Counts::Completed);
        self
    }

    /// Counts also when it is completed, cancelled or dead, until [retention](crate::Retention)
    /// drops it. One that an operator deletes does not count any more.
    #[must_use]
    pub fn in_any_state(mut self) -> Self {
        self.counts = Counts::Any;
        self
    }

    /// Counts in the period in which it was enqueued, unfinished or completed, and no longer.
    /// Periods follow each other from 1970 on by the server's clock: those of an hour begin with
    /// the hour in UTC. 1 s to [`PERIOD_LIMIT`]; the job is kept as long.
    #[must_use]
    pub fn per(mut self, period: Duration) -> Self {
        self.per = Some(period);
        self.or_completed()
    }

    /// The key, without its period, which the server's clock decides on.
    ///
    /// # Errors
    /// When something is out of bounds, or the payload has no such fields.
    pub(crate) fn key(&self, payload: &RawValue) -> Result<String, QueueError> {
        let refuse = |what, rule| Err(QueueError::Invalid { what, rule });
        if let Some(period) = self.per
            && !(Duration::from_secs(1)..=PERIOD_LIMIT).contains(&period)
        {
            return refuse("unique.per", "must be from 1 second to 31 days");
        }
        let mut same = match &self.by {
            By::Key(key) => {
                check_size("unique key", key.len(), NAME_LIMIT)?;
                return Ok(key.clone());
            }
            By::Payload | By::Fields(_) => serde_json::from_str::<Value>(payload.get())?,
        };
        if let By::Fields(fields) = &self.by {
            match &mut same {
                _ if fields.is_empty() => {
                    return refuse("unique.by_fields", "must name a field");
                }
                Value::Object(payload) => payload.retain(|field, _| fields.contains(field)),
                _ => return refuse("unique.by_fields", "needs a payload that is an object"),
            }
        }
        let mut text = String::new();
        write_canonical(&same, &mut text);
        let mut key = String::from("sha256:");
        for byte in Sha256::digest(text) {
            // Writing to a string cannot fail.
            let _ = write!(key, "{byte:02x}");
        }
        Ok(key)
    }

    /// As `lua/queue/enqueue.lua` takes it; None: only while it is unfinished.
    pub(crate) fn counts(&self) -> Option<&'static str> {
        match self.counts {
            Counts::Unfinished => None,
            Counts::Completed => Some("completed"),
            Counts::Any => Some("any"),
        }
    }

    pub(crate) fn period(&self) -> Option<Duration> {
        self.per
    }
}

/// Writes a value so that two are written the same exactly if they are, whatever the order of their
/// fields.
fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|&(name, _)| name);
            text.push('{');
            for (name, value) in fields {
                let _ = write!(text, "{}:", Value::from(name.as_str()));
                write_canonical(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for item in items {
                write_canonical(item, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => {
            let _ = write!(text, "{plain}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn key(unique: &Unique, payload: &str) -> Result<String, QueueError> {
        unique.key(&RawValue::from_string(payload.to_owned()).unwrap())
    }

    #[test]
    fn payloads_are_the_same_whatever_the_order_of_their_fields() {
        let by_payload = Unique::by_payload();
        let same = [
            r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#,
            r#"{ "b": {"d":"x", "c":[1,2]}, "a":1 }"#,
        ];
        assert_eq!(
            key(&by_payload, same[0]).unwrap(),
            key(&by_payload, same[1]).unwrap()
        );
        for other in [
            r#"{"a":1,"b":{"c":[2,1],"d":"x"}}"#,
            r#"{"a":1,"b":{"c":[1,2],"d":"y"}}"#,
            r#"{"a":"1","b":{"c":[1,2],"d":"x"}}"#,
            r#"{"a":1,"b":{"c":[[1],2],"d":"x"}}"#,
            "{}",
            "[]",
            "null",
        ] {
            assert_ne!(
                key(&by_payload, same[0]).unwrap(),
                key(&by_payload, other).unwrap(),
                "{other}"
            );
        }
    }

    #[test]
    fn of_chosen_fields_the_others_do_not_count() {
        let by_user = Unique::by_fields(["user"]);
        let ann = key(&by_user, r#"{"user":"ann","n":1}"#).unwrap();
        assert_eq!(ann, key(&by_user, r#"{"n":2,"user":"ann"}"#).unwrap());
        for other in [r#"{"user":"bob"}"#, r#"{"user":null}"#, "{}"] {
            assert_ne!(ann, key(&by_user, other).unwrap(), "{other}");
        }
        assert_ne!(
            key(&by_user, r#"{"user":null}"#).unwrap(),
            key(&by_user, "{}").unwrap()
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let none: [&str; 0] = [];
        for (unique, payload) in [
            (Unique::by_fields(["user"]), "[]"),
            (Unique::by_fields(none), "{}"),
            (Unique::by_payload().per(Duration::from_millis(999)), "{}"),
            (Unique::by_payload().per(PERIOD_LIMIT * 2), "{}"),
            (Unique::by_key("k".repeat(NAME_LIMIT + 1)), "{}"),
        ] {
            assert!(key(&unique, payload).is_err(), "{unique:?}");
        }
    }
}

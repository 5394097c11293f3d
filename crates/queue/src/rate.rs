//! How fast jobs start, over all workers.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sluice_valkey::Repeat;

use crate::id::check_queue;
use crate::keys::{PERIOD_LIMIT, RATE_LIMIT, SLIDING_LIMIT, root};
use crate::worker::millis;
use crate::{QueueError, Queues};

/// How many jobs start in a time. Retries are starts too, as are runs that a drain hands back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    kind: Kind,
    starts: u32,
    #[serde(
        rename = "per_ms",
        serialize_with = "as_millis",
        deserialize_with = "of_millis"
    )]
    per: Duration,
    #[serde(skip_serializing_if = "Option::is_none")]
    burst: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Fixed,
    Sliding,
    Bucket,
}

impl Rate {
    /// So many in each window of this length; windows follow each other from 1970 on. The cheapest:
    /// a number. Around the border of two windows twice as many may start.
    pub fn fixed_window(starts: u32, per: Duration) -> Self {
        Self::new(Kind::Fixed, starts, per, None)
    }

    /// So many in any window of this length, wherever it begins. Keeps the time of each start, so
    /// at most [`SLIDING_LIMIT`].
    pub fn sliding_window(starts: u32, per: Duration) -> Self {
        Self::new(Kind::Sliding, starts, per, None)
    }

    /// So many in this time on average, evenly spread, and `burst` at once after a pause.
    pub fn token_bucket(starts: u32, per: Duration, burst: u32) -> Self {
        Self::new(Kind::Bucket, starts, per, Some(burst))
    }

    fn new(kind: Kind, starts: u32, per: Duration, burst: Option<u32>) -> Self {
        Self {
            kind,
            starts,
            per,
            burst,
        }
    }

    fn check(&self) -> Result<(), QueueError> {
        let refuse = |what, rule| Err(QueueError::Invalid { what, rule });
        if !(1..=RATE_LIMIT).contains(&self.starts) {
            return refuse("rate.starts", "must be from 1 to 1000000");
        }
        if self.kind == Kind::Sliding && self.starts > SLIDING_LIMIT {
            return refuse("rate.starts", "of a sliding window must be at most 10000");
        }
        if !(1..=RATE_LIMIT).contains(&self.burst.unwrap_or(1)) {
            return refuse("rate.burst", "must be from 1 to 1000000");
        }
        if !(Duration::from_millis(1)..=PERIOD_LIMIT).contains(&self.per) {
            return refuse("rate.per", "must be from 1 ms to 31 days");
        }
        Ok(())
    }

    /// As `lua/queue/rates.lua` keeps it.
    fn kept(&self) -> String {
        let kind = match self.kind {
            Kind::Fixed => "fixed",
            Kind::Sliding => "sliding",
            Kind::Bucket => "bucket",
        };
        let (per, burst) = (millis(self.per), self.burst.unwrap_or(0));
        format!("{kind}/{}/{per}/{burst}", self.starts)
    }

    pub(crate) fn read(kept: &str) -> Option<Self> {
        let mut parts = kept.split('/');
        let kind = match parts.next()? {
            "fixed" => Kind::Fixed,
            "sliding" => Kind::Sliding,
            "bucket" => Kind::Bucket,
            _ => return None,
        };
        let starts = parts.next()?.parse().ok()?;
        let per = Duration::from_millis(parts.next()?.parse().ok()?);
        let burst = u32::from_str(parts.next()?).ok()?;
        Some(Self::new(
            kind,
            starts,
            per,
            Some(burst).filter(|&it| it > 0),
        ))
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {:?}", self.starts, self.per)?;
        match (self.kind, self.burst) {
            (Kind::Fixed, _) => f.write_str(", fixed window"),
            (Kind::Sliding, _) => f.write_str(", sliding window"),
            (Kind::Bucket, burst) => write!(f, ", {} at once", burst.unwrap_or(1)),
        }
    }
}

fn of_millis<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

fn as_millis<S: Serializer>(per: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(millis(*per))
}

/// How fast jobs of a queue start, over all workers. The default is as fast as there are workers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rates {
    /// All jobs together.
    pub all: Option<Rate>,
    /// Those of each user; jobs without a user are not held back.
    pub per_user: Option<Rate>,
}

impl Queues {
    /// Sets how fast a queue's jobs start, over all workers, in place of what was set before; a
    /// rate that is new counts from now on. [`QueueStats`](crate::QueueStats) shows it.
    ///
    /// What waits for a rate costs nothing: workers sleep until the next job may start. Under a
    /// rate per user the jobs of a user who has used it up leave the line to the others, and join
    /// it again, at its end, as the rate lets them.
    ///
    /// # Errors
    /// [`QueueError::Invalid`], [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn set_rates(&self, queue: &str, rates: Rates) -> Result<(), QueueError> {
        check_queue(queue)?;
        for rate in [rates.all, rates.per_user].into_iter().flatten() {
            rate.check()?;
        }
        self.register(queue).await?;
        let text = |rate: Option<Rate>| rate.map_or_else(String::new, |it| it.kept());
        let _: i64 = self
            .shared
            .calls
            .function(
                &self.shared.scripts.rate,
                &root(queue),
                Repeat::Safe,
                |command| {
                    command.arg(text(rates.all)).arg(text(rates.per_user));
                },
            )
            .await?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_rate_survives_being_kept_and_read() {
        for rate in [
            Rate::fixed_window(1, SECOND),
            Rate::sliding_window(20, SECOND),
            Rate::token_bucket(300, SECOND, 4),
        ] {
            rate.check().unwrap();
            assert_eq!(Rate::read(&rate.kept()).unwrap(), rate);
        }
        assert_eq!(Rate::read("0"), None);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused() {
        for rate in [
            Rate::fixed_window(0, SECOND),
            Rate::fixed_window(RATE_LIMIT + 1, SECOND),
            Rate::fixed_window(1, Duration::ZERO),
            Rate::fixed_window(1, PERIOD_LIMIT * 2),
            Rate::sliding_window(SLIDING_LIMIT + 1, SECOND),
            Rate::token_bucket(1, SECOND, 0),
        ] {
            assert!(rate.check().is_err(), "{rate}");
        }
    }
}

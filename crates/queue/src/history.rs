//! How much a queue did of late, from the counts that its functions keep.

use std::collections::HashMap;

use redis::{Value, from_redis_value};
use serde::{Deserialize, Serialize, Serializer};
use sluice_valkey::Repeat;

use crate::id::check_queue;
use crate::keys::root;
use crate::{QueueError, Queues};

/// The powers of two that times are counted by: the last one is 17 years, in milliseconds.
const POWERS: usize = 40;

/// Which time is looked back at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// The last hour, by minutes.
    #[default]
    Hour,
    /// The last day, by tens of minutes.
    Day,
}

impl Period {
    /// Both of them.
    pub const ALL: [Self; 2] = [Self::Hour, Self::Day];

    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// How long each of its slices is, in milliseconds.
    pub fn slice_ms(self) -> u64 {
        match self {
            Self::Hour => 60_000,
            Self::Day => 600_000,
        }
    }

    /// The name of its slices in keys, and how many they are.
    fn slices(self) -> (&'static str, u64) {
        match self {
            Self::Hour => ("minute", 60),
            Self::Day => ("tens", 144),
        }
    }
}

/// What happened in a queue, or in several, slice by slice.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct History {
    /// The time that it is about.
    pub period: Period,
    /// Its slices, the oldest first. The last one is not over.
    pub slices: Vec<Slice>,
}

/// What happened in one slice of time.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// When it began, in milliseconds since 1970.
    pub at: u64,
    /// Runs that began.
    pub started: u64,
    /// Jobs that completed.
    pub completed: u64,
    /// Jobs whose handler's answer was "no".
    pub refused: u64,
    /// Runs that failed, or were lost with their worker.
    pub failed: u64,
    /// Jobs that died.
    pub dead: u64,
    /// Jobs that were cancelled.
    pub cancelled: u64,
    /// How long jobs had waited that began.
    pub wait: Times,
    /// How long runs took that ended.
    pub run: Times,
}

/// Times, counted by the power of two that each is below.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Times([u64; POWERS + 1]);

impl Default for Times {
    fn default() -> Self {
        Self([0; POWERS + 1])
    }
}

impl Times {
    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.iter().sum()
    }

    /// The time that a share of them, from 0 to 1, does not exceed, in milliseconds; none when
    /// there are none. It lies within the right power of two.
    pub fn quantile(&self, share: f64) -> Option<u64> {
        let rank = share * self.count() as f64;
        let mut below = 0.0;
        for (power, &count) in self.0.iter().enumerate() {
            let count = count as f64;
            if count > 0.0 && below + count >= rank {
                let top = (1u64 << power) as f64;
                let bottom = if power == 0 { 0.0 } else { top / 2.0 };
                let within = ((rank - below) / count).clamp(0.0, 1.0);
                return Some((bottom + (top - bottom) * within).round() as u64);
            }
            below += count;
        }
        None
    }

    fn add(&mut self, other: &Self) {
        for (count, more) in self.0.iter_mut().zip(&other.0) {
            *count += more;
        }
    }

    fn note(&mut self, power: usize, count: u64) {
        self.0[power.min(POWERS)] += count;
    }
}

/// As how many they are, and their median, 95th and 99th percentile in milliseconds.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Quantiles {
            count: u64,
            p50_ms: Option<u64>,
            p95_ms: Option<u64>,
            p99_ms: Option<u64>,
        }
        Quantiles {
            count: self.count(),
            p50_ms: self.quantile(0.5),
            p95_ms: self.quantile(0.95),
            p99_ms: self.quantile(0.99),
        }
        .serialize(serializer)
    }
}

impl Slice {
    /// Counts what a field of `lua/queue/marks.lua` says.
    fn note(&mut self, field: &str, count: u64) {
        let Some((kind, power)) = field.split_at_checked(1) else {
            return;
        };
        let total = match kind {
            "w" => &mut self.started,
            "c" => &mut self.completed,
            "r" => &mut self.refused,
            "f" => &mut self.failed,
            "d" => &mut self.dead,
            "x" => &mut self.cancelled,
            _ => return,
        };
        *total += count;
        if let Ok(power) = power.parse() {
            let times = if kind == "w" {
                &mut self.wait
            } else {
                &mut self.run
            };
            times.note(power, count);
        }
    }

    fn add(&mut self, other: &Self) {
        self.started += other.started;
        self.completed += other.completed;
        self.refused += other.refused;
        self.failed += other.failed;
        self.dead += other.dead;
        self.cancelled += other.cancelled;
        self.wait.add(&other.wait);
        self.run.add(&other.run);
    }

    /// Jobs that came to an end by a run: completed, refused or dead.
    pub fn ended(&self) -> u64 {
        self.completed + self.refused + self.dead
    }
}

impl History {
    /// The history of several queues together: slice by slice, the latest with the latest.
    pub fn sum(all: impl IntoIterator<Item = Self>) -> Option<Self> {
        all.into_iter().reduce(|mut sum, other| {
            let slices = sum.slices.iter_mut().rev();
            for (slice, more) in slices.zip(other.slices.iter().rev()) {
                slice.add(more);
            }
            sum
        })
    }

    /// All of it as one slice.
    pub fn total(&self) -> Slice {
        let mut total = Slice {
            at: self.slices.first().map_or(0, |slice| slice.at),
            ..Slice::default()
        };
        for slice in &self.slices {
            total.add(slice);
        }
        total
    }

    fn read(period: Period, answer: Vec<Value>) -> Result<Self, QueueError> {
        let mut answer = answer.into_iter();
        let now: u64 = from_redis_value(answer.next().unwrap_or(Value::Int(0))).map_err(unread)?;
        let (_, count) = period.slices();
        let last = now / period.slice_ms();
        let first = last.saturating_sub(count - 1);
        let mut slices: Vec<Slice> = (first..=last)
            .map(|number| Slice {
                at: number * period.slice_ms(),
                ..Slice::default()
            })
            .collect();
        for part in answer {
            let (number, counts): (u64, HashMap<String, u64>) =
                from_redis_value(part).map_err(unread)?;
            let place = number
                .checked_sub(first)
                .and_then(|it| usize::try_from(it).ok());
            if let Some(slice) = place.and_then(|place| slices.get_mut(place)) {
                for (field, count) in counts {
                    slice.note(&field, count);
                }
            }
        }
        Ok(Self { period, slices })
    }
}

fn unread(error: redis::ParsingError) -> QueueError {
    QueueError::Valkey(error.into())
}

impl Queues {
    /// How much a queue did in the last hour or day. Costs one script that reads at most 210 small
    /// hashes.
    ///
    /// # Errors
    /// [`QueueError::InvalidQueue`], and when Valkey does not answer.
    pub async fn history(&self, queue: &str, period: Period) -> Result<History, QueueError> {
        check_queue(queue)?;
        let (name, count) = period.slices();
        let shared = &self.shared;
        let answer: Vec<Value> = shared
            .reads
            .function(
                &shared.scripts.history,
                &root(queue),
                Repeat::Safe,
                |command| {
                    command.arg(name).arg(count);
                },
            )
            .await?;
        History::read(period, answer)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_quantile_lies_within_the_power_of_two_that_was_counted() {
        let mut times = Times::default();
        assert_eq!(times.quantile(0.5), None);
        times.note(7, 90); // 64 to 128 ms
        times.note(11, 10); // 1,024 to 2,048 ms
        let median = times.quantile(0.5).unwrap();
        assert!((64..=128).contains(&median), "{median}");
        let late = times.quantile(0.95).unwrap();
        assert!((1024..=2048).contains(&late), "{late}");
        assert_eq!(times.count(), 100);
    }

    #[test]
    fn histories_of_queues_add_up_slice_by_slice() {
        let of = |completed| History {
            period: Period::Hour,
            slices: vec![
                Slice {
                    completed,
                    ..Slice::default()
                };
                2
            ],
        };
        let sum = History::sum([of(1), of(2)]).unwrap();
        assert_eq!(sum.slices[1].completed, 3);
        assert_eq!(sum.total().completed, 6);
    }
}

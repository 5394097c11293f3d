//! How long a failed job waits for its next attempt.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::QueueError;
use crate::keys::{PAUSE_LIMIT, PAUSES_LIMIT};

/// The pauses between the attempts of a job. A worker has one for all of its jobs, and a job may
/// bring its own.
///
/// As JSON, which is how a job keeps it: `{"first_ms", "max_ms", "growth", "jitter"}` or
/// `{"pauses_ms": […]}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "Wire", into = "Wire")]
pub enum Backoff {
    /// After attempt n a job waits for `first` × `growth`ⁿ⁻¹, at most `max`, less a random part.
    Growing {
        /// Default 1 s.
        first: Duration,
        /// Default 5 min, at most [`PAUSE_LIMIT`].
        max: Duration,
        /// 1 (always the same) to 100. Default 2.
        growth: f64,
        /// How much of the pause the random part is at most: 0 (none) to 1. Default 0.5. So jobs
        /// that failed together do not come back together.
        jitter: f64,
    },
    /// Exactly these, one after each attempt; the last one also after all further attempts. 1 to
    /// [`PAUSES_LIMIT`], each at most [`PAUSE_LIMIT`].
    Listed(Vec<Duration>),
}

impl Default for Backoff {
    fn default() -> Self {
        Self::doubling(Duration::from_secs(1), Duration::from_secs(300))
    }
}

impl Backoff {
    /// Growing with the default growth and jitter.
    pub fn doubling(first: Duration, max: Duration) -> Self {
        Self::Growing {
            first,
            max,
            growth: 2.0,
            jitter: 0.5,
        }
    }

    /// How long to wait after the given attempt, from 1.
    pub fn delay(&self, attempt: u32) -> Duration {
        let before = attempt.saturating_sub(1);
        match self {
            Self::Growing {
                first,
                max,
                growth,
                jitter,
            } => {
                let grown = first.as_secs_f64() * growth.powf(f64::from(before));
                let less = 1.0 - rand::random_range(0.0..=1.0) * jitter;
                // What is too long for a duration, or not a number, is beyond the longest pause.
                let full = Duration::try_from_secs_f64(grown).unwrap_or(*max).min(*max);
                Duration::try_from_secs_f64(full.as_secs_f64() * less).unwrap_or(full)
            }
            Self::Listed(pauses) => {
                let at = usize::try_from(before).unwrap_or(usize::MAX);
                let pause = pauses.get(at).or(pauses.last());
                pause.copied().unwrap_or_default()
            }
        }
    }

    /// Refuses what is out of bounds.
    pub(crate) fn check(&self) -> Result<(), QueueError> {
        let refuse = |what, rule| Err(QueueError::Invalid { what, rule });
        match self {
            Self::Growing { max, .. } if *max > PAUSE_LIMIT => {
                refuse("backoff.max", "must be at most 30 days")
            }
            Self::Growing { growth, .. } if !(1.0..=100.0).contains(growth) => {
                refuse("backoff.growth", "must be from 1 to 100")
            }
            Self::Growing { jitter, .. } if !(0.0..=1.0).contains(jitter) => {
                refuse("backoff.jitter", "must be from 0 to 1")
            }
            Self::Listed(pauses) if !(1..=PAUSES_LIMIT).contains(&pauses.len()) => {
                refuse("backoff", "must list 1 to 64 pauses")
            }
            Self::Listed(pauses) if pauses.iter().any(|pause| *pause > PAUSE_LIMIT) => {
                refuse("backoff", "must list pauses of at most 30 days")
            }
            _ => Ok(()),
        }
    }
}

/// The shape as JSON.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Wire {
    Growing {
        first_ms: u64,
        max_ms: u64,
        growth: f64,
        jitter: f64,
    },
    Listed {
        pauses_ms: Vec<u64>,
    },
}

impl From<Wire> for Backoff {
    fn from(wire: Wire) -> Self {
        match wire {
            Wire::Growing {
                first_ms,
                max_ms,
                growth,
                jitter,
            } => Self::Growing {
                first: Duration::from_millis(first_ms),
                max: Duration::from_millis(max_ms),
                growth,
                jitter,
            },
            Wire::Listed { pauses_ms } => {
                Self::Listed(pauses_ms.into_iter().map(Duration::from_millis).collect())
            }
        }
    }
}

impl From<Backoff> for Wire {
    fn from(backoff: Backoff) -> Self {
        use crate::worker::millis;
        match backoff {
            Backoff::Growing {
                first,
                max,
                growth,
                jitter,
            } => Self::Growing {
                first_ms: millis(first),
                max_ms: millis(max),
                growth,
                jitter,
            },
            Backoff::Listed(pauses) => Self::Listed {
                pauses_ms: pauses.into_iter().map(millis).collect(),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    fn growing(growth: f64, jitter: f64) -> Backoff {
        let (first, max) = (secs(1), secs(60));
        Backoff::Growing {
            first,
            max,
            growth,
            jitter,
        }
    }

    #[test]
    fn by_default_pauses_double_up_to_their_maximum_with_up_to_half_of_it_random() {
        let backoff = Backoff::doubling(secs(1), secs(60));
        for (attempt, full) in [(1, 1), (2, 2), (3, 4), (6, 32), (7, 60), (u32::MAX, 60)] {
            let full = secs(full);
            for _ in 0..100 {
                let delay = backoff.delay(attempt);
                assert!((full / 2..=full).contains(&delay), "{attempt}: {delay:?}");
            }
        }
    }

    #[test]
    fn growth_and_jitter_are_as_set() {
        for (attempt, expected) in [(1, 1), (2, 3), (3, 9), (4, 27), (5, 60)] {
            assert_eq!(growing(3.0, 0.0).delay(attempt), secs(expected));
        }
        assert_eq!(growing(1.0, 0.0).delay(9), secs(1));
        assert!((0..100).any(|_| growing(1.0, 1.0).delay(1) < secs(1) / 3));
    }

    #[test]
    fn listed_pauses_come_in_order_and_the_last_one_again() {
        let backoff = Backoff::Listed(vec![secs(1), secs(10)]);
        let delays = [1, 2, 3, 1000].map(|attempt| backoff.delay(attempt));
        assert_eq!(delays, [secs(1), secs(10), secs(10), secs(10)]);
    }

    #[test]
    fn what_is_out_of_bounds_is_refused_and_does_no_harm() {
        let bad = [
            growing(0.5, 0.5),
            growing(f64::NAN, 0.5),
            growing(2.0, 1.1),
            growing(2.0, f64::NAN),
            Backoff::doubling(secs(1), PAUSE_LIMIT + secs(1)),
            Backoff::Listed(vec![]),
            Backoff::Listed(vec![secs(1); PAUSES_LIMIT + 1]),
            Backoff::Listed(vec![PAUSE_LIMIT + secs(1)]),
        ];
        for backoff in bad {
            backoff.delay(3);
            assert!(backoff.check().is_err(), "{backoff:?}");
        }
        Backoff::default().check().unwrap();
    }

    #[test]
    fn it_survives_being_written_and_read() {
        for backoff in [growing(1.5, 0.25), Backoff::Listed(vec![secs(1), secs(2)])] {
            let json = serde_json::to_string(&backoff).unwrap();
            assert_eq!(
                serde_json::from_str::<Backoff>(&json).unwrap(),
                backoff,
                "{json}"
            );
        }
    }
}

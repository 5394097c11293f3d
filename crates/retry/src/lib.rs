//! The pauses between attempts of a remote call: one rule for Valkey, Convex, the issuer's keys and
//! the API's clients.
//!
//! A pause doubles from attempt to attempt up to a longest one, and varies at random, so that
//! callers that failed together do not come back together. Who repeats a call counts it in a metric
//! of its own and decides which errors are worth it.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The pauses of one series of attempts, without end.
#[derive(Debug)]
pub struct Pauses {
    builder: ExponentialBuilder,
    backoff: ExponentialBackoff,
    longest: Duration,
}

impl Pauses {
    /// Pauses of half to the whole of `first`, then of twice as much, and so on, up to
    /// `longest`.
    pub fn new(first: Duration, longest: Duration) -> Self {
        // The backoff adds up to as much again as a delay has.
        let builder = ExponentialBuilder::new()
            .with_factor(2.0)
            .with_min_delay(first.mul_f64(0.5))
            .with_max_delay(longest.mul_f64(0.5))
            .without_max_times()
            .with_jitter();
        Self {
            builder,
            backoff: builder.build(),
            longest,
        }
    }

    /// How long to wait before the next attempt.
    pub fn next_pause(&mut self) -> Duration {
        self.backoff.next().unwrap_or(self.longest)
    }

    /// Begins again with the first pause, after a success.
    pub fn reset(&mut self) {
        self.backoff = self.builder.build();
    }
}

/// Half to one and a half times `mean`: for what many processes do at an interval, so that they do
/// not do it in step.
pub fn jittered(mean: Duration) -> Duration {
    mean.mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_millis(100);
    const LONGEST: Duration = Duration::from_secs(2);

    #[test]
    fn pauses_double_within_their_jitter_up_to_the_longest() {
        for _ in 0..100 {
            let mut pauses = Pauses::new(FIRST, LONGEST);
            for attempt in 0..40 {
                let mean = (FIRST / 2 * 2_u32.pow(attempt.min(10))).min(LONGEST / 2);
                let pause = pauses.next_pause();
                assert!(mean <= pause && pause <= 2 * mean, "{attempt}: {pause:?}");
            }
            pauses.reset();
            assert!(pauses.next_pause() <= FIRST);
        }
    }

    #[test]
    fn pauses_of_several_callers_differ() {
        let pauses: std::collections::HashSet<_> = (0..50)
            .map(|_| Pauses::new(FIRST, LONGEST).next_pause())
            .collect();
        assert!(pauses.len() > 1);
        assert!((0..50).map(|_| jittered(FIRST)).all(|it| it < 2 * FIRST));
    }
}

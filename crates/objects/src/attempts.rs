//! Calls of the store: a time limit, a few repetitions with pauses, and what is counted of them.

use std::time::{Duration, Instant};

use sluice_retry::Pauses;
use tokio::time::timeout;

use crate::ObjectsError;

/// How long the store may take to answer, or to go on with its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// How often a call is made at most.
const MOST: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The attempts of one call.
pub(crate) struct Attempts {
    call: &'static str,
    failures: u32,
    pauses: Pauses,
}

impl Attempts {
    pub fn of(call: &'static str) -> Self {
        Self {
            call,
            failures: 0,
            pauses: Pauses::new(FIRST_PAUSE, LONGEST_PAUSE),
        }
    }

    /// The call gets on: what failed before does not count any more.
    pub fn succeeded(&mut self) {
        self.failures = 0;
        self.pauses.reset();
    }

    /// Pauses before the next attempt.
    ///
    /// # Errors
    /// The same error, when another attempt is not worth it.
    pub async fn failed(&mut self, error: ObjectsError) -> Result<(), ObjectsError> {
        self.failures += 1;
        failed(self.call);
        if error.is_final() || self.failures == MOST {
            return Err(error);
        }
        metrics::counter!("sluice_objects_retries_total", "call" => self.call).increment(1);
        tokio::time::sleep(self.pauses.next_pause()).await;
        Ok(())
    }
}

/// Makes a call until it succeeds, or another attempt is not worth it.
pub(crate) async fn repeated<T, E, F>(
    call: &'static str,
    attempt: impl Fn() -> F,
) -> Result<T, ObjectsError>
where
    E: Into<ObjectsError>,
    F: Future<Output = Result<T, E>>,
{
    let begun = Instant::now();
    let mut attempts = Attempts::of(call);
    let outcome = loop {
        match limited(attempt()).await {
            Ok(answer) => break Ok(answer),
            Err(error) => match attempts.failed(error).await {
                Ok(()) => {}
                Err(error) => break Err(error),
            },
        }
    };
    metrics::histogram!("sluice_objects_call_seconds", "call" => call)
        .record(begun.elapsed().as_secs_f64());
    outcome
}

/// What the store answers, if it does within the time limit.
pub(crate) async fn limited<T, E: Into<ObjectsError>>(
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, ObjectsError> {
    match timeout(LIMIT, answer).await {
        Ok(answer) => answer.map_err(Into::into),
        Err(_) => Err(ObjectsError::TimedOut),
    }
}

/// Counts an attempt that failed.
pub(crate) fn failed(call: &'static str) {
    metrics::counter!("sluice_objects_errors_total", "call" => call).increment(1);
}

//! Whether and when a call is sent again.

use std::time::{Duration, Instant};

use redis::RedisError;
use sluice_retry::Pauses;

use super::{Repeat, Spec};
use crate::{Fault, Valkey, reach};

/// A command that may be repeated is sent at most this often to a server that is alone …
const ATTEMPTS: u32 = 7;
/// … and not again once this much time has gone by since it was first sent, which outlasts the
/// restart of a server, or the time until another one has taken over.
const RETRY_LIMIT: Duration = Duration::from_secs(15);
/// The pause before the second attempt, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(65), Duration::from_secs(2));
/// As the longest pause where another server may take over at any moment.
const FAILOVER_PAUSE: Duration = Duration::from_millis(500);

/// How an attempt failed, and whether the server may have done what was asked.
pub(super) struct Failure {
    pub error: RedisError,
    pub is_undone: bool,
}

/// The attempts of one call so far.
pub(super) struct Retry<'v, 's> {
    valkey: &'v Valkey,
    spec: Spec<'s>,
    begun: Instant,
    attempt: u32,
    pauses: Option<Pauses>,
}

impl<'v, 's> Retry<'v, 's> {
    pub fn new(valkey: &'v Valkey, spec: Spec<'s>, begun: Instant) -> Self {
        Self {
            valkey,
            spec,
            begun,
            attempt: 1,
            pauses: None,
        }
    }

    pub fn is_again(&self) -> bool {
        self.attempt > 1
    }

    /// Waits for the next attempt, or returns the error when there is to be none.
    pub async fn after(&mut self, failure: Failure) -> Option<RedisError> {
        let Failure { error, is_undone } = failure;
        let fault = Fault::of(&error);
        let name = self.spec.name;
        self.valkey.metrics.count_failure(name);
        reach::failed(fault, &error);
        let has_failover = self.valkey.topology.has_failover();
        let is_last = match self.spec.repeat {
            Repeat::Soon => self.attempt >= 2,
            Repeat::Safe | Repeat::WhileWritable => self.attempt >= ATTEMPTS && !has_failover,
            Repeat::Never => !is_undone || (self.attempt >= ATTEMPTS && !has_failover),
        };
        let gives_up = self.spec.repeat == Repeat::WhileWritable && fault.refuses_writes();
        let is_over = is_last || gives_up || self.begun.elapsed() > RETRY_LIMIT;
        if is_over || !fault.is_brief() {
            return Some(error);
        }
        tracing::debug!(call = name, attempt = self.attempt, %error, "trying again");
        self.valkey.metrics.count_retry(name);
        let longest = match has_failover {
            true => FAILOVER_PAUSE,
            false => PAUSES.1,
        };
        let pauses = &mut self.pauses;
        let pauses = pauses.get_or_insert_with(|| Pauses::new(PAUSES.0, longest));
        tokio::time::sleep(pauses.next_pause()).await;
        self.attempt += 1;
        None
    }
}

impl Failure {
    /// Before anything was sent, or nothing but what changes no data.
    pub fn undone(error: RedisError) -> Self {
        Self {
            error,
            is_undone: true,
        }
    }

    /// After the command was sent. A server that says why it does nothing has done nothing.
    pub fn of_reply(error: RedisError) -> Self {
        let is_undone = matches!(Fault::of(&error), Fault::Busy | Fault::NotWritable);
        Self { error, is_undone }
    }
}

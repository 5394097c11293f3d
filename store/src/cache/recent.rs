//! Who read lately: the users for whom hot entries are kept warm.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use redis::Pipeline;

use super::Cache;
use super::keys::RECENT_USERS;
use crate::StoreError;

/// A user is noted at most this often by one process; nobody needs it more exact.
const NOTE_EVERY: Duration = Duration::from_secs(60);
/// Users remembered as noted; beyond them some are noted more often.
const REMEMBERED: usize = 10_000;
/// Users kept in Valkey, those who read last.
const KEPT: isize = 100_000;

/// Whom this process has noted since `begun`.
pub(super) struct Noted {
    begun: Instant,
    users: HashSet<Box<str>>,
}

impl Default for Noted {
    fn default() -> Noted {
        Noted {
            begun: Instant::now(),
            users: HashSet::new(),
        }
    }
}

impl Noted {
    /// Whether this user is due to be noted; from now on it is not.
    fn is_due(&mut self, user: &str) -> bool {
        if self.begun.elapsed() > NOTE_EVERY || self.users.len() >= REMEMBERED {
            *self = Noted::default();
        }
        !self.users.contains(user) && self.users.insert(user.into())
    }
}

impl Cache {
    /// Users who had an access recorded within the entry TTL and were not invalidated since, those who read last first, to about
    /// a minute.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn recent_users(&self, limit: usize) -> Result<Vec<String>, StoreError> {
        let time = redis::cmd("TIME");
        let (now, _): (u64, u64) = self.valkey.query("time", &time, None).await?;
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(RECENT_USERS)
            .arg("+inf")
            .arg(now.saturating_sub(self.config.entry_ttl.as_secs()))
            .arg("BYSCORE")
            .arg("REV")
            .arg("LIMIT")
            .arg(0)
            .arg(limit);
        self.valkey.query("recent_users", &cmd, None).await
    }

    /// Notes that these users read, and returns those who were not noted of late. It lies in another slot than their keys, so no script of theirs can do it.
    pub(super) async fn note_readers<'a>(
        &self,
        users: impl Iterator<Item = &'a str>,
    ) -> Result<HashSet<&'a str>, StoreError> {
        let due: HashSet<&str> = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            users.filter(|user| noted.is_due(user)).collect()
        };
        if due.is_empty() {
            return Ok(due);
        }
        let time = redis::cmd("TIME");
        let (now, _): (u64, u64) = self.valkey.query("time", &time, None).await?;
        let mut commands = Pipeline::new();
        for user in &due {
            commands.zadd(RECENT_USERS, user, now).ignore();
        }
        commands
            .zremrangebyrank(RECENT_USERS, 0, -KEPT - 1)
            .ignore()
            .expire(RECENT_USERS, 24 * 60 * 60)
            .ignore();
        self.valkey
            .query_all_once::<()>("note_readers", &commands, None)
            .await?;
        Ok(due)
    }

    /// Takes out a user who was invalidated: nothing of theirs is to be kept warm.
    pub(super) async fn forget_reader(&self, user: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("ZREM");
        cmd.arg(RECENT_USERS).arg(user);
        self.valkey.query("forget_reader", &cmd, None).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_due_once() {
        let mut noted = Noted::default();
        assert!(noted.is_due("ann"));
        assert!(noted.is_due("ben"));
        assert!(!noted.is_due("ann"));
    }
}

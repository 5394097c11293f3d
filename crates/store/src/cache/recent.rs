//! Who read lately: the users for whom hot entries are kept warm.

use std::collections::{HashMap, HashSet};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use sluice_valkey::{Repeat, Spec};

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
    /// With the epoch in which each read: one who was invalidated since is to be noted anew.
    users: HashMap<Box<str>, u64>,
}

impl Default for Noted {
    fn default() -> Noted {
        Noted {
            begun: Instant::now(),
            users: HashMap::new(),
        }
    }
}

impl Noted {
    /// Whether this user is due to be noted; from now on it is not.
    fn is_due(&mut self, user: &str, epoch: u64) -> bool {
        if self.begun.elapsed() > NOTE_EVERY || self.users.len() >= REMEMBERED {
            *self = Noted::default();
        }
        self.users.insert(user.into(), epoch) != Some(epoch)
    }
}

impl Cache {
    /// Users who had an access recorded within the entry TTL and were not invalidated since, those
    /// who read last first, from the place `from` (0 is the last reader) on, `limit` at most. Each
    /// comes with the second of an access of at most about a minute before the last one. An
    /// invalidate that is going on may have left a user here: an epoch of that second or later
    /// shows it.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn recent_users(
        &self,
        from: usize,
        limit: usize,
    ) -> Result<Vec<(String, u64)>, StoreError> {
        let time = redis::cmd("TIME");
        let (now, _): (u64, u64) = self.valkey.query("time", &time).await?;
        let oldest = now.saturating_sub(self.config.entry_ttl.as_secs());
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(RECENT_USERS)
            .arg(from)
            .arg(from + limit.max(1) - 1)
            .arg("REV")
            .arg("WITHSCORES");
        let mut users: Vec<(String, u64)> = self.valkey.query("recent_users", &cmd).await?;
        users.truncate(users.partition_point(|(_, read_at)| *read_at >= oldest));
        Ok(users)
    }

    /// Notes when these users read, in seconds, and in which epoch, and returns those who were not
    /// noted of late. It lies in another slot than their keys, so no script of theirs can do it.
    pub(super) async fn note_readers<'a>(
        &self,
        readers: impl Iterator<Item = (&'a str, u64, u64)>,
    ) -> Result<HashSet<&'a str>, StoreError> {
        let due: HashMap<&str, u64> = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            readers
                .filter(|(user, _, epoch)| noted.is_due(user, *epoch))
                .map(|(user, at, _)| (user, at))
                .collect()
        };
        if due.is_empty() {
            return Ok(HashSet::new());
        }
        let mut note = redis::cmd("ZADD");
        note.arg(RECENT_USERS);
        for (user, at) in &due {
            note.arg(at).arg(user);
        }
        let mut trim = redis::cmd("ZREMRANGEBYRANK");
        trim.arg(RECENT_USERS).arg(0).arg(-KEPT - 1);
        let mut expire = redis::cmd("EXPIRE");
        expire.arg(RECENT_USERS).arg(24 * 60 * 60);
        let spec = Spec {
            repeat: Repeat::Never,
            ..Spec::command("note_readers")
        };
        let commands = vec![note, trim, expire];
        self.valkey.query_all::<()>(spec, commands).await?;
        Ok(due.into_keys().collect())
    }

    /// Takes out a user who was invalidated: nothing of theirs is to be kept warm.
    pub(super) async fn forget_reader(&self, user: &str) -> Result<(), StoreError> {
        let mut cmd = redis::cmd("ZREM");
        cmd.arg(RECENT_USERS).arg(user);
        Ok(self.valkey.query("forget_reader", &cmd).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_due_once_in_each_epoch() {
        let mut noted = Noted::default();
        assert!(noted.is_due("ann", 0));
        assert!(noted.is_due("ben", 0));
        assert!(!noted.is_due("ann", 0));
        assert!(noted.is_due("ann", 1));
        assert!(!noted.is_due("ann", 1));
    }
}

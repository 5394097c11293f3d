//! Who read lately: the users for whom hot entries are kept warm.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

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
    /// Users who had an access recorded within the entry TTL, those who read last first, to about a minute.
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

    /// Notes that a user reads. It lies in another slot than the user's keys, so no script of the user's can do it; what
    /// is lost when it fails is one refresh of warm entries, which is why nobody waits for a second try.
    pub(super) async fn note_reader(&self, user: &str) {
        let is_due = {
            let mut noted = self.noted.lock().unwrap_or_else(PoisonError::into_inner);
            noted.is_due(user)
        };
        if !is_due {
            return;
        }
        let noted = async {
            let mut connection = self.valkey.pool().get().await?;
            let (now, _): (u64, u64) = redis::cmd("TIME").query_async(&mut connection).await?;
            redis::pipe()
                .zadd(RECENT_USERS, user, now)
                .zremrangebyrank(RECENT_USERS, 0, -KEPT - 1)
                .expire(RECENT_USERS, 24 * 60 * 60)
                .exec_async(&mut connection)
                .await?;
            Ok::<(), StoreError>(())
        };
        if let Err(error) = noted.await {
            tracing::debug!(%error, "a reader was not noted");
        }
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

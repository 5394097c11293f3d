//! The ranking of what is accessed most.
//!
//! A read writes nothing. Its access is gathered in the process, and all that were gathered within
//! [`GATHER`] are recorded together. A process that is killed, and a Valkey that takes no writes,
//! lose those: they are statistics.

use std::collections::HashMap;
use std::sync::PoisonError;
use std::time::Duration;

use redis::Cmd;
use sluice_valkey::{Repeat, Spec};

use super::functions::FUNCTIONS;
use super::keys::ACTIVITY_HALF_LIVES;
use super::{CHUNK_ENTRIES, Cache, millis};
use crate::StoreError;

/// Ids ranked per place in the group of most active files: room for newcomers to rise.
const RANKED_PER_ACTIVE: u64 = 10;
/// How long accesses are gathered.
const GATHER: Duration = Duration::from_secs(1);
/// Most ids that wait for being recorded; accesses of further ones are lost.
const MOST_GATHERED: usize = 50_000;
/// Users recorded in one round trip.
const USERS_PER_TRIP: usize = 256;

/// Accesses that are not recorded yet.
#[derive(Default)]
pub(super) struct Gathered {
    users: HashMap<Box<str>, UserAccesses>,
    ids: usize,
}

/// Accesses of one user.
#[derive(Default)]
struct UserAccesses {
    epoch: u64,
    counts: HashMap<Box<str>, u64>,
}

impl Gathered {
    /// Takes an access in; `false` when there is no room for it.
    fn add(&mut self, user: &str, id: &str, epoch: u64) -> bool {
        if let Some(count) = self
            .users
            .get_mut(user)
            .and_then(|accesses| (accesses.epoch == epoch).then(|| accesses.counts.get_mut(id))?)
        {
            *count += 1;
            return true;
        }
        if self.ids >= MOST_GATHERED {
            return false;
        }
        let accesses = self.users.entry(user.into()).or_default();
        // Those of an earlier epoch would be refused.
        if accesses.epoch != epoch {
            self.ids -= accesses.counts.len();
            accesses.counts.clear();
            accesses.epoch = epoch;
        }
        accesses.counts.insert(id.into(), 1);
        self.ids += 1;
        true
    }
}

sluice_valkey::statuses! {
    /// How recording accesses went.
    enum RecordStatus {
        Recorded = "recorded",
        /// The epoch has moved on.
        Superseded = "superseded",
    }
}

impl Cache {
    /// Notes that `user` was given the entry `id`, which a lookup found, or missed, in `epoch`. It
    /// ranks within about a second, or when [`Cache::record_accesses`] is called.
    pub fn note_access(&self, user: &str, id: &str, epoch: u64) {
        let is_first = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            let is_first = gathered.ids == 0;
            if !gathered.add(user, id, epoch) {
                metrics::counter!("sluice_accesses_lost_total").increment(1);
            }
            is_first
        };
        if is_first {
            let this = self.clone();
            tokio::spawn(async move {
                tokio::time::sleep(GATHER).await;
                this.record_accesses().await;
            });
        }
    }

    /// Records now what was gathered: call it before the process ends.
    pub async fn record_accesses(&self) {
        let gathered = {
            let mut gathered = self.gathered.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *gathered)
        };
        let users: Vec<_> = gathered.users.into_iter().collect();
        for users in users.chunks(USERS_PER_TRIP) {
            if let Err(error) = self.record(users).await {
                let lost: usize = users
                    .iter()
                    .map(|(_, accesses)| accesses.counts.len())
                    .sum();
                metrics::counter!("sluice_accesses_lost_total").increment(lost as u64);
                tracing::debug!(%error, "accesses were not recorded");
            }
        }
    }

    async fn record(&self, users: &[(Box<str>, UserAccesses)]) -> Result<(), StoreError> {
        let mut commands = Vec::new();
        let mut whose = Vec::new();
        for (user, accesses) in users {
            let counts = accesses.counts.iter();
            let counts: Vec<_> = counts.map(|(id, count)| (&**id, *count)).collect();
            for counts in counts.chunks(CHUNK_ENTRIES) {
                commands.push(self.recording(user, accesses.epoch, counts));
                whose.push((user, accesses.epoch));
            }
        }
        // What is lost when it fails is not worth a wait.
        let spec = FUNCTIONS.record.spec(Repeat::Never);
        let recorded: Vec<(RecordStatus, u64)> = self.valkey.query_all(spec, commands).await?;
        // Whoever was invalidated since the access is no reader.
        let readers = whose.into_iter().zip(recorded);
        let readers = readers.filter(|(_, (status, _))| *status == RecordStatus::Recorded);
        let noted = self
            .note_readers(readers.map(|((user, epoch), (_, at))| (&**user, at, epoch)))
            .await?;
        // One who was invalidated just now may have been taken out before being noted.
        for (user, accesses) in users {
            if noted.contains(&**user) && self.epoch(user).await? != accesses.epoch {
                self.forget_reader(user).await?;
            }
        }
        Ok(())
    }

    fn recording(&self, user: &str, epoch: u64, counts: &[(&str, u64)]) -> Cmd {
        let keys = self.keys(user);
        let half_life = self.config.activity_half_life;
        let mut cmd = FUNCTIONS.record.command(&[&keys.epoch, &keys.activity]);
        cmd.arg(epoch)
            .arg(millis(half_life))
            .arg(RANKED_PER_ACTIVE * u64::from(self.config.most_active_limit.max(1)))
            .arg(millis(half_life * ACTIVITY_HALF_LIVES));
        for (id, count) in counts {
            cmd.arg(*id).arg(*count);
        }
        cmd
    }

    /// The ids with the highest access score, best first, from the place `from` (0 is the best) on,
    /// `limit` at most; none for a user without recorded activity.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn most_active(
        &self,
        user: &str,
        from: usize,
        limit: usize,
    ) -> Result<Vec<String>, StoreError> {
        // Ranks are i64 in Valkey, and inclusive.
        let rank = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let mut cmd = redis::cmd("ZRANGE");
        cmd.arg(self.keys(user).activity)
            .arg(rank(from))
            .arg(rank(from.saturating_add(limit - 1)))
            .arg("REV");
        Ok(self.valkey.query("most_active", &cmd).await?)
    }

    /// As [`Cache::forget_activity`], of many users in one round trip: pairs of user and id.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn forget_accesses(
        &self,
        files: &[(impl AsRef<str>, String)],
    ) -> Result<(), StoreError> {
        let forgetting = files.iter().map(|(user, id)| {
            let mut cmd = redis::cmd("ZREM");
            cmd.arg(self.keys(user.as_ref()).activity).arg(id);
            cmd
        });
        let commands: Vec<_> = forgetting.collect();
        let spec = Spec::command("forget_accesses");
        self.valkey.query_all::<()>(spec, commands).await?;
        Ok(())
    }

    /// Drops ids from the ranking: files that no longer exist.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn forget_activity(&self, user: &str, ids: &[String]) -> Result<(), StoreError> {
        let activity = self.keys(user).activity;
        for chunk in ids.chunks(CHUNK_ENTRIES) {
            let mut cmd = redis::cmd("ZREM");
            cmd.arg(&activity).arg(chunk);
            self.valkey.query::<()>("forget_activity", &cmd).await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accesses_beyond_the_bound_are_not_gathered_and_known_ids_still_count() {
        let mut gathered = Gathered::default();
        for at in 0..MOST_GATHERED {
            assert!(gathered.add("ann", &at.to_string(), 0));
        }
        assert!(!gathered.add("ann", "one more", 0));
        assert!(!gathered.add("ben", "a", 0));
        assert!(gathered.add("ann", "7", 0));
        assert_eq!(gathered.users["ann"].counts["7"], 2);
    }

    #[test]
    fn accesses_of_an_earlier_epoch_make_room() {
        let mut gathered = Gathered::default();
        gathered.add("ann", "a", 0);
        gathered.add("ann", "b", 0);
        gathered.add("ann", "c", 1);
        assert_eq!(gathered.ids, 1);
        assert_eq!(gathered.users["ann"].epoch, 1);
    }
}

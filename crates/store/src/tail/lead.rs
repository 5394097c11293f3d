//! The right to tail, and what its holder keeps.

use std::sync::Mutex;

use sluice_valkey::Valkey;

use super::buckets::Bucket;
use super::functions::FUNCTIONS;
use super::keys::{self, BUCKETS, key};
use super::{Health, LEASE, Progress, parse, print};
use crate::StoreError;

/// The lease on the tail. It ends by itself if it is not extended; whatever is written with it
/// after another worker got it is refused.
pub struct Lead {
    pub(super) valkey: Valkey,
    pub(super) token: u64,
    /// What this lead kept last, as text.
    kept: Mutex<String>,
    /// Up to which time each bucket's deltas are settled, as this lead saw it last.
    pub(super) settled: Mutex<[Option<Vec<u8>>; BUCKETS]>,
    progress: Progress,
}

sluice_valkey::statuses! {
    /// How extending the lease went.
    enum ExtendStatus {
        Extended = "extended",
        /// Another worker has it, or may.
        Ended = "ended",
        /// Valkey never gave it out, as far as it knows.
        Lost = "lost",
    }
}

sluice_valkey::statuses! {
    /// How keeping progress went.
    enum SaveStatus {
        Saved = "saved",
        /// Another worker has had the lease since.
        Superseded = "superseded",
        /// Valkey has other progress than was kept last.
        Lost = "lost",
    }
}

impl Lead {
    pub(super) fn new(valkey: Valkey, token: u64, kept: String) -> Result<Lead, StoreError> {
        let progress = match kept.as_str() {
            "" => Progress::default(),
            text => parse(text)?,
        };
        Ok(Lead {
            valkey,
            token,
            kept: Mutex::new(kept),
            settled: Mutex::default(),
            progress,
        })
    }

    /// How far the tail had come when this lease was granted.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Extends the lease; `false` when it ran out, or another worker has it.
    ///
    /// # Errors
    /// [`StoreError::DataLost`] when Valkey does not know that it gave the lease out;
    /// [`StoreError::Valkey`].
    pub async fn extend(&self) -> Result<bool, StoreError> {
        let mut cmd = FUNCTIONS.extend.command(&[keys::LEASE, keys::STATE]);
        cmd.arg(self.token).arg(LEASE.as_millis() as u64);
        match FUNCTIONS.extend.run(&self.valkey, &cmd).await? {
            ExtendStatus::Extended => Ok(true),
            ExtendStatus::Ended => Ok(false),
            ExtendStatus::Lost => Err(StoreError::DataLost),
        }
    }

    /// Gives the lease back, so that the next worker need not wait until it runs out.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn release(&self) -> Result<(), StoreError> {
        let mut cmd = FUNCTIONS.release.command(&[keys::LEASE]);
        cmd.arg(self.token);
        Ok(FUNCTIONS.release.run(&self.valkey, &cmd).await?)
    }

    /// Closes the ledger to whoever held the lease before. To be done before anything is read from
    /// it.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now.
    pub async fn fence(&self) -> Result<(), StoreError> {
        let mut commands = Vec::new();
        for number in 0..BUCKETS {
            let mut cmd = FUNCTIONS.fence.command(&[&key(number, "state")]);
            cmd.arg(self.token);
            commands.push(cmd);
        }
        let buckets: Vec<Bucket> = FUNCTIONS.fence.run_all(&self.valkey, commands).await?;
        if buckets.contains(&Bucket::Closed) {
            return Err(StoreError::Superseded);
        }
        Ok(())
    }

    /// Keeps how far the tail has come and how it is doing. Everything up to there has to be
    /// settled before.
    ///
    /// # Errors
    /// [`StoreError::Superseded`] when another worker has the lease by now. [`StoreError::DataLost`]
    /// when Valkey does not have what was kept last: the tail has to go on from what is there.
    pub async fn save(&self, progress: &Progress, health: &Health) -> Result<(), StoreError> {
        let text = print(progress)?;
        let mut cmd = FUNCTIONS.save.command(&[keys::STATE]);
        cmd.arg(self.token)
            .arg(&*lock(&self.kept))
            .arg(&text)
            .arg(print(health)?);
        match FUNCTIONS.save.run(&self.valkey, &cmd).await? {
            SaveStatus::Saved => {
                *lock(&self.kept) = text;
                Ok(())
            }
            SaveStatus::Lost => Err(StoreError::DataLost),
            SaveStatus::Superseded => Err(StoreError::Superseded),
        }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

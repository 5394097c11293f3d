//! Log out and account deletion: a user's entries leave the cache.

use super::functions::FUNCTIONS;
use super::keys::EPOCH_TTL;
use super::{Cache, millis};
use crate::StoreError;

impl Cache {
    /// Drops all entries of `user`, staged ones too, in one step, and with `activity` the ranking
    /// as well. The epoch moves with it, so that syncs, prefetches and fetches begun before are
    /// refused. Returns the distinct ids that were cached.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn invalidate(&self, user: &str, activity: bool) -> Result<u64, StoreError> {
        let keys = self.keys(user);
        let mut cmd = FUNCTIONS.invalidate.command(&[
            &keys.epoch,
            &keys.live.info,
            &keys.live.entries,
            &keys.live.order,
            &keys.live.docs,
            &keys.single_entries,
            &keys.single_expiry,
            &keys.single_docs,
            &keys.activity,
            &keys.live_stamps,
            &keys.staged.info,
            &keys.staged.entries,
            &keys.staged.order,
            &keys.staged.docs,
            &keys.staged_skipped,
        ]);
        cmd.arg(format!("{:032x}", rand::random::<u128>()))
            .arg(millis(EPOCH_TTL))
            .arg(u8::from(activity));
        let removed = FUNCTIONS.invalidate.run(&self.valkey, &cmd).await?;
        self.forget_reader(user).await?;
        Ok(removed)
    }
}

//! Whether bulk sets are whole. One of which a key was evicted or deleted is no set to readers;
//! operators are to know.

use super::Cache;
use super::functions::FUNCTIONS;
use crate::StoreError;

sluice_valkey::statuses! {
    /// What there is of a user's bulk set.
    enum SetStatus {
        Whole = "whole",
        /// Some of it.
        InParts = "in_parts",
        /// No set.
        None = "none",
    }
}

impl Cache {
    /// How many of these users' bulk sets lack a part. Costs a round trip for each user.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn sets_in_parts(&self, users: &[String]) -> Result<u64, StoreError> {
        let mut in_parts = 0;
        for user in users {
            let keys = self.keys(user);
            let live = &keys.live;
            let look = FUNCTIONS.parts.read_only_command(&[
                &live.info,
                &live.entries,
                &live.order,
                &live.docs,
                &keys.live_stamps,
            ]);
            let parts: SetStatus = FUNCTIONS.parts.run(&self.valkey, &look).await?;
            in_parts += u64::from(parts == SetStatus::InParts);
        }
        Ok(in_parts)
    }
}

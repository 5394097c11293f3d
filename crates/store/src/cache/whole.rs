//! Whether bulk sets are whole. One of which a key was evicted or deleted is no set to readers;
//! operators are to know.

use redis::Pipeline;

use super::Cache;
use crate::StoreError;

impl Cache {
    /// How many of these users' bulk sets lack a part. Costs a round trip for each user.
    ///
    /// # Errors
    /// [`StoreError::Valkey`] and [`StoreError::Pool`].
    pub async fn sets_in_parts(&self, users: &[String]) -> Result<u64, StoreError> {
        let mut in_parts = 0;
        for user in users {
            let keys = self.keys(user);
            let live = &keys.live;
            let mut look = Pipeline::new();
            // A commit in between would look like a loss.
            look.atomic().hget(&live.info, "parts").exists(&[
                &live.entries,
                &live.order,
                &live.docs,
                &keys.live_stamps,
            ]);
            let (parts, found): (Option<u64>, u64) =
                self.valkey.query_all("sets_in_parts", &look, None).await?;
            in_parts += u64::from(parts.is_some_and(|parts| parts != found));
        }
        Ok(in_parts)
    }
}

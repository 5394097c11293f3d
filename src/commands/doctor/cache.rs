//! The metadata cache's check.

use sluice_store::cache::{Cache, CacheConfig};
use sluice_store::{StoreError, Valkey};

use super::{CHECK_LIMIT, Findings};
use crate::failure::chain;

/// Users whose sets are looked at, those who read last first.
const USERS: usize = 100;

/// Whether bulk sets are whole.
pub(super) async fn check(findings: &mut Findings, store: &Valkey, config: CacheConfig) {
    match tokio::time::timeout(CHECK_LIMIT, look(store, config)).await {
        Ok(Ok((0, users))) => findings.ok(
            "cache",
            &format!("no set lacks a part, of the {users} users who read last"),
        ),
        Ok(Ok((in_parts, _))) => findings.fail(
            "cache",
            &format!("{in_parts} bulk sets lack a part, and are read from Convex"),
            "find out what evicts or deletes keys; a sync makes such a set whole",
        ),
        Ok(Err(error)) => findings.fail("cache", &chain(&error), "check Valkey"),
        Err(_) => findings.fail("cache", "no answer within 10 s", "check Valkey"),
    }
}

async fn look(store: &Valkey, config: CacheConfig) -> Result<(u64, usize), StoreError> {
    let cache = Cache::new(store.clone(), config)?;
    let users = cache.recent_users(0, USERS).await?;
    let users: Vec<String> = users.into_iter().map(|(user, _)| user).collect();
    Ok((cache.sets_in_parts(&users).await?, users.len()))
}

//! Many entries of a user, looked up together.

use bytes::Bytes;
use redis::{FromRedisValue, Value};

use super::functions::FUNCTIONS;
use super::keys::LookupKeys;
use super::{Cache, Source};
use crate::StoreError;

/// Lookups of more ids than this take a connection for themselves: their answer is large.
const MOST_SHARED: usize = 64;

/// What is cached of many ids.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lookups {
    /// For each id, in the order in which they were asked for, the entry and where it was, if it
    /// was cached.
    pub hits: Vec<Option<(Source, Bytes)>>,
    /// The user's epoch, to record the accesses in.
    pub epoch: u64,
}

impl Cache {
    /// Looks up entries of a user, each as [`Cache::read`] does, all in one round trip that writes
    /// nothing. Nobody gets a lease.
    ///
    /// # Errors
    /// [`StoreError::Valkey`].
    pub async fn look_many(&self, user: &str, ids: &[String]) -> Result<Lookups, StoreError> {
        let keys = LookupKeys::new(user);
        let mut cmd = FUNCTIONS.look_many.read_only_command(&keys.all());
        cmd.arg(ids);
        let valkey = match ids.len() {
            0..=MOST_SHARED => &self.lookups,
            _ => &self.valkey,
        };
        let found: Vec<Value> = FUNCTIONS.look_many.run(valkey, &cmd).await?;
        lookups(found, ids.len()).ok_or(StoreError::Corrupt("an entry"))
    }
}

/// What the function `look_many` returns.
fn lookups(reply: Vec<Value>, ids: usize) -> Option<Lookups> {
    let mut reply = reply.into_iter();
    let epoch = u64::from_redis_value(reply.next()?).ok()?;
    let places = String::from_redis_value(reply.next()?).ok()?;
    let mut json = || match reply.next()? {
        Value::BulkString(json) => Some(Bytes::from(json)),
        _ => None,
    };
    let hits = places.bytes().map(|place| {
        Some(match place {
            b'b' => Some((Source::Bulk, json()?)),
            b's' => Some((Source::Single, json()?)),
            _ => None,
        })
    });
    let hits = hits.collect::<Option<Vec<_>>>()?;
    (hits.len() == ids).then_some(Lookups { hits, epoch })
}

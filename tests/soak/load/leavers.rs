//! Users who come, are cached in all ways at once, and leave in the midst of it. Nothing of them
//! may stay.

use super::files::{first_import, id, invalidate, sync_call};
use super::{Leaver, one_in, pause};
use crate::call::Call;
use crate::caller::Caller;
use crate::history::Event;

/// Enough that a sync of them takes some chunks.
const FILES: u32 = 400;

pub async fn come_and_leave(caller: Caller, prefix: String, valkey: String) -> Vec<Leaver> {
    let mut left = Vec::new();
    for n in 0.. {
        if caller.is_over() {
            break;
        }
        let user = format!("{prefix}-{n}");
        let kind = if one_in(2) { "OUT" } else { "DEL" }.to_owned();
        if live(&caller, &user, &kind).await {
            let key = format!("{user}-last");
            let leave = invalidate(&user, &kind, key, false);
            // After a deletion there may be nobody to leave any more.
            if caller.to_the_end(&leave).await.is_some() {
                if let Some(keys) = keys_of(&valkey, &user, &kind).await {
                    caller.history.record(Event::Left {
                        user: user.clone(),
                        kind: kind.clone(),
                        keys,
                        documents: None,
                    });
                }
                left.push(Leaver { user, kind });
            }
        }
        pause(300).await;
    }
    left
}

/// One life up to a first leave amid syncs and reads. Whether all that was asked has come to a
/// known end.
async fn live(caller: &Caller, user: &str, kind: &str) -> bool {
    if caller.persist(&first_import(user, FILES)).await.is_none() {
        return false;
    }
    let kinds = ["allOne", "allTwo", "mostOne", "mostTwo"];
    let sync_kind = kinds[rand::random_range(0..kinds.len())];
    let sync = sync_call(user, sync_kind, format!("{user}-sync"), one_in(2));
    let prefetch = Call::Prefetch {
        user: user.to_owned(),
        limit: 50,
        key: format!("{user}-prefetch"),
    };
    let reads = async {
        for n in 0..10 {
            let call = Call::Entry {
                user: user.to_owned(),
                id: id(user, n),
            };
            // A node that stands still may do later what nobody waits for any more.
            if caller.once(&call).await.is_none() {
                return false;
            }
            pause(30).await;
        }
        true
    };
    let leave = async {
        pause(400).await;
        let leave = invalidate(user, kind, format!("{user}-leave"), one_in(2));
        caller.to_the_end(&leave).await.is_some()
    };
    let (synced, prefetched, read, left) = tokio::join!(
        caller.to_the_end(&sync),
        caller.to_the_end(&prefetch),
        reads,
        leave
    );
    synced.is_some() && prefetched.is_some() && read && left
}

/// All keys of a user but those that are to stay: when he left, and after a log-out what he reads
/// most; and who reads him at this moment, which is nothing of his. `None` when Valkey does not
/// answer.
pub async fn keys_of(valkey: &str, user: &str, kind: &str) -> Option<Vec<String>> {
    let client = redis::Client::open(valkey).ok()?;
    let mut connection = client.get_multiplexed_async_connection().await.ok()?;
    let prefix = format!("sm1:{{{user}}}:");
    let mut keys: Vec<String> = redis::cmd("KEYS")
        .arg(format!("{prefix}*"))
        .query_async(&mut connection)
        .await
        .ok()?;
    keys.retain(|key| {
        let part = key.strip_prefix(&prefix).unwrap_or(key);
        let is_ranking = part.starts_with("activity:");
        let stays = part == "epoch" || part.starts_with("lease:") || kind == "OUT" && is_ranking;
        !stays
    });
    let recent: Option<f64> = redis::cmd("ZSCORE")
        .arg(&["sm1:recent-users", user])
        .query_async(&mut connection)
        .await
        .ok()?;
    if kind == "DEL" && recent.is_some() {
        keys.push("sm1:recent-users".to_owned());
    }
    Some(keys)
}

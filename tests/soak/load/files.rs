//! Users whose files change in Convex while they are synced, prefetched and read.

use std::collections::BTreeMap;

use super::{one_in, pause};
use crate::call::Call;
use crate::caller::Caller;

/// Files that a user has from the beginning; the first ones are never deleted.
pub const FILES: u32 = 300;
const LASTING: u32 = 50;

pub fn id(user: &str, n: u32) -> String {
    format!("{user}-{n}")
}

/// All files of a user in their first version.
pub fn first_import(user: &str, count: u32) -> Call {
    Call::Import {
        user: user.to_owned(),
        files: (0..count).map(|n| (id(user, n), Some(0))).collect(),
    }
}

/// Changes, adds and deletes files, one import after the other.
pub async fn import(caller: Caller, user: String) {
    for version in 1.. {
        if caller.is_over() {
            return;
        }
        let mut files = BTreeMap::new();
        for _ in 0..rand::random_range(1..20) {
            let n = rand::random_range(0..FILES + 50);
            let is_deleted = n >= LASTING && one_in(4);
            files.insert(id(&user, n), (!is_deleted).then_some(version));
        }
        let call = Call::Import {
            user: user.clone(),
            files,
        };
        caller.persist(&call).await;
        pause(150).await;
    }
}

/// Caches the user's files in all ways, and logs out now and then.
pub async fn sync(caller: Caller, user: String) {
    for n in 0.. {
        let key = format!("{user}-sync-{n}");
        let call = match rand::random_range(0..8) {
            0 => Call::Prefetch {
                user: user.clone(),
                limit: rand::random_range(1..100),
                key,
            },
            1 => invalidate(&user, "OUT", key, one_in(2)),
            it => {
                let kinds = ["allOne", "allTwo", "mostOne", "mostTwo", "allOne", "allOne"];
                sync_call(&user, kinds[it - 2], key, one_in(3))
            }
        };
        caller.to_the_end(&call).await;
        if caller.is_over() {
            // So that there is a set to look at in the end, which imports may still change.
            let key = format!("{user}-sync-last");
            caller
                .to_the_end(&sync_call(&user, "allOne", key, false))
                .await;
            return;
        }
        pause(500).await;
    }
}

pub fn sync_call(user: &str, kind: &str, key: String, later: bool) -> Call {
    Call::Sync {
        user: user.to_owned(),
        kind: kind.to_owned(),
        key,
        later,
    }
}

pub fn invalidate(user: &str, kind: &str, key: String, later: bool) -> Call {
    Call::Invalidate {
        user: user.to_owned(),
        kind: kind.to_owned(),
        key,
        later,
    }
}

/// Reads files, mostly some that are there all along.
pub async fn read(caller: Caller, user: String) {
    while !caller.is_over() {
        if one_in(10) {
            caller.once(&Call::List { user: user.clone() }).await;
        } else {
            let most = if one_in(3) { FILES } else { LASTING };
            let call = Call::Entry {
                user: user.clone(),
                id: id(&user, rand::random_range(0..most)),
            };
            caller.once(&call).await;
        }
        pause(60).await;
    }
}

//! Every key of the metadata cache. All keys of a user lie in one slot: they begin `sm1:{<user>}:`.
//!
//! | key after the tag | structure | TTL |
//! |---|---|---|
//! | `epoch` | hash: `value` (time of the last invalidate in µs; absent: 0), `token` and `removed` of that invalidate | 24 h, far beyond any work begun before it |
//! | `live:info` | hash: `token`, `generation` (time of the commit in µs), `kind`, `complete`, `entries`, `skipped`, `bytes`, `as_of` (time in ns up to which it holds every change), `committed_at` (ms), `parts` (how many of the other four keys there are: with one missing the set is none) | sync TTL |
//! | `live:entries` | hash: id → JSON; an empty value is a tombstone | as `live:info` |
//! | `live:order` | list of ids in rank order; those of tombstones stay | as `live:info` |
//! | `live:docs` | hash: Convex `_id` → id, where they differ; after a NUL byte where a newer document is shown under that id | as `live:info` |
//! | `live:stamps` | hash: Convex `_id` → time in ns of the last change applied to the set, of what changed after `as_of` | as `live:info` |
//! | `stage:info` | hash: `token` of the attempt that stages, `seq` (last chunk applied), `limit`, `policy`, `entries`, `skipped`, `bytes`, `parts`, `refused` | 15 min, renewed by each chunk |
//! | `stage:entries`, `:order`, `:docs` | as the live ones, which they become | as `:info` |
//! | `stage:skipped` | set of ids that did not fit, so that none is counted twice | as `:info` |
//! | `single:entries` | hash: id → JSON of entries cached on access or by prefetch; no id is also in the live set | entry TTL after the last write |
//! | `single:expiry` | sorted set: id by the time in µs at which that entry expires | as `single:entries` |
//! | `single:docs` | hash: `d:<_id>` → id and `i:<id>` → `_id`, where they differ; `.` makes it exist: without it the entries are none | as `single:entries` |
//! | `activity:<half-life in ms>` | sorted set: id by log2 of its decayed access weight | 32 half-lives after the last access |
//! | `lease:<id>` | string: nonce of the caller that fetches this id, or `stale` once a later revision was seen | 5 s |
//!
//! Outside of any user's slot: [`RECENT_USERS`], a sorted set of users by the second of their last
//! access, the last 100,000.
//!
//! The half-life is in the name of the ranking because scores of different half-lives cannot be
//! compared.

use std::borrow::Cow;
use std::time::Duration;

/// Users by the second in which they last read something.
pub(super) const RECENT_USERS: &str = "sm1:recent-users";
/// How long a staging set outlives its last chunk.
pub(super) const STAGING_TTL: Duration = Duration::from_secs(15 * 60);
/// How long the epoch of an invalidate is remembered.
pub(super) const EPOCH_TTL: Duration = Duration::from_secs(24 * 60 * 60);
/// How long one caller has for fetching an entry before another may.
pub(super) const FETCH_LEASE: Duration = Duration::from_secs(5);
/// After so many half-lives without an access a ranking is forgotten: a weight is down to 2^-32 by
/// then.
pub(super) const ACTIVITY_HALF_LIVES: u32 = 32;

/// The keys of one user that do not depend on anything else.
pub(super) struct Keys {
    prefix: String,
    pub epoch: String,
    pub live: SetKeys,
    pub staged: SetKeys,
    pub staged_skipped: String,
    pub live_stamps: String,
    pub single_entries: String,
    pub single_expiry: String,
    pub single_docs: String,
    pub activity: String,
}

/// The keys of one bulk set, staged or live.
pub(super) struct SetKeys {
    pub info: String,
    pub entries: String,
    pub order: String,
    pub docs: String,
}

/// The keys that a lookup needs, as one text: lookups are many.
pub(super) struct LookupKeys {
    text: String,
    ends: [usize; LOOKUP_KEYS.len()],
}

/// The epoch, and what [`Keys::readable`] has.
const LOOKUP_KEYS: [&str; 9] = [
    "epoch",
    "live:info",
    "live:entries",
    "live:order",
    "live:docs",
    "live:stamps",
    "single:entries",
    "single:expiry",
    "single:docs",
];

impl LookupKeys {
    pub fn new(user: &str) -> LookupKeys {
        let prefix = prefix(user);
        let names: usize = LOOKUP_KEYS.iter().map(|name| name.len()).sum();
        let mut text = String::with_capacity(LOOKUP_KEYS.len() * prefix.len() + names);
        let ends = LOOKUP_KEYS.map(|name| {
            text.push_str(&prefix);
            text.push_str(name);
            text.len()
        });
        LookupKeys { text, ends }
    }

    pub fn all(&self) -> [&str; LOOKUP_KEYS.len()] {
        let mut begin = 0;
        self.ends
            .map(|end| &self.text[std::mem::replace(&mut begin, end)..end])
    }
}

impl Keys {
    pub fn new(user: &str, half_life: Duration) -> Keys {
        let prefix = prefix(user);
        Keys {
            epoch: format!("{prefix}epoch"),
            live: SetKeys::new(&format!("{prefix}live")),
            staged: SetKeys::new(&format!("{prefix}stage")),
            staged_skipped: format!("{prefix}stage:skipped"),
            live_stamps: format!("{prefix}live:stamps"),
            single_entries: format!("{prefix}single:entries"),
            single_expiry: format!("{prefix}single:expiry"),
            single_docs: format!("{prefix}single:docs"),
            activity: format!("{prefix}activity:{}", half_life.as_millis()),
            prefix,
        }
    }

    pub fn lease(&self, id: &str) -> String {
        format!("{}lease:{id}", self.prefix)
    }

    /// The bulk set that readers see, then the single entries: what most scripts work on.
    pub fn readable(&self) -> [&str; 8] {
        [
            &self.live.info,
            &self.live.entries,
            &self.live.order,
            &self.live.docs,
            &self.live_stamps,
            &self.single_entries,
            &self.single_expiry,
            &self.single_docs,
        ]
    }

    /// The set that a sync fills.
    pub fn staging(&self) -> [&str; 5] {
        [
            &self.staged.info,
            &self.staged.entries,
            &self.staged.order,
            &self.staged.docs,
            &self.staged_skipped,
        ]
    }
}

impl SetKeys {
    fn new(prefix: &str) -> SetKeys {
        SetKeys {
            info: format!("{prefix}:info"),
            entries: format!("{prefix}:entries"),
            order: format!("{prefix}:order"),
            docs: format!("{prefix}:docs"),
        }
    }
}

fn prefix(user: &str) -> String {
    format!("sm1:{{{}}}:", encode_tag(user))
}

/// A user id as the content of a hash tag: a brace would end the tag, and an empty tag is none.
fn encode_tag(user: &str) -> Cow<'_, str> {
    if user.is_empty() {
        return "%".into();
    }
    let is_plain = |byte: u8| byte >= b' ' && !matches!(byte, b'{' | b'}' | b'%' | b'\x7f');
    if user.bytes().all(is_plain) {
        return user.into();
    }
    let mut tag = String::with_capacity(user.len() + 2);
    for character in user.chars() {
        match character {
            '{' | '}' | '%' | '\0'..='\x1f' | '\x7f' => {
                tag.push_str(&format!("%{:02X}", u32::from(character)));
            }
            other => tag.push(other),
        }
    }
    tag.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookups_use_the_keys_that_other_calls_write() {
        for user in ["usr_1", "a{b", ""] {
            let keys = Keys::new(user, Duration::from_secs(1));
            let all: Vec<&str> = std::iter::once(&*keys.epoch)
                .chain(keys.readable())
                .collect();
            assert_eq!(LookupKeys::new(user).all()[..], all);
        }
    }

    #[test]
    fn a_tag_holds_no_brace_and_differs_for_different_users() {
        let users = [
            "", "%", "%25", "a}b", "a{b", "a%7Db", "a b", "é", "\0", "%00",
        ];
        let tags: std::collections::HashSet<_> =
            users.iter().map(|user| encode_tag(user)).collect();
        assert_eq!(tags.len(), users.len());
        assert!(
            tags.iter()
                .all(|tag| !tag.is_empty() && !tag.contains(['{', '}']))
        );
    }
}

//! Every key of the board. They lie in one slot: operators are few.
//!
//! | key | structure | TTL |
//! |---|---|---|
//! | `sb1:{board}:session:<digest>` | string: a [`Session`](super::Session) as JSON | the lifetime of the session |
//! | `sb1:{board}:operator:<digest>` | sorted set: the keys of an operator's sessions by when they began, ms; at most [`super::MOST_SESSIONS`], some of which may be over | the longest of their lifetimes |
//!
//! Digests are SHA-256, of the session's id and of the operator's name. Who sees the keys cannot
//! tell the id, which alone lets its holder in.

use std::fmt::Write as _;

use sha2::{Digest as _, Sha256};

pub(super) fn session(id: &str) -> String {
    key("session", id)
}

pub(super) fn operator(subject: Option<&str>) -> String {
    key("operator", subject.unwrap_or_default())
}

fn key(kind: &str, of: &str) -> String {
    let mut key = format!("sb1:{{board}}:{kind}:");
    for byte in Sha256::digest(of) {
        // Writing to a string cannot fail.
        let _ = write!(key, "{byte:02x}");
    }
    key
}

//! Every key of the tail.
//!
//! | key | structure | TTL |
//! |---|---|---|
//! | `st1:{tail}:lease` | string: the token of the worker that tails | 6 s, extended while it lives |
//! | `st1:{tail}:state` | hash: `token` (the last one given out), `worker` (to whom), `progress` and `status` (JSON) | none |
//! | `st1:{tail:<n>}:documents` | hash: Convex `_id` → record, the ledger's bucket n of 16 | none |
//! | `st1:{tail:<n>}:names` | hash: first 2 bytes of a name's digest → 10 bytes for each document that has such a name: 6 more of the digest, 4 of the hash of its `_id` | none |
//! | `st1:{tail:<n>}:state` | hash: `token` (it is closed to lower ones), `settled` (time in ns, 8 bytes, up to which deltas are settled) | none |
//!
//! A record is the time (ns) of the document's last change as 8 bytes, the generation of the last
//! walk that came by it as 2 bytes, the length of its owner's id as 2 bytes, all most significant
//! first, the owner's id, and the file's id if that is not the `_id`. The highest bit of the length
//! says that the id is a UUID, of which there are its 16 bytes.
//!
//! A name is an owner and an id, by which readers and listeners know a file; several documents may
//! have the same. Names whose id is the `_id` are not kept. What was made of a digest of 8 bytes is
//! divided by its first 2: 65,536 fields, all buckets together, of about 1.5 KB each for ten
//! million files.
//!
//! [`NUDGES`] is a channel.

use crate::spread::hash;

/// Where each change that was made known is told, once, as a JSON object; see
/// [`Nudge`](super::Nudge).
pub const NUDGES: &str = "st1:nudges";

pub(super) const LEASE: &str = "st1:{tail}:lease";
pub(super) const STATE: &str = "st1:{tail}:state";

/// Buckets of the ledger. In a cluster each is a slot of its own; a page of deltas costs as many
/// calls, in one round trip.
pub(super) const BUCKETS: usize = 16;

/// A key of a bucket: its `state`, `documents` or `names`.
pub(super) fn key(bucket: usize, part: &str) -> String {
    format!("st1:{{tail:{bucket}}}:{part}")
}

/// The bucket that a document is in.
pub(super) fn bucket_of(doc_id: &str) -> usize {
    hash(doc_id) as usize % BUCKETS
}

//! Every key of the tail.
//!
//! | key | structure | TTL |
//! |---|---|---|
//! | `st1:{tail}:lease` | string: the token of the worker that tails | 6 s, extended while it lives |
//! | `st1:{tail}:state` | hash: `token` (the last one given out), `worker` (to whom), `progress` and `status` (JSON) | none |
//! | `st1:{tail:<n>}:documents` | hash: Convex `_id` → record, the ledger's bucket n of 16 | none |
//! | `st1:{tail:<n>}:state` | hash: `token` (it is closed to lower ones), `settled` (time in ns, 8 bytes, up to which deltas are settled) | none |
//!
//! A record is the time (ns) of the document's last change as 8 bytes, the generation of the last walk that came by it as 2
//! bytes, the length of its owner's id as 2 bytes, all most significant first, the owner's id, and the file's id if that is
//! not the `_id`.
//!
//! [`NUDGES`] is a channel.

/// Where each change that was made known is told, once, as a JSON object; see [`Nudge`](super::Nudge).
pub const NUDGES: &str = "st1:nudges";

pub(super) const LEASE: &str = "st1:{tail}:lease";
pub(super) const STATE: &str = "st1:{tail}:state";

/// Buckets of the ledger. In a cluster each is a slot of its own; a page of deltas costs as many calls, in one round trip.
pub(super) const BUCKETS: usize = 16;

/// State and documents of a bucket.
pub(super) fn bucket(number: usize) -> [String; 2] {
    ["state", "documents"].map(|part| format!("st1:{{tail:{number}}}:{part}"))
}

/// The bucket that a document is in: FNV-1a of its `_id`.
pub(super) fn bucket_of(doc_id: &str) -> usize {
    let hash = doc_id.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
    });
    hash as usize % BUCKETS
}

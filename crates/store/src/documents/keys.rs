//! Every key of the documents. All keys of a document lie in one slot: they begin
//! `sd1:{<service>:<id>}:`.
//!
//! | key after the tag | structure | TTL |
//! |---|---|---|
//! | `document` | JSON: the envelope `{"service","id","revision","data","createdAt","updatedAt"}`, with `deleted` and `expiresAt` when set | none; until `expiresAt`; the retention when deleted |
//! | `changes` | stream: id `<revision>-0`, field `document`: the envelope as that write left it; trimmed to 8 to 1,000 entries, about 4 MiB | as `document` |
//! | `write:<token>` | hash of a write that was made: `revision`, `created` (its `createdAt`), `at` (its `updatedAt`), `rest` (its envelope from behind the times), `fingerprint` of its request | [`WRITE_TTL`], [`MADE_TTL`] for accepted writes, or [`IDEMPOTENCY_TTL`] for the caller's own keys |
//! | `accepted` | sorted set of the tokens of accepted writes that were not made yet, by when they were accepted, in ms; below 0 when others need not wait for them any more | [`ACCEPTED_TTL`] after the last one |
//! | `past` | string: the last revision of a document that ends some day or has ended; the next one of its id begins behind it | [`PAST_TTL`] after the end |
//! | `events` | channel: the new revision, after every write | |
//!
//! Per service, in 16 slots: `sd1:{<service>:<n>}:index`, a sorted set of ids by the time in µs at
//! which they were announced, another for each. It may hold ids that are not there (any more),
//! never the other way round. The name of a document has two parts, too; keys of an index and of a
//! document differ in their last part.
//!
//! [`SERVICES`] is a set of the services that have an index.
//!
//! Colons in the name of a service are written `%3A`, so that no two documents share a key.

use std::time::Duration;

/// How long a write is remembered, so that sending it again does not make it twice; longer than it
/// is sent again.
pub(super) const WRITE_TTL: Duration = Duration::from_secs(60);
/// How long an accepted write is remembered once it was made, so that its job can be run again and
/// tell its outcome.
pub(super) const MADE_TTL: Duration = Duration::from_secs(60 * 60);
/// How long an accepted write may wait: longer than the queue keeps a dead letter that could be
/// retried.
pub(super) const ACCEPTED_TTL: Duration = Duration::from_secs(30 * 24 * 60 * 60);
/// Within which the job of an accepted write is to be enqueued. The jobs of one document run in the
/// order in which they were enqueued: what was accepted longer than this before a write that is
/// being made has ended, was cancelled, or never became a job.
pub const ENQUEUE_WINDOW: Duration = Duration::from_secs(60);
/// How long a caller's idempotency key is remembered.
pub const IDEMPOTENCY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How long after the end of a document the next one of its id does not use its revisions again.
pub(super) const PAST_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// The services that have documents.
pub(super) const SERVICES: &str = "sd1:services";

/// The keys of one document.
pub(super) struct Keys {
    prefix: String,
    pub document: String,
    pub changes: String,
    pub accepted: String,
    pub past: String,
    pub events: String,
}

impl Keys {
    pub fn new(service: &str, id: &str) -> Keys {
        let prefix = format!("sd1:{{{}:{id}}}:", encode(service));
        Keys {
            document: format!("{prefix}document"),
            changes: format!("{prefix}changes"),
            accepted: format!("{prefix}accepted"),
            past: format!("{prefix}past"),
            events: format!("{prefix}events"),
            prefix,
        }
    }

    pub fn write(&self, token: &str) -> String {
        format!("{}write:{token}", self.prefix)
    }
}

/// A part of the index of a service.
pub(super) fn index(service: &str, part: usize) -> String {
    format!("sd1:{{{}:{part}}}:index", encode(service))
}

fn encode(service: &str) -> String {
    service.replace(':', "%3A")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_documents_share_a_key() {
        assert_ne!(
            Keys::new("a:b", "c").document,
            Keys::new("a", "b:c").document
        );
        assert_eq!(
            Keys::new("session", "s1").document,
            "sd1:{session:s1}:document"
        );
    }
}

//! The kit that all surfaces share: what comes with a request, and how it is answered.
//!
//! | module | what it is for |
//! |---|---|
//! | [`caller`] | who calls, as extractors |
//! | [`body`], [`query`] | what callers send, refused by field and rule |
//! | [`submission`] | a request that becomes a job, waited for as long as the caller likes ([`prefer`]) |
//! | [`pages`] | pages of listings, and their cursors |
//! | [`conditions`] | entity tags, `If-Match` and `If-None-Match` |
//! | [`ranges`] | which bytes of a content are sent |
//! | [`digest`] | what a body's SHA-256 is said to be |
//! | [`sse`] | server-sent events |
//! | [`socket`] | WebSockets |
//! | [`streams`] | how many of both may be open |
//! | [`error`], [`problem`] | every answer that is not a success; each surface prints it in its own shape |
//! | [`page`] | HTML pages |
//! | [`middleware`], [`measure`] | what happens to every request, and its metrics |
//!
//! It knows no surface: what a surface adds, it gives as a type ([`submission::Target`],
//! [`socket::Protocol`]) or as a [`problem::Problem`].

pub(crate) mod body;
pub(crate) mod caller;
pub(crate) mod conditions;
pub(crate) mod digest;
pub(crate) mod error;
mod measure;
pub(crate) mod middleware;
pub(crate) mod page;
pub(crate) mod pages;
pub(crate) mod prefer;
pub(crate) mod problem;
pub(crate) mod query;
pub(crate) mod ranges;
pub(crate) mod socket;
pub(crate) mod sse;
pub(crate) mod streams;
pub(crate) mod submission;

/// No request needs a longer body, in bytes, unless its surface says otherwise. A longer one is
/// answered 413.
pub const MAX_BODY_BYTES: usize = 16 * 1024;

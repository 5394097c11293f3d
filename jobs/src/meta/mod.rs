//! The jobs of the metadata cache: [`Sync`], [`Prefetch`] and [`Invalidate`] for callers, and
//! `Sweep`, which keeps warm what is read.

mod invalidate;
mod late_changes;
mod origin;
mod prefetch;
mod ranking;
mod sweep;
mod sync;
mod user;

pub use invalidate::{Invalidate, InvalidateKind, InvalidateResult};
pub(crate) use late_changes::{entry, successors};
pub use origin::Origin;
pub use prefetch::{MAX_PREFETCH, Prefetch, PrefetchResult};
pub(crate) use sweep::Sweep;
pub use sync::{Sync, SyncKind, SyncResult};
pub use user::{UserId, check_user};

/// The scopes that let their holder see jobs about metadata.
const VIEWERS: &str = "meta:read meta:write";

/// A name that no kind of sync or invalidate has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is not one of the kinds")]
pub struct UnknownKind;

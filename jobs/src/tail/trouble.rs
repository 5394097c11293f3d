//! Why the tail could not go on.

use sluice_convex::ConvexError;
use sluice_store::StoreError;

/// Why the tail could not go on.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    #[error(transparent)]
    Convex(#[from] ConvexError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

//! The jobs of documents: [`WriteDocument`] makes an accepted write, [`Purge`] clears up behind
//! documents that are gone.

mod purge;
mod write;

pub(crate) use purge::Purge;
pub use write::{DocumentHead, WriteDocument};

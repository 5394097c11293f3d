//! The jobs of documents: [`WriteDocument`] makes a write that was [submitted](submit()), `Purge`
//! clears up behind documents that are gone.

mod purge;
mod submit;
mod write;

pub(crate) use purge::Purge;
pub use submit::{DocumentWrite, SubmitError, Submitter, as_written, submit};
pub use write::{DocumentHead, WriteDocument};

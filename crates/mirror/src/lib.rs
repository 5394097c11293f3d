//! A folder that is kept in step with a share of file sync.
//!
//! A mirror knows three [`Trees`] by id: what is here, what the server has, and what both had when they
//! were last in step. [`plan()`] says what has to be done so that the three agree, as a function of
//! them and nothing else. What is done on either side is taken into the trees as it happens, so that
//! the process may end anywhere.

pub mod error;
pub mod folder;
pub mod here;
pub mod mirror;
pub mod name;
pub mod outcome;
pub mod plan;
pub mod pull;
pub mod scan;
pub mod state;
pub mod tree;
pub mod trees;
pub mod watch;

pub use error::MirrorError;
pub use mirror::{Mirror, MirrorConfig, Report};
pub use plan::plan;
pub use trees::Trees;

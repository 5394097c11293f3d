//! One file per command.

pub mod convex;
pub mod dev;
pub mod doctor;
pub mod import;
pub mod invalidate;
pub mod jobs;
pub mod prefetch;
pub mod serve;
pub mod sync;
pub mod token;
pub mod work;

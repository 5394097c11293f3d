//! Convex: the client of its streaming export, import and functions, and an embedded store that answers as Convex does.

pub mod embedded;

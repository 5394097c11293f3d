//! File sync against a real Valkey.

mod cells;
mod changes;
mod histories;
mod shares;
mod support;

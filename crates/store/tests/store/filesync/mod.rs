//! File sync against a real Valkey.

mod cases;
mod cells;
mod changes;
mod histories;
mod shares;
mod support;

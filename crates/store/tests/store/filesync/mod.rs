//! File sync against a real Valkey.

mod cases;
mod cells;
mod changes;
mod cursors;
mod devices;
mod histories;
mod preferences;
mod shares;
mod support;
mod uploads;

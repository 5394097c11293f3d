//! File sync against a real Valkey.

mod cases;
mod cells;
mod changes;
mod cursors;
mod devices;
mod follow;
mod histories;
mod live;
mod preferences;
mod repeats;
mod shares;
mod support;
mod uploads;

//! File sync: [`Transfers`] moves contents of files in and out, which is no job, for a client waits
//! for each byte. The jobs `SweepContents` and `SweepOrphans` remove contents that nothing needs,
//! `TrimShares` trims the logs, `SleepDevices` switches off devices that were not seen for long.

mod config;
mod devices;
mod garbage;
mod intake;
mod orphans;
mod sweep;
mod transfer;
mod trim;

pub use config::{ContentsConfig, SweepConfig};
pub(crate) use devices::SleepDevices;
pub(crate) use orphans::SweepOrphans;
pub(crate) use sweep::SweepContents;
pub use transfer::{Download, NewContent, TransferError, Transfers};
pub(crate) use trim::TrimShares;

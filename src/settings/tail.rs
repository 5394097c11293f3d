//! How changes in Convex are followed.

use std::time::Duration;

use clap::{Args, ValueEnum};

use super::help::HEADING;
use super::values::between;

/// How changes in Convex are followed. Of all workers that do, one does at a time.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct TailSettings {
    /// Whether this process follows the changes in Convex when no other one does
    #[arg(
        long,
        value_enum,
        value_name = "WHETHER",
        env = "SLUICE_TAIL",
        default_value = "on"
    )]
    tail: Switch,

    /// How long after the last look it looks for changes again, in milliseconds (20 to 60000)
    #[arg(
        long,
        value_name = "MILLISECONDS",
        env = "SLUICE_TAIL_INTERVAL_MS",
        default_value = "1000",
        value_parser = between::<20, 60_000, u64>
    )]
    tail_interval_ms: u64,

    /// How often all files are compared with what is known of them, in seconds; 0: only when there
    /// is a reason
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_TAIL_COMPARE_SECS",
        default_value = "604800",
        value_parser = between::<0, 31_536_000, u64>
    )]
    tail_compare_secs: u64,

    /// The tenant of file sync in whose shares the changes of files appear; `off` for none
    #[arg(
        long,
        value_name = "TENANT",
        env = "SLUICE_TAIL_TENANT",
        default_value = "default"
    )]
    tail_tenant: String,
}

/// Whether something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

impl TailSettings {
    /// Whether this process takes part.
    pub fn is_on(&self) -> bool {
        self.tail == Switch::On
    }

    /// The tenant in whose shares changes appear.
    pub fn tenant(&self) -> Option<String> {
        Some(self.tail_tenant.clone()).filter(|tenant| tenant != "off")
    }

    /// Between two looks when nothing changes.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.tail_interval_ms)
    }

    /// Between two comparisons; `None`: they are made only when there is a reason.
    pub fn compare_every(&self) -> Option<Duration> {
        (self.tail_compare_secs > 0).then(|| Duration::from_secs(self.tail_compare_secs))
    }
}

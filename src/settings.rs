//! What can be set, one struct per concern.
//!
//! Each field is a flag of the commands that need it; its doc comment is the flag's help and its
//! `env` names the variable. `file.rs` says how the values of `sluice.toml` come in. Values are
//! checked when they are parsed, so a command that starts has valid settings; an error names the
//! setting and the rule.

mod api;
mod connections;
mod convex_store;
mod documents;
pub mod file;
mod http;
mod tail;
mod values;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use sluice_store::cache::{CacheConfig, MAX_LIMIT_BYTES};
use tracing::warn;

pub use api::{ApiSettings, AuthSettings, DevSecretSettings};
pub use connections::{
    ConvexKeySettings, ConvexSettings, FilesSettings, PoolSettings, ValkeySettings,
};
pub use convex_store::ConvexStoreSettings;
pub use documents::DocumentSettings;
pub use http::HttpSettings;
pub use tail::TailSettings;
pub use values::{between, listen, user};
use values::{schedule, seconds};

/// Under which heading `--help` lists what is below.
const HEADING: &str = "Settings";

/// Where state is kept on this machine.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct DataSettings {
    /// The folder that holds the state of `sluice dev`
    #[arg(
        long,
        value_name = "DIR",
        env = "SLUICE_DATA",
        default_value = ".sluice"
    )]
    pub data: PathBuf,
}

/// How this process tells what it does.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct LogSettings {
    /// What to log: a level, or directives such as `info,sluice_queue=debug`. RUST_LOG is the next
    /// best source
    #[arg(long, global = true, value_name = "FILTER", env = "SLUICE_LOG")]
    pub log: Option<String>,

    /// How a log line looks
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "FORMAT",
        env = "SLUICE_LOG_FORMAT",
        default_value = "text"
    )]
    pub log_format: LogFormat,
}

/// The shape of a log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For reading.
    Text,
    /// One JSON object a line.
    Json,
}

/// What is cached, and for how long.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct CacheSettings {
    /// The most that one user's bulk set may hold, in bytes of id and entry (1 to 450000000)
    #[arg(
        long,
        value_name = "BYTES",
        env = "SLUICE_SYNC_LIMIT_BYTES",
        default_value = "450000000",
        value_parser = between::<1, MAX_LIMIT_BYTES, u64>
    )]
    pub sync_limit_bytes: u64,

    /// How long a bulk set lives, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_SYNC_TTL_SECS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub sync_ttl_secs: u64,

    /// How long a single entry lives, in seconds
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_ENTRY_TTL_SECS",
        default_value = "3600",
        value_parser = seconds
    )]
    pub entry_ttl_secs: u64,

    /// How many files the group of the most active ones has at most (1 to 100000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_MOST_ACTIVE_LIMIT",
        default_value = "1000",
        value_parser = between::<1, 100_000, u32>
    )]
    pub most_active_limit: u32,

    /// After how many seconds an access counts half
    #[arg(
        long,
        value_name = "SECONDS",
        env = "SLUICE_ACTIVITY_HALF_LIFE_SECS",
        default_value = "86400",
        value_parser = seconds
    )]
    pub activity_half_life_secs: u64,
}

impl CacheSettings {
    /// Warns when entries that are kept warm lapse before they are refreshed.
    pub fn warn_of_gaps(&self, jobs: &JobSettings) {
        let interval = sluice_jobs::schedule_interval(&jobs.prefetch_schedule);
        if let Ok(Some(interval)) = interval
            && interval > Duration::from_secs(self.entry_ttl_secs)
        {
            warn!(
                ?interval,
                entry_ttl_secs = self.entry_ttl_secs,
                "hot entries lapse before prefetch_schedule refreshes them"
            );
        }
    }

    /// As the store takes them.
    pub fn config(&self) -> CacheConfig {
        CacheConfig {
            limit_bytes: self.sync_limit_bytes,
            sync_ttl: Duration::from_secs(self.sync_ttl_secs),
            entry_ttl: Duration::from_secs(self.entry_ttl_secs),
            most_active_limit: self.most_active_limit,
            activity_half_life: Duration::from_secs(self.activity_half_life_secs),
        }
    }
}

/// How jobs are run.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct JobSettings {
    /// How many jobs of a queue this process runs at once (1 to 256)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_CONCURRENCY",
        default_value = "8",
        value_parser = between::<1, 256, usize>
    )]
    pub concurrency: usize,

    /// How many leases in a row a job may lose with its workers before it is dead, whatever its
    /// attempts (1 to 100)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_LOSSES",
        default_value = "3",
        value_parser = clap::value_parser!(u32).range(1..=100)
    )]
    pub losses: u32,

    /// When hot entries are refreshed: a cron expression with seconds, in UTC, or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_PREFETCH_SCHEDULE",
        default_value = "0 */15 * * * *",
        value_parser = schedule
    )]
    pub prefetch_schedule: String,

    /// When what expired documents leave behind is removed: a cron expression with seconds, in UTC,
    /// or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_PURGE_SCHEDULE",
        default_value = "0 7 * * * *",
        value_parser = schedule
    )]
    pub purge_schedule: String,
}

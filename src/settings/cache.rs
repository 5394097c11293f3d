//! What is cached, and for how long.

use std::time::Duration;

use clap::Args;
use sluice_jobs::schedules::cron::Cron;
use sluice_store::cache::{CacheConfig, MAX_LIMIT_BYTES};
use tracing::warn;

use super::help::HEADING;
use super::jobs::JobSettings;
use super::values::{between, seconds};

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
        let schedule = Cron::parse(&jobs.prefetch_schedule, &jobs.schedule_zone);
        let interval = schedule.ok().and_then(|it| it.interval());
        if let Some(interval) = interval
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

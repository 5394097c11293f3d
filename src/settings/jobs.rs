//! How jobs are run.

use clap::Args;

use super::help::HEADING;
use super::values::{Schedules, between, schedule, schedules, zone};

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

    /// The time zone of the schedules below, such as Europe/Berlin
    #[arg(
        long,
        value_name = "ZONE",
        env = "SLUICE_SCHEDULE_ZONE",
        default_value = "UTC",
        value_parser = zone
    )]
    pub schedule_zone: String,

    /// A TOML file of further schedules, a table for each, named as the schedule: `cron`, `zone`,
    /// `queue`, `payload`, `jitter_secs`, `missed`. One with the name of a schedule below takes its
    /// place
    #[arg(
        long,
        value_name = "FILE",
        env = "SLUICE_SCHEDULES",
        value_parser = schedules
    )]
    pub schedules: Option<Schedules>,

    /// When hot entries are refreshed: a cron expression with seconds, or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_PREFETCH_SCHEDULE",
        default_value = "0 */15 * * * *",
        value_parser = schedule
    )]
    pub prefetch_schedule: String,

    /// When what expired documents leave behind is removed: a cron expression with seconds,
    /// or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_PURGE_SCHEDULE",
        default_value = "0 7 * * * *",
        value_parser = schedule
    )]
    pub purge_schedule: String,

    /// When devices that were not seen for long are put to sleep: a cron expression with seconds,
    /// or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_DEVICE_SCHEDULE",
        default_value = "0 37 3 * * *",
        value_parser = schedule
    )]
    pub device_schedule: String,

    /// How many days a device may not be seen before it is put to sleep (1 to 36500)
    #[arg(
        long,
        value_name = "DAYS",
        env = "SLUICE_DEVICE_IDLE_DAYS",
        default_value = "90",
        value_parser = between::<1, 36_500, u64>
    )]
    pub device_idle_days: u64,
    /// When uploads and versions that were given up are removed: a cron expression with seconds,
    /// or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_FILESYNC_SWEEP_SCHEDULE",
        default_value = "0 */10 * * * *",
        value_parser = schedule
    )]
    pub filesync_sweep_schedule: String,

    /// When all contents of files are held against what is known of them: a cron expression with
    /// seconds, or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_FILESYNC_ORPHANS_SCHEDULE",
        default_value = "0 23 3 * * *",
        value_parser = schedule
    )]
    pub filesync_orphans_schedule: String,

    /// When the logs of shares are trimmed: a cron expression with seconds, or `off`
    #[arg(
        long,
        value_name = "CRON",
        env = "SLUICE_FILESYNC_TRIM_SCHEDULE",
        default_value = "0 11 4 * * *",
        value_parser = schedule
    )]
    pub filesync_trim_schedule: String,

    /// How many days an entry of a share's log is kept at least (0 to 36500)
    #[arg(
        long,
        value_name = "DAYS",
        env = "SLUICE_FILESYNC_LOG_DAYS",
        default_value = "30",
        value_parser = between::<0, 36_500, u64>
    )]
    pub filesync_log_days: u64,

    /// How many entries of a share's log are kept in any case (1 to 1000000000)
    #[arg(
        long,
        value_name = "COUNT",
        env = "SLUICE_FILESYNC_LOG_ENTRIES",
        default_value = "100000",
        value_parser = between::<1, 1_000_000_000, u64>
    )]
    pub filesync_log_entries: u64,

    /// How many days a version is kept after its file holds another (0 to 36500)
    #[arg(
        long,
        value_name = "DAYS",
        env = "SLUICE_FILESYNC_VERSION_DAYS",
        default_value = "30",
        value_parser = between::<0, 36_500, u64>
    )]
    pub filesync_version_days: u64,
}

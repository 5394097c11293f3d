//! How much the queues hold.

use clap::Args;

use super::help::HEADING;
use super::values::between;

/// How much the queues hold.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = HEADING)]
pub struct QueueSettings {
    /// How many jobs that have not ended a queue takes; requests that would add another one are
    /// answered 503 (1000 to 1000000000)
    #[arg(
        long,
        value_name = "N",
        env = "SLUICE_BACKLOG_LIMIT",
        default_value = "1000000",
        value_parser = between::<1_000, 1_000_000_000, usize>
    )]
    pub backlog_limit: usize,
}

//! What is logged, and how it looks.

use clap::{Args, ValueEnum};

use super::help::HEADING;

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

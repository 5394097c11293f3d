//! Where state is kept on this machine.

use std::path::PathBuf;

use clap::Args;

use super::help::HEADING;

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

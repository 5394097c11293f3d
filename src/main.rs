//! The `sluice` binary: commands, settings, telemetry, and how the parts are put together.

mod app;
mod cli;
mod client;
mod commands;
mod data_folder;
mod dev;
mod failure;
mod http;
mod import;
mod one_line;
mod output;
mod progress;
mod settings;
mod shutdown;
mod table;
mod telemetry;

use std::process::ExitCode;
use std::time::Duration;

use cli::Cli;
use mimalloc::MiMalloc;

/// A request allocates some hundred times, which the allocator of the C library is slow at
/// (`docs/performance.md`).
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = match Cli::read(std::env::args_os().collect()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let outcome = start(cli);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn start(cli: Cli) -> Result<(), failure::Failure> {
    use failure::Context;

    telemetry::start_logging(&cli.log, cli.command.default_log_filter())?;
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(cli.command.run());
    // What still blocks a thread now, such as a name being resolved, must not hold up the end.
    runtime.shutdown_timeout(Duration::from_millis(200));
    outcome
}

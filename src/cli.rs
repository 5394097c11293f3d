//! The command line: what there is, and how it is read.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    convex, dev, doctor, import, invalidate, jobs, mirror, prefetch, queues, schedules, serve,
    sync, token, work, workers,
};
use crate::failure::Failure;
use crate::settings::{LogSettings, file};

/// What a shell expects of a command that was called wrongly.
const USAGE: u8 = 2;

/// A Valkey-native sync service for data that lives in Convex
#[derive(Debug, Parser)]
#[command(
    name = "sluice",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Every setting has one name: --valkey-url, SLUICE_VALKEY_URL and `valkey_url` in sluice.toml are the same.\n\
                  A flag wins over the variable, the variable over the file.\n\n\
                  Exit codes: 0 success, 1 failure, 2 wrong usage."
)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,

    #[command(flatten)]
    pub config: ConfigFile,

    #[command(flatten)]
    pub log: LogSettings,
}

/// Which file [`file::apply`] reads. It is here for the help; the value is taken before the rest is
/// parsed.
#[derive(Args, Debug)]
pub struct ConfigFile {
    /// The file with settings [default: sluice.toml, if there is one]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SLUICE_CONFIG",
        help_heading = "Settings"
    )]
    config: Option<std::path::PathBuf>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    Dev(dev::Dev),
    Serve(serve::Serve),
    Work(work::Work),
    Convex(convex::Convex),
    Import(import::Import),
    Sync(sync::Sync),
    Prefetch(prefetch::Prefetch),
    Invalidate(invalidate::Invalidate),
    Jobs(jobs::Jobs),
    Queues(queues::Queues),
    Schedules(schedules::Schedules),
    Workers(workers::Workers),
    Mirror(mirror::Mirror),
    Token(token::Token),
    Doctor(doctor::Doctor),
}

impl Command {
    /// Runs the command to its end.
    pub async fn run(self) -> Result<(), Failure> {
        match self {
            Self::Dev(command) => command.run().await,
            Self::Serve(command) => command.run().await,
            Self::Work(command) => command.run().await,
            Self::Convex(command) => command.run().await,
            Self::Import(command) => command.run().await,
            Self::Sync(command) => command.run().await,
            Self::Prefetch(command) => command.run().await,
            Self::Invalidate(command) => command.run().await,
            Self::Jobs(command) => command.run().await,
            Self::Queues(command) => command.run().await,
            Self::Schedules(command) => command.run().await,
            Self::Workers(command) => command.run().await,
            Self::Mirror(command) => command.run().await,
            Self::Token(command) => command.run(),
            Self::Doctor(command) => command.run().await,
        }
    }

    /// What is logged when nothing is set: everything of note by what runs for long, only trouble
    /// by the rest.
    pub fn default_log_filter(&self) -> &'static str {
        match self {
            Self::Serve(_) | Self::Work(_) | Self::Convex(_) => "info",
            // It warns of each folder that goes while it looks at it.
            Self::Mirror(_) => "warn,notify=error",
            _ => "warn",
        }
    }
}

impl Cli {
    /// Reads the arguments, the environment and the file. On an error it has been printed on standard
    /// error.
    pub fn read(arguments: Vec<OsString>) -> Result<Self, ExitCode> {
        let command = file::apply(Self::command(), &arguments).map_err(|error| {
            eprintln!("error: {error}");
            ExitCode::from(USAGE)
        })?;
        for variable in file::unknown_variables(&command) {
            eprintln!("warning: {variable} is no setting; sluice.example.toml lists all");
        }
        let command = file::without_empty_variables(command);
        Self::parse_with(command, arguments).map_err(|error| match explain(&error) {
            Some(line) => {
                eprintln!("error: {line}");
                ExitCode::from(USAGE)
            }
            None => {
                // Help and the version come this way too, with code 0.
                let _ = error.print();
                ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(USAGE))
            }
        })
    }

    fn parse_with(command: clap::Command, arguments: Vec<OsString>) -> Result<Self, Error> {
        Self::from_arg_matches(&command.try_get_matches_from(arguments)?)
    }
}

/// One line for what is wrong with a setting, naming it in each of its forms. Values stay out of
/// it: some are secret.
fn explain(error: &Error) -> Option<String> {
    let ContextValue::String(flag) = error.get(ContextKind::InvalidArg)? else {
        return None;
    };
    let flag = flag.split_whitespace().next()?;
    let argument = find(&Cli::command(), flag.strip_prefix("--")?)?;
    let key = file::key(&argument)?;
    let variable = argument.get_env()?.to_string_lossy();
    if error.kind() != ErrorKind::ValueValidation {
        return None;
    }
    let rule = std::error::Error::source(error)?;
    Some(format!(
        "{key}: {rule} (set by {variable}, {flag} or sluice.toml)"
    ))
}

fn find(command: &clap::Command, flag: &str) -> Option<clap::Arg> {
    command
        .get_arguments()
        .find(|argument| argument.get_long() == Some(flag))
        .cloned()
        .or_else(|| {
            command
                .get_subcommands()
                .find_map(|subcommand| find(subcommand, flag))
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_subcommand_shows_an_example() {
        for subcommand in Cli::command().get_subcommands() {
            let help = subcommand.clone().render_long_help().to_string();
            assert!(help.contains("Example"), "{}", subcommand.get_name());
        }
    }

    fn error_of(arguments: &[&str]) -> String {
        let arguments = arguments.iter().map(OsString::from).collect();
        let error = Cli::parse_with(Cli::command(), arguments).unwrap_err();
        explain(&error).unwrap()
    }

    #[test]
    fn a_limit_above_the_highest_is_refused_by_name_and_rule() {
        let line = error_of(&["sluice", "dev", "--sync-limit-bytes", "450000001"]);
        assert!(line.contains("SLUICE_SYNC_LIMIT_BYTES"), "{line}");
        assert!(line.contains("450000000"), "{line}");
    }

    #[test]
    fn a_time_to_live_of_zero_is_refused_by_name() {
        let line = error_of(&["sluice", "dev", "--entry-ttl-secs", "0"]);
        assert!(line.contains("SLUICE_ENTRY_TTL_SECS"), "{line}");
    }

    #[test]
    fn an_error_about_an_address_does_not_show_its_password() {
        let line = error_of(&["sluice", "work", "--valkey-url", "http://:hunter2@host"]);
        assert!(line.contains("redis://"), "{line}");
        assert!(!line.contains("hunter2"), "{line}");
    }
}

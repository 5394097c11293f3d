//! `sluice.toml`: values that take the place of the built-in defaults.
//!
//! Every setting is a flag with a variable (`--valkey-url`, `SLUICE_VALKEY_URL`); its key in the
//! file is the variable's name without the prefix, in lower case (`valkey_url`). The file's values
//! become the defaults of the flags, so that one parser decides what is valid and which source
//! wins: flags, then the environment, then the file, then what is built in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use clap::builder::OsStr;
use clap::{Arg, Command};
use thiserror::Error;

/// The file that is read when neither `--config` nor `SLUICE_CONFIG` names one. It need not exist.
const DEFAULT_FILE: &str = "sluice.toml";

/// The setting that cannot be in the file, since it says which file.
const CONFIG_KEY: &str = "config";

/// What can be wrong with the file. Names the file and the key.
#[derive(Debug, Error)]
pub enum FileError {
    #[error("cannot read {}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {message}", path.display())]
    Syntax { path: PathBuf, message: String },
    #[error("{}: unknown setting `{key}`; sluice.example.toml lists all", path.display())]
    UnknownKey { path: PathBuf, key: String },
    #[error("{}: `{key}` must be a string, a number or a boolean", path.display())]
    NotAValue { path: PathBuf, key: String },
}

/// Puts the file's values in as defaults of `command` and all its subcommands.
pub fn apply(command: Command, arguments: &[OsString]) -> Result<Command, FileError> {
    let named = named_file(arguments);
    let path = named.clone().unwrap_or_else(|| PathBuf::from(DEFAULT_FILE));
    match fs::read_to_string(&path) {
        Ok(text) => with_defaults(command, &path, &text),
        Err(error) if error.kind() == ErrorKind::NotFound && named.is_none() => Ok(command),
        Err(source) => Err(FileError::Read { path, source }),
    }
}

/// The file that `--config` or `SLUICE_CONFIG` names. Read before the other arguments, whose
/// defaults depend on it.
fn named_file(arguments: &[OsString]) -> Option<PathBuf> {
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--config" {
            return arguments.next().map(PathBuf::from);
        }
        if let Some(path) = argument.to_str().and_then(|a| a.strip_prefix("--config=")) {
            return Some(PathBuf::from(path));
        }
    }
    std::env::var_os("SLUICE_CONFIG")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
}

fn with_defaults(command: Command, path: &Path, text: &str) -> Result<Command, FileError> {
    let table: toml::Table = text
        .parse()
        .map_err(|error: toml::de::Error| FileError::Syntax {
            path: path.to_owned(),
            message: describe(&error, text),
        })?;
    let mut known = Vec::new();
    collect_keys(&command, &mut known);

    let mut values = BTreeMap::new();
    for (key, value) in table {
        if !known.contains(&key) {
            return Err(FileError::UnknownKey {
                path: path.to_owned(),
                key,
            });
        }
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Float(number) => number.to_string(),
            toml::Value::Boolean(yes) => yes.to_string(),
            _ => {
                return Err(FileError::NotAValue {
                    path: path.to_owned(),
                    key,
                });
            }
        };
        values.insert(key, value);
    }
    Ok(set_defaults(command, &values))
}

/// `line 3: …`, on one line.
fn describe(error: &toml::de::Error, text: &str) -> String {
    let line = error
        .span()
        .and_then(|span| text.get(..span.start))
        .map_or(1, |before| before.matches('\n').count() + 1);
    format!("line {line}: {}", error.message().replace('\n', " "))
}

/// Variables that look like settings and are none, which are usually misspelt.
pub fn unknown_variables(command: &Command) -> Vec<String> {
    let mut known = Vec::new();
    collect_keys(command, &mut known);
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let mut unknown: Vec<String> = names
        .filter(|name| {
            let key = name.strip_prefix("SLUICE_").map(str::to_lowercase);
            key.is_some_and(|key| key != CONFIG_KEY && !known.contains(&key))
        })
        .collect();
    unknown.sort();
    unknown
}

/// Empty variables are as good as none: so they come from files and deployments that name all and
/// set some.
pub fn without_empty_variables(command: Command) -> Command {
    command
        .mut_args(|argument| {
            let is_empty = |name: &std::ffi::OsStr| {
                std::env::var_os(name).is_some_and(|value| value.is_empty())
            };
            match argument.get_env().is_some_and(is_empty) {
                true => argument.env(None::<&'static str>),
                false => argument,
            }
        })
        .mut_subcommands(without_empty_variables)
}

/// The key under which a flag's value may stand in the file.
pub fn key(argument: &Arg) -> Option<String> {
    let variable = argument.get_env()?.to_str()?;
    let key = variable.strip_prefix("SLUICE_")?.to_lowercase();
    (key != CONFIG_KEY).then_some(key)
}

fn collect_keys(command: &Command, keys: &mut Vec<String>) {
    keys.extend(command.get_arguments().filter_map(key));
    for subcommand in command.get_subcommands() {
        collect_keys(subcommand, keys);
    }
}

fn set_defaults(command: Command, values: &BTreeMap<String, String>) -> Command {
    command
        .mut_args(
            |argument| match key(&argument).and_then(|key| values.get(&key)) {
                Some(value) => argument.default_value(OsStr::from(value.clone())),
                None => argument,
            },
        )
        .mut_subcommands(|subcommand| set_defaults(subcommand, values))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use clap::CommandFactory;

    use super::*;
    use crate::cli::Cli;

    fn read(text: &str) -> Result<Command, FileError> {
        with_defaults(Cli::command(), Path::new("sluice.toml"), text)
    }

    #[test]
    fn an_unknown_key_is_refused_by_name() {
        let error = read(
            "valkey_url = 'redis://a'
valky_pool = 3",
        )
        .unwrap_err();
        assert!(matches!(&error, FileError::UnknownKey { key, .. } if key == "valky_pool"));
        assert!(error.to_string().contains("valky_pool"));
    }

    #[test]
    fn a_section_is_refused_by_name() {
        let error = read(
            "[listen]
port = 1",
        )
        .unwrap_err();
        assert!(matches!(&error, FileError::NotAValue { key, .. } if key == "listen"));
    }

    #[test]
    fn a_syntax_error_names_its_line() {
        let error = read(
            "listen = '127.0.0.1:1'

sync_ttl_secs = = 3",
        )
        .unwrap_err();
        assert!(error.to_string().contains("line 3"), "{error}");
    }

    #[test]
    fn the_example_file_lists_every_setting_and_nothing_else() {
        let example = include_str!("../../sluice.example.toml");
        // Every setting stands there commented out, with its default or an example.
        let uncommented: String = example
            .lines()
            .filter_map(|line| line.strip_prefix("#: "))
            .map(|line| format!("{line}\n"))
            .collect();
        read(&uncommented).unwrap();
        let mut keys = Vec::new();
        collect_keys(&Cli::command(), &mut keys);
        for key in keys {
            assert!(
                uncommented
                    .lines()
                    .any(|line| line.starts_with(&format!("{key} ="))),
                "sluice.example.toml lacks {key}"
            );
        }
    }

    /// Where a setting may be given: its variable, its default, what it says, and the commands that
    /// have it.
    type Settings = BTreeMap<String, (String, String, Vec<String>)>;

    fn settings_of(command: &Command, settings: &mut Settings) {
        for argument in command.get_arguments() {
            let Some(key) = key(argument) else { continue };
            let defaults = argument.get_default_values().iter();
            let default = defaults
                .map(|it| it.to_string_lossy())
                .collect::<Vec<_>>()
                .join(" ");
            let help = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
            let entry = settings.entry(key).or_insert((default, help, Vec::new()));
            let name = command.get_name().to_owned();
            if !entry.2.contains(&name) {
                entry.2.push(name);
            }
        }
        // The commands of a command have the settings of clients alone, as it has.
        for subcommand in command.get_subcommands() {
            settings_of(subcommand, settings);
        }
    }

    #[test]
    fn the_reference_of_settings_is_what_the_code_says() {
        let mut settings = Settings::new();
        let commands = Cli::command();
        for command in commands.get_subcommands() {
            let mut own = Settings::new();
            settings_of(command, &mut own);
            for (key, (default, help, _)) in own {
                let entry = settings.entry(key).or_insert((default, help, Vec::new()));
                entry.2.push(command.get_name().to_owned());
            }
        }
        let mut text = String::from(
            "# Settings\n\nEach is a variable, a flag (`SLUICE_SYNC_TTL_SECS` is `--sync-ttl-secs`) and a key of \
             `sluice.toml` (`sync_ttl_secs`); a flag\nwins over the variable, the variable over the file. This page is \
             written from the code by `SLUICE_UPDATE_DOCS=1 cargo test --bin sluice\nsettings::file`; \
             [operating](operating.md) says what to set.\n\n| variable | default | what it is | commands |\n|---|---|---|---|\n",
        );
        for (key, (default, help, commands)) in settings {
            let default = if default.is_empty() {
                String::new()
            } else {
                format!("`{default}`")
            };
            let help = help.replace(['\n', '|'], " ");
            let variable = format!("SLUICE_{}", key.to_uppercase());
            text += &format!(
                "| `{variable}` | {default} | {help} | {} |\n",
                commands.join(", ")
            );
        }
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/settings.md");
        if std::env::var_os("SLUICE_UPDATE_DOCS").is_some() {
            fs::write(path, &text).unwrap();
        }
        assert!(
            fs::read_to_string(path).unwrap() == text,
            "docs/settings.md is not what the code says"
        );
    }

    #[test]
    fn only_a_named_file_has_to_exist() {
        let arguments = ["sluice", "doctor", "--config=/no/such/file.toml"].map(OsString::from);
        let error = apply(Cli::command(), &arguments).unwrap_err();
        assert!(error.to_string().contains("/no/such/file.toml"));
    }
}

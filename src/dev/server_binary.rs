//! Finding a Valkey server and the JSON module on this machine.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::Failure;

/// Older servers lack commands that the scripts use.
const OLDEST_MAJOR: u32 = 8;

/// Where `make install` puts the server and the module, below the project's folder.
const INSTALLED_SERVER: &str = ".valkey/bin/valkey-server";
const INSTALLED_MODULE: &str = ".valkey/lib/rejson.so";

/// The server to run: the one that is set, else a recent enough one on PATH, else what
/// `make install` put there.
pub fn find_server(set: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = set {
        return match major_version(path) {
            Some(major) if major >= OLDEST_MAJOR => Ok(path.to_owned()),
            Some(major) => Err(Failure::new(format!(
                "valkey_server: {} is version {major}, older than {OLDEST_MAJOR}",
                path.display()
            ))),
            None => Err(Failure::new(format!(
                "valkey_server: {} is not a Valkey server that runs here",
                path.display()
            ))),
        };
    }
    on_path("valkey-server")
        .into_iter()
        .chain(installed(INSTALLED_SERVER))
        .find(|path| major_version(path).is_some_and(|major| major >= OLDEST_MAJOR))
        .ok_or_else(|| {
            Failure::new(format!(
                "no valkey-server of version {OLDEST_MAJOR} or later found"
            ))
            .hint("run `make install`, which puts one under .valkey/, or set SLUICE_VALKEY_SERVER")
        })
}

/// The JSON module: the one that is set, else what `make install` put there. Sluice's core works
/// without it.
pub fn find_json_module(set: Option<&Path>) -> Result<Option<PathBuf>, Failure> {
    match set {
        Some(path) if path.is_file() => Ok(Some(path.to_owned())),
        Some(path) => Err(Failure::new(format!(
            "json_module: there is no file {}",
            path.display()
        ))),
        None => Ok(installed(INSTALLED_MODULE).next()),
    }
}

fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .filter(|candidate| candidate.is_file())
        .collect()
}

/// `file` below the working folder or one above it, then the same from where this program lies.
fn installed(file: &str) -> impl Iterator<Item = PathBuf> {
    let here = env::current_dir().ok();
    let program = env::current_exe().ok();
    [here, program]
        .into_iter()
        .flatten()
        .flat_map(|start| start.ancestors().map(Path::to_owned).collect::<Vec<_>>())
        .map(move |folder| folder.join(file))
        .filter(|candidate| candidate.is_file())
}

/// From a line such as `Valkey server v=9.1.2 sha=00000000:0 malloc=libc bits=64 build=…`.
fn major_version(server: &Path) -> Option<u32> {
    let output = Command::new(server).arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !text.starts_with("Valkey") {
        return None;
    }
    let (_, version) = text.split_once("v=")?;
    version.split('.').next()?.parse().ok()
}

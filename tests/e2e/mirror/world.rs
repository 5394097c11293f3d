//! A server with a share, and folders that are kept in step with it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use sluice_api::auth::{Identity, Scope, mint};
use sluice_test_support::Proxy;
use tempfile::TempDir;

use crate::harness::{Deployment, Process, SECRET};

pub use crate::harness::eventually;

/// The name of the share.
const SHARE: &str = "Plans";

/// By path: the bytes of files, none for folders.
pub type Contents = BTreeMap<String, Option<Vec<u8>>>;

/// What is in a folder, but for what a mirror keeps for itself.
pub fn tree(folder: &Path) -> Contents {
    let mut contents = BTreeMap::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(at) = folders.pop() {
        let Ok(entries) = fs::read_dir(&at) else {
            continue;
        };
        for entry in entries.flatten() {
            let path = entry.path();
            let name = path
                .strip_prefix(folder)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            if name == ".sluice-mirror" {
                continue;
            }
            if path.is_dir() {
                contents.insert(name, None);
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                contents.insert(name, Some(bytes));
            }
        }
    }
    contents
}

pub struct World {
    pub deployment: Deployment,
    /// In front of the API.
    pub way: Proxy,
    _contents: TempDir,
}

impl World {
    pub async fn start() -> Self {
        let contents = tempfile::tempdir().unwrap();
        let url = format!("file://{}", contents.path().display());
        let deployment = Deployment::start_with(&[("SLUICE_OBJECTS_URL", &url)]).await;
        let address = deployment.client.address("");
        let way = Proxy::start(address.trim_start_matches("http://").to_owned()).await;
        Self {
            deployment,
            way,
            _contents: contents,
        }
    }

    /// The API's address.
    pub fn api(&self) -> String {
        self.deployment.client.address("")
    }

    /// A token of the user whose the share is.
    pub fn token(&self) -> String {
        let identity = Identity {
            user: "ann",
            tenant: "acme",
            groups: &[],
        };
        let scopes = [Scope::FilesRead, Scope::FilesWrite];
        mint(
            SECRET,
            identity,
            &scopes,
            std::time::Duration::from_secs(3600),
        )
        .unwrap()
    }

    /// The share's id.
    pub async fn share(&self) -> String {
        let mut found = None;
        eventually("there is a share", async || {
            let request = self.deployment.client.request("GET", "/api/v1/shares");
            let shares = request.bearer_auth(self.token()).send().await.unwrap();
            let shares: serde_json::Value = shares.json().await.unwrap();
            found = shares["items"][0]["id"].as_str().map(str::to_owned);
            found.is_some()
        })
        .await;
        found.unwrap()
    }

    /// How many requests for file sync the API has answered.
    pub async fn requests(&self) -> u64 {
        let metrics = self
            .deployment
            .client
            .get("/metrics")
            .await
            .text()
            .await
            .unwrap();
        let counts = metrics.lines().filter(|line| {
            line.starts_with("sluice_http_requests_total") && !line.contains("/metrics")
        });
        let counts = counts.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        counts.sum()
    }

    /// A folder that may be kept in step.
    pub fn mirror(&self, name: &str) -> Mirror {
        Mirror {
            name: name.to_owned(),
            api: self.way.url(),
            folder: tempfile::tempdir().unwrap(),
            state: tempfile::tempdir().unwrap(),
            process: None,
        }
    }
}

/// A folder, and the process that keeps it in step.
pub struct Mirror {
    name: String,
    api: String,
    folder: TempDir,
    state: TempDir,
    pub process: Option<Process>,
}

impl Mirror {
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.folder().join(path)
    }

    fn arguments(&self) -> Vec<String> {
        let state = self.state.path().join("state.db");
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let folder = text(self.folder());
        let state = text(&state);
        let fixed = [
            "mirror",
            &folder,
            "--state",
            &state,
            "--share",
            SHARE,
            "--create",
            "--device",
            &self.name,
            "--user",
            "ann",
            "--tenant",
            "acme",
            "--api",
            &self.api,
            "--scan-every",
            "5s",
        ];
        fixed.iter().map(|it| (*it).to_owned()).collect()
    }

    /// The command, with further arguments.
    pub fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sluice"));
        command.args(self.arguments()).args(more);
        command
            .env("SLUICE_DEV_SECRET", SECRET)
            .stdin(Stdio::null());
        command
    }

    fn output(&self, more: &[&str]) -> Output {
        let mode = match more.contains(&"--dry-run") {
            true => [].as_slice(),
            false => &["--once"],
        };
        self.command(&[mode, more].concat()).output().unwrap()
    }

    /// Brings the folder in step; what that says.
    pub fn once(&self, more: &[&str]) -> String {
        let output = self.output(more);
        let said = [output.stdout.as_slice(), &output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }

    /// As [`Mirror::once`], and it is refused.
    pub fn refused(&self, more: &[&str]) -> String {
        let output = self.output(more);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success(), "{said}");
        said
    }

    /// Keeps the folder in step from now on, however much of it is deleted.
    pub fn start(&mut self) {
        let mut arguments = self.arguments();
        arguments.push("--confirm-deletes".to_owned());
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let settings = [("SLUICE_DEV_SECRET", SECRET)];
        let mut log = fs::File::options();
        let log = log.create(true).append(true).open(self.log_path()).unwrap();
        self.process = Some(Process::start_with_log(&arguments, &settings, log.into()));
    }

    fn log_path(&self) -> PathBuf {
        self.state.path().join("log")
    }

    /// The last that its processes have said, and how it is doing.
    pub fn log(&self) -> String {
        let log = fs::read_to_string(self.log_path()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let status = Command::new(env!("CARGO_BIN_EXE_sluice"))
            .args(["mirror", "status"])
            .arg(self.folder())
            .arg("--state")
            .arg(self.state.path().join("state.db"))
            .output()
            .unwrap();
        let status = String::from_utf8_lossy(&status.stdout).into_owned();
        let last = &lines[lines.len().saturating_sub(8)..];
        format!("{}\n{status}", last.join("\n"))
    }

    pub fn kill(&mut self) {
        self.process = None;
    }
}

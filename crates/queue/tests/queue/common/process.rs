//! A worker in a process of its own: the test binary itself, started again to run one of its
//! ignored tests.

use std::process::{Child, Command, ExitStatus, Stdio};

use sluice_queue::{QueueConfig, Queues};
use sluice_test_support::TestValkey;

use super::connect;

/// Tells the process which Valkey it works on.
const URL: &str = "SLUICE_QUEUE_TEST_URL";

/// Ends with the test, stopped or not.
pub struct Process(Child);

impl Process {
    /// Starts the ignored test `role`, which is named with its module.
    pub fn start(valkey: &TestValkey, role: &str) -> Self {
        Self::start_at(&valkey.url(), role, &[])
    }

    /// As [`Process::start`], on the Valkey or cluster at `url`, with further variables in its
    /// environment.
    pub fn start_at(url: &str, role: &str, environment: &[(&str, &str)]) -> Self {
        let child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", role])
            .env(URL, url)
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill")
            .args(["-s", name, &self.0.id().to_string()])
            .status();
        assert!(status.unwrap().success());
    }

    /// Waits until it has ended by itself.
    pub fn wait(&mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Within such a process: the address of the test's Valkey, and its queues.
pub async fn queues_of_parent() -> (String, Queues) {
    let url = std::env::var(URL).expect("only for other tests");
    let queues = connect(&url, QueueConfig::default()).await;
    (url, queues)
}

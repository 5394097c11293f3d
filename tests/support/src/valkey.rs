//! One Valkey process per test, with its own folder and append-only file.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, project_root};

/// How long a server may take to answer its first PING.
const START_LIMIT: Duration = Duration::from_secs(10);

/// Names another server than the one under `.valkey/`, also one of Redis.
const SERVER: &str = "SLUICE_TEST_VALKEY_SERVER";

/// A running valkey-server that belongs to one test. Dropping it ends the process and removes its
/// folder.
pub struct TestValkey {
    child: Child,
    port: u16,
    folder: TempDir,
    options: Vec<String>,
}

impl TestValkey {
    /// Starts a server with the append-only file on and waits until it answers.
    ///
    /// # Panics
    /// When no server is installed (`make test` installs one) or none comes up.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// As [`TestValkey::start`], with the JSON module.
    ///
    /// # Panics
    /// As [`TestValkey::start`], and when the module is not installed.
    pub fn start_with_json() -> Self {
        let module = project_root().join(".valkey/lib/rejson.so");
        let module = module.to_str().expect("a path in UTF-8");
        Self::start_with(&["--loadmodule", module])
    }

    /// As [`TestValkey::start`], with further command-line options such as
    /// `["--maxmemory", "100mb"]`.
    ///
    /// # Panics
    /// As [`TestValkey::start`].
    pub fn start_with(options: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        // Somebody else may take the port between the look and the start: then try another one.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(port, folder.path(), &options);
            if wait_until_ready(&mut child, port) {
                return Self {
                    child,
                    port,
                    folder,
                    options,
                };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!("no valkey-server came up within {START_LIMIT:?} on any of ten ports");
    }

    /// `redis://127.0.0.1:<port>`.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The id of the server process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A plain blocking connection, for looking at keys from a test.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn connection(&self) -> redis::Connection {
        redis::Client::open(self.url())
            .and_then(|client| client.get_connection())
            .expect("a connection to the test's Valkey")
    }

    /// The keys that match, in no order; `*` stands for any text.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        redis::cmd("KEYS")
            .arg(pattern)
            .query(&mut self.connection())
            .expect("the keys of the test's Valkey")
    }

    /// What it answers to a command.
    pub(crate) fn ask(&self, command: &[&str]) -> redis::RedisResult<String> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_connection_with_timeout(Duration::from_secs(5))?;
        redis::cmd(command[0])
            .arg(&command[1..])
            .query(&mut connection)
    }

    /// A field of what it says of its replication.
    pub(crate) fn replication(&self, field: &str) -> Option<String> {
        let info = self.ask(&["INFO", "replication"]).ok()?;
        let value = info
            .lines()
            .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        value.map(|value| value.trim().to_owned())
    }

    /// Whether, as a replica, it has what its primary had written at that offset.
    pub(crate) fn has_replicated(&self, written: Option<&str>) -> bool {
        let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok());
        let own = self.replication("slave_repl_offset");
        number(own.as_deref())
            .zip(number(written))
            .is_some_and(|(own, written)| own >= written)
    }

    /// The bytes that the server's data take.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn used_memory(&self) -> u64 {
        let info: String = redis::cmd("INFO")
            .arg("memory")
            .query(&mut self.connection())
            .expect("what the test's Valkey says of itself");
        info.lines()
            .find_map(|line| line.strip_prefix("used_memory:"))
            .and_then(|bytes| bytes.trim().parse().ok())
            .expect("a line with the memory used")
    }

    /// How often it has run each command, those that functions ran too, since
    /// [`TestValkey::forget_calls`]. What a test looks with is left out.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let info: String = redis::cmd("INFO")
            .arg("commandstats")
            .query(&mut self.connection())
            .expect("what the test's Valkey says of its commands");
        let calls = info.lines().filter_map(|line| {
            let (name, facts) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
            let (count, _) = facts.split_once(',')?;
            Some((name.to_lowercase(), count.parse().ok()?))
        });
        let is_own = |name: &str| {
            ["config", "client", "info"]
                .iter()
                .any(|it| name.starts_with(it))
        };
        calls.filter(|(name, _)| !is_own(name)).collect()
    }

    /// Begins to count calls anew.
    ///
    /// # Panics
    /// When the server does not answer.
    pub fn forget_calls(&self) {
        redis::cmd("CONFIG")
            .arg("RESETSTAT")
            .exec(&mut self.connection())
            .expect("a reset of what the test's Valkey has counted");
    }

    /// Whether its process lives: not after [`TestValkey::kill`].
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends the process with SIGKILL and leaves its files.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Bytes of its log once all that was answered is on the disk.
    ///
    /// # Panics
    /// When that takes longer than 10 s.
    pub fn log_size(&self) -> u64 {
        let mut connection = self.connection();
        redis::cmd("SET")
            .arg(&["log-size", ""])
            .exec(&mut connection)
            .expect("a write");
        let on_disk: (u64, u64) = redis::cmd("WAITAOF")
            .arg(&[1, 0, 10_000])
            .query(&mut connection)
            .expect("an answer");
        assert_eq!(on_disk.0, 1);
        self.log_path().metadata().expect("a log").len()
    }

    /// Takes from the log of the ended server what comes behind so many bytes.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn cut_log(&self, bytes: u64) {
        let log = File::options().write(true).open(self.log_path());
        log.and_then(|log| log.set_len(bytes)).expect("a log");
    }

    fn log_path(&self) -> PathBuf {
        let log = "appendonlydir/appendonly.aof.1.incr.aof";
        self.folder.path().join(log)
    }

    /// Starts the server again on the same port and files, after [`TestValkey::kill`] or instead of
    /// the running one, which may write out what it has answered for: under load, an fsync each
    /// second lets that wait.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn restart(&mut self) {
        if self.is_running() {
            // The answer is the end of the connection.
            let _ = redis::cmd("SHUTDOWN").exec(&mut self.connection());
        }
        let _ = self.child.wait();
        self.child = spawn(self.port, self.folder.path(), &self.options);
        assert!(
            wait_until_ready(&mut self.child, self.port),
            "valkey-server did not come back on port {}",
            self.port
        );
    }
}

impl Drop for TestValkey {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The server that tests start.
pub(crate) fn server_path() -> PathBuf {
    std::env::var_os(SERVER).map_or_else(
        || project_root().join(".valkey/bin/valkey-server"),
        PathBuf::from,
    )
}

fn spawn(port: u16, folder: &Path, options: &[String]) -> Child {
    let server = server_path();
    Command::new(&server)
        .args(["--port", &port.to_string()])
        .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "yes"])
        .args(["--appendfsync", "everysec", "--logfile", "valkey.log"])
        .arg("--dir")
        .arg(folder)
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", server.display()))
}

fn wait_until_ready(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START_LIMIT {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        let answered = redis::Client::open(format!("redis://127.0.0.1:{port}"))
            .and_then(|client| client.get_connection_with_timeout(Duration::from_millis(200)))
            .and_then(|mut connection| redis::cmd("PING").query::<String>(&mut connection));
        if answered.is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

//! A Valkey with a replica, and a sentinel that lets it take over.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::valkey::server_path;
use crate::{TestValkey, free_port};

/// How long the servers may take to agree on something.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// A primary, its replica and a sentinel, which belong to one test. Dropping it ends them.
pub struct TestSentinel {
    /// The primary first.
    servers: [TestValkey; 2],
    sentinel: Child,
    port: u16,
    _folder: TempDir,
}

impl TestSentinel {
    /// What the sentinel calls the primary.
    pub const NAME: &str = "main";

    /// Starts them, with further options for the servers, and waits until the replica is in step
    /// and known.
    ///
    /// # Panics
    /// When no server is installed (`make test` installs one) or they do not come together.
    pub fn start(options: &[&str]) -> Self {
        let options = [options, &["--repl-diskless-sync-delay", "0"]].concat();
        let primary = TestValkey::start_with(&options);
        let replica = TestValkey::start_with(&options);
        redis::cmd("REPLICAOF")
            .arg("127.0.0.1")
            .arg(primary.port())
            .exec(&mut replica.connection())
            .expect("a replica");
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("sentinel.conf");
        let port = free_port();
        let text = format!(
            "bind 127.0.0.1\nport {port}\ndir {folder}\n\
             sentinel monitor {name} 127.0.0.1 {primary} 1\n\
             sentinel down-after-milliseconds {name} 500\n\
             sentinel failover-timeout {name} 3000\n",
            folder = folder.path().display(),
            name = Self::NAME,
            primary = primary.port(),
        );
        std::fs::write(&file, text).expect("a configuration");
        let sentinel = Command::new(server_path())
            .arg(&file)
            .arg("--sentinel")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a sentinel");
        let this = Self {
            servers: [primary, replica],
            sentinel,
            port,
            _folder: folder,
        };
        this.wait_until("the sentinel knows the replica", || {
            let replicas = this.ask(&["SENTINEL", "REPLICAS", Self::NAME]);
            replicas.contains(&this.servers[1].port().to_string()) && replicas.contains("\"ok\"")
        });
        this
    }

    /// `redis+sentinel://…`, as the sentinel is named in an address.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// As [`TestSentinel::url`], of a user of the primary: `name:password@`.
    pub fn url_as(&self, user: &str) -> String {
        format!(
            "redis+sentinel://{user}127.0.0.1:{}/{}",
            self.port,
            Self::NAME
        )
    }

    /// Waits until the replica has what was written.
    ///
    /// # Panics
    /// When it does not get it.
    pub fn replicate(&self) {
        let written = self.servers[0].replication("master_repl_offset");
        self.wait_until("the replica has what was written", || {
            self.servers[1].has_replicated(written.as_deref())
        });
    }

    /// Ends the primary with SIGKILL; the replica takes over after a moment.
    pub fn kill_primary(&mut self) {
        self.servers[0].kill();
    }

    /// As [`TestSentinel::kill_primary`], amid its work. The replica has all that it has
    /// acknowledged by then: it stops to take writes, waits for the replica, and is killed with
    /// the writes that have come since.
    ///
    /// # Panics
    /// When the replica does not get it.
    pub fn kill_replicated(&mut self) {
        let limit = AGREE_LIMIT.as_millis().to_string();
        let paused = self.servers[0].ask(&["CLIENT", "PAUSE", &limit, "WRITE"]);
        assert!(paused.is_ok(), "the primary does not pause");
        self.replicate();
        self.kill_primary();
    }

    /// A plain connection to the server that was the replica.
    pub fn replica(&self) -> redis::Connection {
        self.servers[1].connection()
    }

    fn ask(&self, command: &[&str]) -> String {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port));
        let connection = client.and_then(|it| it.get_connection_with_timeout(AGREE_LIMIT));
        let Ok(mut connection) = connection else {
            return String::new();
        };
        let mut asked = redis::cmd(command[0]);
        asked.arg(&command[1..]);
        let answer: redis::RedisResult<redis::Value> = asked.query(&mut connection);
        answer.map_or_else(|_| String::new(), |value| format!("{value:?}"))
    }

    fn wait_until(&self, what: &str, condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(
                begun.elapsed() < AGREE_LIMIT,
                "waited in vain until {what}: {}",
                self.ask(&["SENTINEL", "REPLICAS", Self::NAME])
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for TestSentinel {
    fn drop(&mut self) {
        let _ = self.sentinel.kill();
        let _ = self.sentinel.wait();
    }
}

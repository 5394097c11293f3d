//! A Valkey server as a child process: how it is started, where it listens, and how it ends.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::server_binary::{find_json_module, find_server};
use crate::data_folder::write_private;
use crate::failure::{Context, Failure};

/// Runs the server so that it ends with this process, even one that is killed.
///
/// Standard input is a pipe from this process. Beside the server, a reader waits for it: a line
/// means that the server has ended and there is nothing to do; the pipe's end, that this process is
/// gone or wants the server to stop. The server takes the shell's place and so keeps its process
/// id, `$$`.
const LEASH: &str = r#"
exec 3<&0
( read -r _ <&3 || kill -TERM $$ ) >/dev/null 2>&1 &
exec "$0" "$1" </dev/null 3<&-
"#;

/// How long the server may take until it answers. It answers once its append-only file is loaded.
const START_LIMIT: Duration = Duration::from_secs(60);

/// How long the server of an earlier run, whose process was killed, may take to end.
const LEFTOVER_LIMIT: Duration = Duration::from_secs(10);

/// How long the server may take to end when asked to.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// Between two looks at something that has no notification.
const PAUSE: Duration = Duration::from_millis(20);

/// The file of its settings.
const CONFIG: &str = "valkey.conf";

/// The file of what it logs.
const LOG: &str = "valkey.log";

/// How soon a cluster's nodes hold one for lost that does not answer.
const NODE_TIMEOUT: Duration = Duration::from_secs(2);

/// The server's program, and the JSON module.
#[derive(Clone)]
pub struct Software {
    server: PathBuf,
    json_module: Option<PathBuf>,
}

/// Where a server listens on 127.0.0.1.
#[derive(Clone, Copy)]
pub struct Ports {
    /// For clients.
    pub port: u16,
    /// For the other nodes of its cluster, if it is to be in one.
    pub bus: Option<u16>,
}

/// How a server is started, which stays the same over restarts.
pub struct Plan {
    pub software: Software,
    pub folder: PathBuf,
    pub password: String,
    pub ports: Ports,
}

/// A server that runs, and its leash.
pub struct Running {
    pub child: Child,
    leash: ChildStdin,
}

impl Software {
    /// What is set, as the settings of that name; without them both are looked for.
    pub fn find(server: Option<&Path>, json_module: Option<&Path>) -> Result<Self, Failure> {
        Ok(Self {
            server: find_server(server)?,
            json_module: find_json_module(json_module)?,
        })
    }
}

impl Plan {
    /// `redis://…` with the password.
    pub fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.ports.port)
    }

    /// What it logs.
    pub fn log_path(&self) -> PathBuf {
        self.folder.join(LOG)
    }

    /// Starts the server and waits until it answers.
    pub async fn run(&self) -> Result<Running, Failure> {
        let log = lock_log(&self.folder).await?;
        let config_path = self.folder.join(CONFIG);
        write_private(&config_path, self.configuration().as_bytes())?;
        let log_begin = log.metadata().map_or(0, |metadata| metadata.len());
        let stderr = log
            .try_clone()
            .context(format!("cannot use {}", self.log_path().display()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", LEASH])
            .args([&self.software.server, &config_path])
            .stdin(Stdio::piped())
            .stdout(log)
            .stderr(stderr)
            // Ctrl-C in a terminal goes to its foreground process group: the server must outlive
            // the drain.
            .process_group(0)
            .spawn()
            .context("cannot start /bin/sh")?;
        let leash = child
            .stdin
            .take()
            .ok_or_else(|| Failure::new("Valkey was started without a pipe"))?;

        let mut running = Running { child, leash };
        match timeout(START_LIMIT, self.answers(&mut running.child)).await {
            Ok(true) => Ok(running),
            Ok(false) => {
                running.detach().await;
                Err(Failure::new(format!(
                    "Valkey did not start: {}",
                    self.last_words(log_begin)
                ))
                .hint(format!("its log is {}", self.log_path().display())))
            }
            Err(_) => {
                running.end().await;
                Err(Failure::new(format!(
                    "Valkey did not answer within {} s",
                    START_LIMIT.as_secs()
                ))
                .hint(format!("its log is {}", self.log_path().display())))
            }
        }
    }

    /// Whether the server came up; false when it ended instead.
    async fn answers(&self, child: &mut Child) -> bool {
        loop {
            tokio::select! {
                biased;
                _ = child.wait() => return false,
                answer = ping(self.url()) => if answer.is_ok() { return true },
            }
            sleep(PAUSE).await;
        }
    }

    /// The last line the server logged since `begin`, without its time stamp.
    fn last_words(&self, begin: u64) -> String {
        let mut text = String::new();
        let read = File::open(self.log_path()).and_then(|mut file| {
            file.seek(SeekFrom::Start(begin))?;
            file.read_to_string(&mut text)
        });
        match (read, text.lines().rfind(|line| !line.trim().is_empty())) {
            (Ok(_), Some(line)) => line.trim().to_owned(),
            _ => "it said nothing".to_owned(),
        }
    }

    /// The password is in here rather than among the arguments, which other users can see.
    ///
    /// The append-only file is on from the very first start: switched on later by a restart, it
    /// would begin empty.
    fn configuration(&self) -> String {
        let folder = quote(&self.folder);
        let Self {
            password,
            ports: Ports { port, bus },
            ..
        } = self;
        let module = self
            .software
            .json_module
            .as_deref()
            .map(|path| format!("loadmodule {}\n", quote(path)))
            .unwrap_or_default();
        let cluster = bus.map(|bus| cluster_configuration(bus, password));
        let cluster = cluster.unwrap_or_default();
        format!(
            "bind 127.0.0.1\n\
             port {port}\n\
             protected-mode yes\n\
             requirepass {password}\n\
             dir {folder}\n\
             logfile \"\"\n\
             save \"\"\n\
             appendonly yes\n\
             appendfsync everysec\n\
             shutdown-on-sigterm nosave force\n\
             {module}{cluster}"
        )
    }
}

/// What a node of a cluster needs beside what every server does. It does not wait for its replica
/// when it ends: that ends, too.
fn cluster_configuration(bus: u16, password: &str) -> String {
    format!(
        "cluster-enabled yes\n\
         cluster-port {bus}\n\
         cluster-announce-ip 127.0.0.1\n\
         cluster-node-timeout {timeout}\n\
         primaryauth {password}\n\
         repl-diskless-sync-delay 0\n\
         shutdown-timeout 0\n",
        timeout = NODE_TIMEOUT.as_millis()
    )
}

impl Ports {
    /// Those of the last run of a node with its files in `folder`.
    pub fn of_last_run(folder: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(folder.join(CONFIG)).ok()?;
        let setting = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
        };
        Some(Self {
            port: setting("port ")?,
            bus: Some(setting("cluster-port ")?),
        })
    }

    /// Ports that nothing listens on, two for a node.
    pub fn free(is_node: bool) -> Result<Self, Failure> {
        Ok(Self {
            port: free_port()?,
            bus: is_node.then(free_port).transpose()?,
        })
    }

    /// Whether something listens on any of them.
    pub fn are_taken(self) -> bool {
        let mut ports = std::iter::once(self.port).chain(self.bus);
        ports.any(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_err())
    }
}

/// Opens the log, which is the server's standard output, and locks it.
///
/// The lock goes to the server with the file and is the system's to release. So a server that a
/// killed process left behind, and that is still writing its files, is waited for and never met
/// by a second one.
pub async fn lock_log(folder: &Path) -> Result<File, Failure> {
    let path = folder.join(LOG);
    let doing = || format!("cannot use {}", path.display());
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(&path)
        .context(doing())?;
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) if begun.elapsed() < LEFTOVER_LIMIT => {
                sleep(PAUSE).await;
            }
            Err(TryLockError::WouldBlock) => {
                return Err(Failure::new(format!(
                    "a Valkey of an earlier run still works in {}",
                    folder.display()
                ))
                .hint(
                    "end it; its process id is in the first lines of its last start in valkey.log",
                ));
            }
            Err(TryLockError::Error(error)) => return Err(error).context(doing()),
        }
    }
}

impl Running {
    /// Ends the server by letting go of its leash.
    pub async fn end(mut self) {
        drop(self.leash);
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            warn!("Valkey did not end by itself and is killed");
            let _ = self.child.kill().await;
        }
    }

    /// Tells the reader beside a server that has ended not to signal its process id, which may soon
    /// be another's.
    pub async fn detach(mut self) {
        // It fails when the reader is gone as well.
        let _ = self.leash.write_all(b"ended\n").await;
    }
}

/// One PING on a connection of its own.
async fn ping(url: String) -> redis::RedisResult<()> {
    let mut connection = redis::Client::open(url)?
        .get_multiplexed_async_connection()
        .await?;
    redis::cmd("PING").exec_async(&mut connection).await
}

/// A path as the configuration file takes it.
fn quote(path: &Path) -> String {
    let text = path.display().to_string();
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

fn free_port() -> Result<u16, Failure> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .context("cannot find a free port")
}

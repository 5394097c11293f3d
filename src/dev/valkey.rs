//! A Valkey server that belongs to this process: found or refused at once, restarted when it dies,
//! never left behind.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, Command};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::server_binary::{find_json_module, find_server};
use crate::data_folder::{private_folder, random_secret, write_private};
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

/// A server that dies more often than this within [`RESTART_WINDOW`] is given up.
const RESTARTS: usize = 5;
const RESTART_WINDOW: Duration = Duration::from_secs(60);

/// Between two looks at something that has no notification.
const PAUSE: Duration = Duration::from_millis(20);

/// How many free ports are tried: another process may take one before the server does.
const PORT_ATTEMPTS: usize = 5;

/// The server and the task that keeps it running.
pub struct PrivateValkey {
    url: String,
    stop: CancellationToken,
    keeper: JoinHandle<Result<(), Failure>>,
}

/// What stays the same over restarts.
struct Plan {
    server: PathBuf,
    json_module: Option<PathBuf>,
    folder: PathBuf,
    password: String,
    port: u16,
}

struct Running {
    child: Child,
    leash: ChildStdin,
}

impl PrivateValkey {
    /// Starts a server with its files in `folder` and waits until it answers.
    ///
    /// `server` and `json_module` are the settings of that name; without them both are looked for.
    pub async fn start(
        folder: &Path,
        server: Option<&Path>,
        json_module: Option<&Path>,
    ) -> Result<Self, Failure> {
        private_folder(folder)?;
        let mut plan = Plan {
            server: find_server(server)?,
            json_module: find_json_module(json_module)?,
            folder: folder.to_owned(),
            password: random_secret(),
            port: 0,
        };
        let mut attempt = 1;
        let running = loop {
            plan.port = free_port()?;
            match plan.run().await {
                Ok(running) => break running,
                Err(failure) if attempt == PORT_ATTEMPTS || !plan.port_is_taken() => {
                    return Err(failure);
                }
                Err(_) => attempt += 1,
            }
        };
        let url = plan.url();
        let stop = CancellationToken::new();
        let keeper = tokio::spawn(keep(plan, running, stop.clone()));
        Ok(Self { url, stop, keeper })
    }

    /// `redis://…` with the password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Returns when the server cannot be kept running any more.
    pub async fn given_up(&mut self) -> Failure {
        match (&mut self.keeper).await {
            Ok(Err(failure)) => failure,
            Ok(Ok(())) | Err(_) => Failure::new("Valkey is not looked after any more"),
        }
    }

    /// Ends the server; what it acknowledged is on disk.
    pub async fn stop(self) {
        self.stop.cancel();
        if !self.keeper.is_finished() {
            let _ = self.keeper.await;
        }
    }
}

/// Restarts the server on the same port whenever it dies, until `stop` or until it dies too often.
async fn keep(plan: Plan, mut running: Running, stop: CancellationToken) -> Result<(), Failure> {
    let mut deaths: Vec<Instant> = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => {
                running.end().await;
                return Ok(());
            }
            status = running.child.wait() => {
                let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
                warn!(status, "Valkey ended; starting it again");
                running.detach().await;
            }
        }
        deaths.retain(|death| death.elapsed() < RESTART_WINDOW);
        deaths.push(Instant::now());
        if deaths.len() > RESTARTS {
            let failure = Failure::new(format!(
                "Valkey died {} times within {} s",
                deaths.len(),
                RESTART_WINDOW.as_secs()
            ))
            .hint(format!("its log is {}", plan.log_path().display()));
            error!(%failure, "Valkey is given up");
            return Err(failure);
        }
        running = tokio::select! {
            biased;
            () = stop.cancelled() => return Ok(()),
            running = plan.run() => running?,
        };
    }
}

impl Plan {
    fn url(&self) -> String {
        format!("redis://:{}@127.0.0.1:{}", self.password, self.port)
    }

    fn log_path(&self) -> PathBuf {
        self.folder.join("valkey.log")
    }

    fn port_is_taken(&self) -> bool {
        TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).is_err()
    }

    /// Starts the server and waits until it answers.
    async fn run(&self) -> Result<Running, Failure> {
        let config_path = self.folder.join("valkey.conf");
        write_private(&config_path, self.configuration().as_bytes())?;

        let log = self.lock_log().await?;
        let log_begin = log.metadata().map_or(0, |metadata| metadata.len());
        let stderr = log
            .try_clone()
            .context(format!("cannot use {}", self.log_path().display()))?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", LEASH])
            .args([&self.server, &config_path])
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

    /// Opens the log, which is the server's standard output, and locks it.
    ///
    /// The lock goes to the server with the file and is the system's to release. So a server that a
    /// killed process left behind, and that is still writing its files, is waited for and never met
    /// by a second one.
    async fn lock_log(&self) -> Result<File, Failure> {
        let path = self.log_path();
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
                        self.folder.display()
                    ))
                    .hint("end it; its process id is in the first lines of its last start in valkey.log"));
                }
                Err(TryLockError::Error(error)) => return Err(error).context(doing()),
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
        let Self { password, port, .. } = self;
        let module = self
            .json_module
            .as_deref()
            .map(|path| format!("loadmodule {}\n", quote(path)))
            .unwrap_or_default();
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
             {module}"
        )
    }
}

impl Running {
    /// Ends the server by letting go of its leash.
    async fn end(mut self) {
        drop(self.leash);
        if timeout(STOP_LIMIT, self.child.wait()).await.is_err() {
            warn!("Valkey did not end by itself and is killed");
            let _ = self.child.kill().await;
        }
    }

    /// Tells the reader beside a server that has ended not to signal its process id, which may soon
    /// be another's.
    async fn detach(mut self) {
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

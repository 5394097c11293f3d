//! One server that speaks S3's protocol per test, with its own folder.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, project_root};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(20);
/// The bucket that there is.
const BUCKET: &str = "contents";
/// The key that it accepts.
const KEY_ID: &str = "test";
const SECRET: &str = "secret-of-tests";

/// A running server with an empty bucket. Dropping it ends the process and removes its folder.
pub struct TestS3 {
    child: Child,
    port: u16,
    folder: TempDir,
}

impl TestS3 {
    /// Starts a server and waits until it listens.
    ///
    /// # Panics
    /// When none is installed (`make test` installs one) or none comes up.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join(BUCKET)).expect("a folder for the bucket");
        // Somebody else may take the port between the look and the start: then try another one.
        for _ in 0..10 {
            let port = free_port();
            let mut child = spawn(port, folder.path());
            if is_ready(&mut child, port) {
                return Self {
                    child,
                    port,
                    folder,
                };
            }
            end(&mut child);
        }
        panic!("no S3 server came up within {START_LIMIT:?} on any of ten ports");
    }

    /// The address of a place in the bucket.
    pub fn url(&self, prefix: &str) -> String {
        format!("s3://{BUCKET}/{prefix}")
    }

    /// What leads to it and opens it, as clients of S3 read it from the environment.
    pub fn options(&self) -> Vec<(String, String)> {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        let options = [
            ("AWS_ENDPOINT_URL", &*endpoint),
            ("AWS_ALLOW_HTTP", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", KEY_ID),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
        ];
        options
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Ends the process and leaves its files.
    pub fn stop(&mut self) {
        end(&mut self.child);
    }

    /// Starts it again on the same port and files.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn resume(&mut self) {
        self.child = spawn(self.port, self.folder.path());
        assert!(
            is_ready(&mut self.child, self.port),
            "the S3 server did not come back on port {}",
            self.port
        );
    }
}

impl Drop for TestS3 {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(port: u16, folder: &Path) -> Child {
    let server = project_root().join(".s3/rclone");
    Command::new(&server)
        .args(["serve", "s3", "--config", "", "--addr"])
        .arg(format!("127.0.0.1:{port}"))
        .args(["--auth-key", &format!("{KEY_ID},{SECRET}")])
        .args(["--cache-dir"])
        .arg(folder.join(".cache"))
        .arg(folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", server.display()))
}

fn is_ready(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START_LIMIT {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

//! A server that speaks S3's protocol, with its own folder.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{free_port, project_root};

/// How long a server may take to listen.
const START_LIMIT: Duration = Duration::from_secs(60);
/// The bucket that is used. The server makes it when something is first put there.
const BUCKET: &str = "contents";
/// The key that it accepts.
const KEY_ID: &str = "test";
const SECRET: &str = "secret-of-tests";

/// A running SeaweedFS: a master, a volume server, a filer and the gateway that speaks S3's
/// protocol, in one process. Dropping it ends the process and removes its folder.
pub struct TestS3 {
    child: Child,
    port: u16,
    _folder: TempDir,
}

impl TestS3 {
    /// Starts a server and waits until it listens. What is put there first may have to wait for more.
    ///
    /// # Panics
    /// When none is installed (`make test` installs one) or none comes up.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let keys = format!(
            r#"{{"identities":[{{"name":"test","actions":["Admin"],
                "credentials":[{{"accessKey":"{KEY_ID}","secretKey":"{SECRET}"}}]}}]}}"#
        );
        std::fs::write(folder.path().join("keys.json"), keys).expect("a file with the keys");
        // Somebody else may take a port between the look and the start: then try other ones.
        for _ in 0..5 {
            let port = free_port();
            let mut child = spawn(port, folder.path());
            if is_listening(&mut child, port) {
                return Self {
                    child,
                    port,
                    _folder: folder,
                };
            }
            end(&mut child);
        }
        panic!("no S3 server came up within {START_LIMIT:?} at any of five attempts");
    }

    /// The address of a place in its bucket.
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
        let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
        options.into()
    }
}

impl Drop for TestS3 {
    fn drop(&mut self) {
        end(&mut self.child);
    }
}

fn spawn(port: u16, folder: &Path) -> Child {
    let server = project_root().join(".s3/weed");
    let mut command = Command::new(&server);
    command
        .args(["server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-filer"])
        .arg(format!("-s3.port={port}"))
        .args([
            "-s3",
            "-s3.config=keys.json",
            "-s3.port.iceberg=0",
            "-dir=.",
        ])
        .args(["-volume.max=4", "-master.volumeSizeLimitMB=64"]);
    for part in [
        "master.port",
        "master.port.grpc",
        "volume.port",
        "volume.port.grpc",
        "filer.port",
        "filer.port.grpc",
        "s3.port.grpc",
    ] {
        command.arg(format!("-{part}={}", free_port()));
    }
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot start {}: {error}", server.display()))
}

fn is_listening(child: &mut Child, port: u16) -> bool {
    let begun = Instant::now();
    while begun.elapsed() < START_LIMIT {
        if child.try_wait().is_ok_and(|status| status.is_some()) {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    false
}

fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}

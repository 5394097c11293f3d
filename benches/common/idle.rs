//! The memory of the API for each stream that is open and has nothing to say.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// Streams that are measured.
const STREAMS: usize = 1_000;
/// Streams that are opened before, so that what all have together is there.
const FIRST: usize = 50;

/// Bytes of the process for one more stream, that is opened by this request.
pub async fn memory(address: &str, pid: u32, request: &str, status: &str) -> f64 {
    let mut streams = Vec::new();
    for _ in 0..FIRST {
        streams.push(open(address, request, status).await);
    }
    let before = resident(pid);
    for _ in 0..STREAMS {
        streams.push(open(address, request, status).await);
    }
    let each = (resident(pid) - before) as f64 / STREAMS as f64;
    drop(streams);
    each
}

/// One that has been answered.
pub async fn open(address: &str, request: &str, status: &str) -> BufReader<TcpStream> {
    let mut stream = BufReader::with_capacity(2_048, TcpStream::connect(address).await.unwrap());
    stream
        .get_mut()
        .write_all(request.as_bytes())
        .await
        .unwrap();
    let mut line = String::new();
    stream.read_line(&mut line).await.unwrap();
    if !line.contains(status) {
        let mut rest = vec![0; 2_048];
        let read = stream.read(&mut rest).await.unwrap();
        line.push_str(&String::from_utf8_lossy(&rest[..read]));
        panic!("{line}");
    }
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
    }
    stream
}

/// Bytes of memory that a process has.
pub fn resident(pid: u32) -> i64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.unwrap().trim().trim_end_matches(" kB");
    kilobytes.parse::<i64>().unwrap() * 1_024
}

//! Load: connections that each send their next request when they have the answer to the last.

use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Clock ticks a second, in which Linux counts processor time.
const TICKS: f64 = 100.0;

/// A request as it goes over the wire.
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub token: String,
    pub body: String,
}

/// What came of one round.
#[derive(Clone, Copy)]
pub struct Round {
    /// Requests a second.
    pub rate: f64,
    /// Times of requests, in ms.
    pub p50: f64,
    pub p99: f64,
    /// Processor time of the server and of Valkey for a request, in µs.
    pub server: f64,
    pub valkey: f64,
}

/// Sends requests for so long, one of each connection at a time, to a server of that process.
pub async fn run(
    address: &str,
    server: u32,
    valkey: u32,
    length: Duration,
    requests: Vec<Request>,
) -> Round {
    let mut callers = Vec::new();
    for request in requests {
        callers.push(Caller::open(address, &request).await);
    }
    let before = (processor_time(server), processor_time(valkey));
    let begun = Instant::now();
    let mut running = JoinSet::new();
    for mut caller in callers {
        running.spawn(async move {
            let mut times = Vec::new();
            while begun.elapsed() < length {
                let sent = Instant::now();
                caller.call().await;
                times.push(sent.elapsed().as_secs_f64() * 1e3);
            }
            times
        });
    }
    let mut times = running.join_all().await.concat();
    let taken = begun.elapsed().as_secs_f64();
    let each = |spent: f64| spent * 1e6 / times.len() as f64;
    let server = each(processor_time(server) - before.0);
    let valkey = each(processor_time(valkey) - before.1);
    times.sort_by(f64::total_cmp);
    Round {
        rate: times.len() as f64 / taken,
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        server,
        valkey,
    }
}

/// Processor time of a process so far, in seconds.
fn processor_time(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may hold anything: user and system time are the 12th and 13th.
    let (_, fields) = stat.rsplit_once(')').unwrap();
    let ticks = fields.split_whitespace().skip(11).take(2);
    ticks
        .map(|ticks| ticks.parse::<f64>().unwrap())
        .sum::<f64>()
        / TICKS
}

/// A connection that does no more than HTTP/1.1 asks for.
struct Caller {
    stream: BufReader<TcpStream>,
    request: Vec<u8>,
    line: String,
    body: Vec<u8>,
}

impl Caller {
    async fn open(address: &str, request: &Request) -> Self {
        let Request {
            method,
            path,
            token,
            body,
        } = request;
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        Self {
            stream: BufReader::with_capacity(128 * 1024, stream),
            request: request.into_bytes(),
            line: String::new(),
            body: Vec::new(),
        }
    }

    async fn call(&mut self) {
        let stream = self.stream.get_mut();
        stream.write_all(&self.request).await.unwrap();
        let (line, mut length) = (&mut self.line, 0);
        line.clear();
        self.stream.read_line(line).await.unwrap();
        assert!(line.starts_with("HTTP/1.1 200"), "{line}");
        while line != "\r\n" {
            line.clear();
            self.stream.read_line(line).await.unwrap();
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.trim().parse().unwrap();
            }
        }
        self.body.resize(length, 0);
        self.stream.read_exact(&mut self.body).await.unwrap();
    }
}

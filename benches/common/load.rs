//! Load: connections that each send their next request when they have the answer to the last.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::turns::{spread, take_turns};

/// Clock ticks a second, in which Linux counts processor time.
const TICKS: f64 = 100.0;

/// The last number of a request.
static COUNT: AtomicU64 = AtomicU64::new(0);

/// What stands for a number in a body, which is another in each request of a connection.
pub const NUMBER: &str = "##########";

/// A request as it goes over the wire.
pub struct Request {
    pub method: &'static str,
    pub path: String,
    pub token: String,
    /// May have [`NUMBER`] in it.
    pub body: String,
}

impl Request {
    /// As a server of that address gets it.
    pub fn bytes(&self, address: &str) -> Vec<u8> {
        let Self {
            method,
            path,
            token,
            body,
        } = self;
        let length = body.len();
        format!(
            "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        )
        .into_bytes()
    }
}

/// A server, and what each connection asks it.
pub struct Target {
    pub address: String,
    pub pid: u32,
    pub requests: Vec<Request>,
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

/// Has the API and the bare route of a Valkey take turns, and prints the row of a table. The first
/// one changes from round to round.
pub async fn compare(
    name: &str,
    valkey: u32,
    (rounds, length): (usize, Duration),
    api: &Target,
    bare: &Target,
) {
    let measured = take_turns(
        rounds,
        async |_| run(api, valkey, length).await,
        async |_| run(bare, valkey, length).await,
    )
    .await;
    let measured = &measured[1..];
    let share = spread(measured, |(api, bare)| api.rate / bare.rate);
    let of = |of: fn(&Round) -> f64| {
        let api = spread(measured, |(api, _)| of(api)).median;
        (api, spread(measured, |(_, bare)| of(bare)).median)
    };
    let (rate, p50, p99) = (of(|it| it.rate), of(|it| it.p50), of(|it| it.p99));
    let (server, valkey) = (of(|it| it.server), of(|it| it.valkey));
    println!(
        "| {name} | {} | {:.0} | {:.0} | {:.2} ({:.2} to {:.2}) | {:.2}, {:.2} ms \
         | {:.2}, {:.2} ms | {:.0}, {:.0} µs | {:.0}, {:.0} µs |",
        api.requests.len(),
        rate.0,
        rate.1,
        share.median,
        share.least,
        share.most,
        p50.0,
        p99.0,
        p50.1,
        p99.1,
        server.0,
        valkey.0,
        server.1,
        valkey.1,
    );
}

/// The head of the table.
pub fn head() {
    println!(
        "| request | connections | requests/s | bare route | share, median (least to most) \
         | p50, p99 | bare route | processor time: API, Valkey | bare route, Valkey |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
}

/// Sends requests for so long, one of each connection at a time.
async fn run(target: &Target, valkey: u32, length: Duration) -> Round {
    let mut callers = Vec::new();
    for request in &target.requests {
        callers.push(Caller::open(&target.address, request).await);
    }
    let server = target.pid;
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
    /// Where the number stands.
    numbers: Vec<usize>,
    line: String,
    body: Vec<u8>,
}

impl Caller {
    async fn open(address: &str, request: &Request) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let numbers = request.body.match_indices(NUMBER);
        let bytes = request.bytes(address);
        let before = bytes.len() - request.body.len();
        Self {
            stream: BufReader::with_capacity(128 * 1024, stream),
            numbers: numbers.map(|(at, _)| before + at).collect(),
            request: bytes,
            line: String::new(),
            body: Vec::new(),
        }
    }

    async fn call(&mut self) {
        if !self.numbers.is_empty() {
            let number = COUNT.fetch_add(1, Ordering::Relaxed);
            let number = format!("{number:010}");
            for &at in &self.numbers {
                self.request[at..at + NUMBER.len()].copy_from_slice(number.as_bytes());
            }
        }
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

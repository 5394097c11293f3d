//! The time from a change to its frame, at many sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::idle::{open, resident};
use crate::load::{NUMBER, Request};
use crate::parts::{Parts, apply_body, token};
use crate::turns::{spread, take_turns};

/// How many sockets there are, and how many changes of a round.
const SIZES: [(usize, usize); 3] = [(1, 300), (1_000, 20), (10_000, 5)];
const DEVICES_PER_USER: usize = 100;
/// Sockets that are opened at a time.
const OPENING: usize = 64;
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn measure(parts: &Parts, rounds: usize) {
    let share = &parts.shares[1];
    let grant = format!("/api/v1/shares/{share}/grants/groups/all");
    parts.call("PUT", &grant, &json!({"level": "read"})).await;
    let users = SIZES.map(|it| it.0).into_iter().max().unwrap_or_default() / DEVICES_PER_USER;
    let tokens: Vec<String> = (0..users)
        .map(|user| token(&format!("user{user}")))
        .collect();
    stream::iter(0..users * DEVICES_PER_USER)
        .for_each_concurrent(OPENING, |at| {
            let token = &tokens[at / DEVICES_PER_USER];
            async move { parts.register(token, &device(at)).await }
        })
        .await;
    println!(
        "\n| change → frame, sockets | p50, p99 | bare broadcaster | times as long, p50, p99 (median) \
         | memory of the API, each | bare |"
    );
    println!("|---|---|---|---|---|---|");
    for (size, changes) in SIZES {
        let api = |at: usize| {
            let token = &tokens[at / DEVICES_PER_USER % users];
            upgrade(
                &parts.address(),
                &format!("/api/v1/sync/ws/{}", device(at)),
                token,
            )
        };
        let bare = |_: usize| upgrade(&parts.bare.address, &format!("/ws/{share}"), "");
        let path = "/api/v1/sync/apply";
        let (address, pid) = (parts.address(), parts.deployment.api.pid());
        let api = async |_| side(parts, &address, pid, (size, changes), &api, path).await;
        let (address, pid) = (&parts.bare.address, parts.bare.pid());
        let bare = async |_| side(parts, address, pid, (size, changes), &bare, "/apply").await;
        let measured = take_turns(rounds, api, bare).await;
        // Memory that one round has freed is used again by the next.
        let memory = (measured[0].0.memory, measured[0].1.memory);
        let median = |of: fn(&(Side, Side)) -> f64| spread(&measured[1..], of).median;
        println!(
            "| {size} | {:.2}, {:.2} ms | {:.2}, {:.2} ms | {:.2}, {:.2} | {:.1} KB | {:.1} KB |",
            median(|it| it.0.p50),
            median(|it| it.0.p99),
            median(|it| it.1.p50),
            median(|it| it.1.p99),
            median(|it| it.0.p50 / it.1.p50),
            median(|it| it.0.p99 / it.1.p99),
            memory.0 / 1e3,
            memory.1 / 1e3,
        );
    }
}

fn device(at: usize) -> String {
    format!("d{at}")
}

fn upgrade(address: &str, path: &str, token: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

/// What came of one side in a round.
struct Side {
    /// Times from the sending of a change to a frame, in ms.
    p50: f64,
    p99: f64,
    /// Bytes of memory for each socket.
    memory: f64,
}

async fn side(
    parts: &Parts,
    address: &str,
    pid: u32,
    (size, changes): (usize, usize),
    request: &dyn Fn(usize) -> String,
    apply: &str,
) -> Side {
    let before = resident(pid);
    let (heard, mut hearing) = mpsc::unbounded_channel();
    let sockets = Arc::new(Mutex::new(JoinSet::new()));
    stream::iter(0..size)
        .for_each_concurrent(OPENING, |at| {
            let (request, heard, sockets) = (request(at), heard.clone(), sockets.clone());
            async move {
                let socket = subscribe(address, &request).await;
                sockets.lock().await.spawn(listen(socket, heard));
            }
        })
        .await;
    let memory = (resident(pid) - before) as f64 / size as f64;
    let mut times = Vec::new();
    let mut caller = TcpStream::connect(address).await.unwrap();
    caller.set_nodelay(true).unwrap();
    let mut answer = vec![0; 64 * 1_024];
    for _ in 0..changes {
        let body = apply_body(&parts.shares[1]);
        let body = body.replace(
            NUMBER,
            &format!("s{:09}", COUNT.fetch_add(1, Ordering::Relaxed)),
        );
        let change = Request {
            method: "POST",
            path: apply.to_owned(),
            token: parts.token.clone(),
            body,
        };
        let begun = Instant::now();
        caller.write_all(&change.bytes(address)).await.unwrap();
        for _ in 0..size {
            let heard = timeout(PATIENCE, hearing.recv()).await;
            let at: Instant = heard.expect("a frame").unwrap();
            times.push(at.duration_since(begun).as_secs_f64() * 1e3);
        }
        let read = caller.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200"));
    }
    times.sort_by(f64::total_cmp);
    Side {
        p50: times[times.len() / 2],
        p99: times[times.len() * 99 / 100],
        memory,
    }
}

static COUNT: AtomicUsize = AtomicUsize::new(0);

/// A socket that has been told that it is subscribed.
async fn subscribe(address: &str, request: &str) -> BufReader<TcpStream> {
    let mut socket = open(address, request, "101").await;
    let text = br#"{"type":"subscribe"}"#;
    // Masked with zeros.
    let mut frame = vec![0x81, 0x80 | text.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(text);
    socket.get_mut().write_all(&frame).await.unwrap();
    let frame = text_frame(&mut socket).await.unwrap();
    assert!(String::from_utf8(frame).unwrap().contains("subscribed"));
    socket
}

/// Says when frames come, until the socket or the round ends.
async fn listen(mut socket: BufReader<TcpStream>, heard: mpsc::UnboundedSender<Instant>) {
    while let Ok(frame) = text_frame(&mut socket).await {
        let now = Instant::now();
        let is_change = frame.starts_with(br#"{"event_type":"change""#);
        assert!(is_change, "{}", String::from_utf8_lossy(&frame));
        if heard.send(now).is_err() {
            return;
        }
    }
}

/// The next text frame.
async fn text_frame(socket: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    loop {
        let kind = socket.read_u8().await? & 0x0f;
        let length = match socket.read_u8().await? {
            126 => socket.read_u16().await?.into(),
            127 => socket.read_u64().await?,
            length => length.into(),
        };
        let mut payload = vec![0; length as usize];
        socket.read_exact(&mut payload).await?;
        if kind == 1 {
            return Ok(payload);
        }
        // Pings are not answered in so short a time.
        assert_ne!(
            kind,
            8,
            "closed with {:?}",
            String::from_utf8_lossy(&payload)
        );
    }
}

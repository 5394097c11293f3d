//! Connections on which nothing moves, too many of them, and requests without a host, on every
//! server of Sluice.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_test_support::free_port;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Deployment, PATIENCE, Process, eventually, read};

const SHORT: [(&str, &str); 2] = [
    ("SLUICE_HTTP_HEAD_SECS", "1"),
    ("SLUICE_HTTP_IDLE_SECS", "1"),
];
const PATH: &str = "/api/sync/session/documents";

/// The Convex-compatible store with settings of its own.
async fn convex(settings: &[(&str, &str)]) -> (String, Process, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let address = format!("127.0.0.1:{}", free_port());
    let data = folder.path().to_str().unwrap();
    let process = Process::start(&["convex", "--data", data, "--listen", &address], settings);
    eventually("the store listens", async || {
        TcpStream::connect(&address).await.is_ok()
    })
    .await;
    (address, process, folder)
}

/// What the server says after `request`, up to the end of the first answer's head.
async fn say(stream: &mut TcpStream, request: &str) -> String {
    // The server may have closed the connection before it was asked.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        match timeout(PATIENCE, stream.read_u8()).await.unwrap() {
            Ok(byte) => answer.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(answer).unwrap()
}

async fn until_closed(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    // Reset or in order, it is at an end.
    let _ = timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the connection stays open");
}

async fn ends_silent_slow_and_idle_connections(address: &str) {
    let silent = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        until_closed(&mut stream).await;
    };
    let slow = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut head = "GET /healthz HTTP/1.1\r\nhost: a\r\nx: ".to_owned();
        let slow = async {
            while stream.write_all(head.as_bytes()).await.is_ok() {
                head = "x".to_owned();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(PATIENCE, slow)
            .await
            .expect("the head may go on and on");
    };
    let idle = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let answer = say(&mut stream, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.1 "), "{answer}");
        until_closed(&mut stream).await;
    };
    tokio::join!(silent, slow, idle);
}

#[tokio::test]
async fn every_server_ends_connections_on_which_nothing_moves() {
    let deployment = Deployment::without_workers(&SHORT).await;
    let worker = format!("127.0.0.1:{}", free_port());
    let _worker = deployment.worker_with(&[("SLUICE_WORK_LISTEN", &worker)]);
    let (convex, _convex, _folder) = convex(&SHORT).await;
    eventually("the worker listens", async || {
        TcpStream::connect(&worker).await.is_ok()
    })
    .await;
    let api = deployment.client.address("").replace("http://", "");
    tokio::join!(
        ends_silent_slow_and_idle_connections(&api),
        ends_silent_slow_and_idle_connections(&worker),
        ends_silent_slow_and_idle_connections(&convex),
    );
}

#[tokio::test]
async fn sockets_and_event_streams_outlive_the_time_of_idle_connections() {
    let deployment = Deployment::without_workers(&SHORT).await;
    let client = &deployment.client;
    let token = client.token("service", "docs:read docs:write", 600);
    let put = async |method: &str, path: &str, body: &Value| {
        let request = client.request(method, path).bearer_auth(&token).json(body);
        read(request.send().await.unwrap()).await
    };
    put("POST", PATH, &json!({"id": "a", "data": {}})).await;

    let api = client.address("").replace("http://", "");
    let mut upgrade = format!("ws://{api}{PATH}/ws")
        .into_client_request()
        .unwrap();
    let bearer = format!("Bearer {token}").parse().unwrap();
    upgrade.headers_mut().insert("authorization", bearer);
    let stream = TcpStream::connect(&api).await.unwrap();
    let (mut socket, _) = client_async(upgrade, stream).await.unwrap();
    let subscribe = json!({"type": "subscribe", "id": "a", "revision": 1}).to_string();
    socket.send(Message::text(subscribe)).await.unwrap();
    let events = client.request("GET", &format!("{PATH}/a/events"));
    let mut events = events.bearer_auth(&token).send().await.unwrap();

    // One that has been idle since then is at its end before.
    let mut idle = TcpStream::connect(&api).await.unwrap();
    say(&mut idle, "GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n").await;
    until_closed(&mut idle).await;

    let (status, _) = put("PUT", &format!("{PATH}/a"), &json!({"data": {"b": 1}})).await;
    assert_eq!(status, StatusCode::OK);
    let told = async {
        while let Some(Ok(frame)) = socket.next().await {
            if frame.to_text().unwrap().contains(r#""revision":2"#) {
                return;
            }
        }
        panic!("the socket was closed");
    };
    timeout(PATIENCE, told).await.unwrap();
    let told = async {
        while let Some(chunk) = events.chunk().await.unwrap() {
            if String::from_utf8_lossy(&chunk).contains("id: 2") {
                return;
            }
        }
        panic!("the stream has ended");
    };
    timeout(PATIENCE, told).await.unwrap();
}

#[tokio::test]
async fn who_comes_beyond_the_limit_is_refused_until_there_is_room() {
    let (address, _convex, _folder) = convex(&[("SLUICE_HTTP_CONNECTIONS", "2")]).await;
    let request = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    let mut kept = Vec::new();
    let mut refusal = String::new();
    eventually("there is no room", async || {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        refusal = say(&mut stream, request).await;
        kept.push(stream);
        refusal.starts_with("HTTP/1.1 503 ")
    })
    .await;
    assert!((3..6).contains(&kept.len()), "{}", kept.len());
    assert!(refusal.contains("retry-after: "), "{refusal}");
    kept.clear();
    eventually("there is room", async || {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        !say(&mut stream, request).await.starts_with("HTTP/1.1 503 ")
    })
    .await;
}

#[tokio::test]
async fn a_request_without_a_host_or_with_two_is_refused() {
    let deployment = Deployment::without_workers(&[]).await;
    let (convex, _convex, _folder) = convex(&[]).await;
    let api = deployment.client.address("").replace("http://", "");
    for address in [&api, &convex] {
        for hosts in ["", "host: a\r\nhost: a\r\n", "host: a b\r\n"] {
            let mut stream = TcpStream::connect(address).await.unwrap();
            let request = format!("GET /healthz HTTP/1.1\r\n{hosts}\r\n");
            let answer = say(&mut stream, &request).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{hosts:?}: {answer}");
        }
    }
}

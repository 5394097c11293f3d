//! Contents on their way in and out.

use std::time::Instant;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::idle::resident;
use crate::parts::Parts;
use crate::turns::{spread, take_turns};

/// Bytes of one content, and of what a client sends at once.
const SIZE: usize = 64 << 20;
const CHUNK: usize = 256 << 10;

pub async fn measure(parts: &Parts, rounds: usize) {
    println!(
        "\n| transfer of 64 MiB | at a time | MB/s | bare route | share, median (least to most) |"
    );
    println!("|---|---|---|---|---|");
    let memory = resident(parts.deployment.api.pid());
    for files in [1, 4] {
        for is_upload in [true, false] {
            let api = async |round| {
                let path = |at| match is_upload {
                    true => format!(
                        "/api/v1/sync/upload/f{at}?share_id={}&upload_id=u{files}-{round}",
                        parts.shares[at]
                    ),
                    false => format!("/api/v1/sync/download/f{at}"),
                };
                let paths = (0..files).map(path).collect();
                rate(&parts.address(), &parts.token, is_upload, paths).await
            };
            let bare = async |_| {
                let paths = (0..files).map(|at| format!("/files/f{at}")).collect();
                rate(&parts.bare.address, "", is_upload, paths).await
            };
            let measured = take_turns(rounds, api, bare).await;
            let measured = &measured[1..];
            if is_upload {
                keep(parts, files).await;
            }
            let share = spread(measured, |(api, bare)| api / bare);
            let name = if is_upload { "up" } else { "down" };
            println!(
                "| {name} | {files} | {:.0} | {:.0} | {:.2} ({:.2} to {:.2}) |",
                spread(measured, |it| it.0).median,
                spread(measured, |it| it.1).median,
                share.median,
                share.least,
                share.most
            );
        }
    }
    let more = resident(parts.deployment.api.pid()) - memory;
    println!(
        "\nThe API has {:.1} MB more memory than before.",
        more as f64 / 1e6
    );
}

/// Makes the last uploads the contents of files.
async fn keep(parts: &Parts, files: usize) {
    for at in 0..files {
        let share = &parts.shares[at];
        let path = format!("/api/v1/sync/upload/f{at}?share_id={share}&upload_id=last-{files}");
        let request = parts.deployment.client.request("PUT", &path);
        let request = request.bearer_auth(&parts.token).body(vec![7; SIZE]);
        let text = request.send().await.unwrap().text().await.unwrap();
        let uploaded: serde_json::Value = serde_json::from_str(&text).unwrap();
        let is_new = files == 1 || at > 0;
        let change = json!({
            "id": format!("keep-{files}"), "resource_type": "file", "resource_id": format!("f{at}"),
            "change_type": if is_new { "created" } else { "updated" },
            "new_path": is_new.then(|| format!("/f{at}")), "version_id": uploaded["version_id"],
        });
        parts.apply_all(share, &[change]).await;
    }
}

/// MB a second of all, one connection each.
async fn rate(address: &str, token: &str, is_upload: bool, paths: Vec<String>) -> f64 {
    let mut running = JoinSet::new();
    let files = paths.len();
    let begun = Instant::now();
    for path in paths {
        let (address, token) = (address.to_owned(), token.to_owned());
        running.spawn(async move { transfer(&address, &token, is_upload, &path).await });
    }
    running.join_all().await;
    (files * SIZE) as f64 / 1e6 / begun.elapsed().as_secs_f64()
}

async fn transfer(address: &str, token: &str, is_upload: bool, path: &str) {
    let method = if is_upload { "PUT" } else { "GET" };
    let length = if is_upload { SIZE } else { 0 };
    let stream = TcpStream::connect(address).await.unwrap();
    let mut stream = BufReader::with_capacity(CHUNK, stream);
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.get_mut().write_all(head.as_bytes()).await.unwrap();
    if is_upload {
        let chunk = vec![7; CHUNK];
        for _ in 0..SIZE / CHUNK {
            stream.get_mut().write_all(&chunk).await.unwrap();
        }
    }
    let (mut line, mut length) = (String::new(), 0);
    stream.read_line(&mut line).await.unwrap();
    assert!(line.starts_with("HTTP/1.1 2"), "{line}");
    while line != "\r\n" {
        line.clear();
        stream.read_line(&mut line).await.unwrap();
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
    }
    assert!(is_upload || length == SIZE);
    let mut chunk = vec![0; CHUNK];
    while length > 0 {
        let read = stream.read(&mut chunk).await.unwrap();
        assert!(read > 0, "the answer ends early");
        length -= read;
    }
}

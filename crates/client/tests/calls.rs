//! How calls are made, against a server that answers as a script says.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use sluice_client::{ChangesFrom, Client, ClientConfig, ClientError, Content, NewContent, hex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What is answered to a request, byte for byte; the connection ends then.
type Answer = Vec<u8>;

/// A server that gives one answer after the other.
struct Script {
    client: Client,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Script {
    async fn of(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let api = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        tokio::spawn(async move {
            for answer in answers {
                let (mut connection, _) = listener.accept().await.unwrap();
                let asked = request(&mut connection).await;
                heard.lock().unwrap().push(asked);
                connection.write_all(&answer).await.unwrap();
                connection.shutdown().await.unwrap();
            }
        });
        let config = ClientConfig::new(api.parse().unwrap(), || "a token".to_owned());
        let client = Client::new(config).unwrap();
        Self { client, asked }
    }

    /// The requests as they came in, heads and bodies.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// Reads one request whole.
async fn request(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = connection.read(&mut buffer).await.unwrap();
        text.extend_from_slice(&buffer[..read]);
        let shown = String::from_utf8_lossy(&text).to_lowercase();
        if let Some((head, body)) = shown.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|it| it.strip_prefix("content-length: "));
            let length: usize = length.map_or(0, |it| it.trim().parse().unwrap());
            if body.len() >= length {
                return shown;
            }
        }
        assert!(read > 0, "half a request: {shown}");
    }
}

fn answer(status: &str, headers: &str, body: &str) -> Answer {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\n{headers}connection: close");
    format!("{head}\r\n\r\n{body}").into_bytes()
}

fn sha256(text: &str) -> String {
    hex(&Sha256::digest(text))
}

const PAGE: &str = r#"{"changes":[],"cursor":7,"has_more":false,"share_id":"s","floor":1,"last_change_id":"chg_7"}"#;

fn from(cursor: u64) -> ChangesFrom<'static> {
    ChangesFrom {
        cursor,
        since: Some("chg_1"),
        limit: 10,
        wait: Duration::ZERO,
    }
}

#[tokio::test]
async fn a_call_is_made_again_while_the_server_says_to_come_again() {
    let busy = answer(
        "503 Service Unavailable",
        "",
        r#"{"detail":"busy","code":"UNAVAILABLE"}"#,
    );
    let script = Script::of(vec![
        busy.clone(),
        Vec::new(),
        busy,
        answer("200 OK", "", PAGE),
    ])
    .await;
    let page = script.client.changes("s", from(1)).await.unwrap();
    assert_eq!(
        (page.cursor, page.last_change_id.as_deref()),
        (7, Some("chg_7"))
    );
    let asked = script.asked();
    assert_eq!(asked.len(), 4);
    assert!(asked.iter().all(|it| it == &asked[0]), "{asked:?}");
    assert!(asked[0].contains("get /api/v1/sync/changes?share_id=s&cursor=1&limit=10&since=chg_1"));
    assert!(asked[0].contains("authorization: bearer a token"));
}

#[tokio::test]
async fn a_refusal_is_final_and_says_whether_to_take_a_snapshot() {
    let body = r#"{"detail":"gone","code":"SYNC_CURSOR_INVALID","reset":true,"reason":"expired"}"#;
    let script = Script::of(vec![answer("400 Bad Request", "", body)]).await;
    let error = script.client.changes("s", from(1)).await.unwrap_err();
    assert!(error.is_reset() && !error.is_transient(), "{error}");
    assert_eq!(error.code(), "SYNC_CURSOR_INVALID");
    assert_eq!(script.asked().len(), 1);
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off_and_is_checked() {
    let text = "a content of some length";
    let mut half = answer("200 OK", "", text);
    half.truncate(half.len() - 10);
    let rest = answer("206 Partial Content", "", &text[text.len() - 10..]);
    let script = Script::of(vec![half, rest]).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("part");
    let digest = sha256(text);
    let size = text.len() as u64;
    let content = Content {
        file: "f",
        version: "v",
        size,
        sha256: &digest,
    };
    script.client.download(&content, &target).await.unwrap();
    assert_eq!(fs::read_to_string(&target).unwrap(), text);
    let asked = script.asked();
    let range = format!("range: bytes={}-", text.len() - 10);
    assert!(asked[1].contains(&range), "{}", asked[1]);
    assert!(
        asked[1].contains(&format!("if-range: \"sha256-{digest}\"")),
        "{}",
        asked[1]
    );
}

#[tokio::test]
async fn another_content_than_was_asked_for_is_not_kept() {
    let script = Script::of(vec![answer("200 OK", "", "wrong")]).await;
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("part");
    let digest = sha256("right");
    let content = Content {
        file: "f",
        version: "v",
        size: 5,
        sha256: &digest,
    };
    let error = script.client.download(&content, &target).await.unwrap_err();
    assert!(matches!(error, ClientError::Digest), "{error}");
    assert!(!target.exists());
}

#[tokio::test]
async fn an_upload_goes_on_where_the_server_says() {
    let text = "x".repeat(5_000_000);
    let digest = sha256(&text);
    let made = format!(
        r#"{{"version_id":"ver_1","size":{},"sha256":"{digest}"}}"#,
        text.len()
    );
    let offset = "upload-offset: 4194304\r\nupload-length: 5000000\r\n";
    let script = Script::of(vec![
        answer("204 No Content", offset, ""),
        answer("200 OK", "", &made),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("file");
    fs::write(&source, &text).unwrap();
    let size = text.len() as u64;
    let new = NewContent {
        share: "s",
        file: "f",
        upload: "u",
        size,
        sha256: &digest,
        mime: None,
    };
    let uploaded = script.client.upload(&new, &source).await.unwrap();
    assert_eq!(uploaded.version_id, "ver_1");
    let asked = script.asked();
    assert!(asked[0].starts_with("head "), "{}", &asked[0][..200]);
    assert!(asked[1].contains("offset=4194304"), "{}", &asked[1][..200]);
    let (_, body) = asked[1].split_once("\r\n\r\n").unwrap();
    assert_eq!(body.len(), text.len() - 4_194_304);
}

#[tokio::test]
async fn a_file_that_has_another_length_by_now_is_not_uploaded() {
    let script = Script::of(Vec::new()).await;
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("file");
    fs::write(&source, "longer").unwrap();
    let digest = sha256("short");
    let new = NewContent {
        share: "s",
        file: "f",
        upload: "u",
        size: 5,
        sha256: &digest,
        mime: None,
    };
    let error = script.client.upload(&new, &source).await.unwrap_err();
    assert!(matches!(error, ClientError::Changed), "{error}");
    assert!(script.asked().is_empty());
}

//! The baselines: bare axum routes in a process of their own, like the API.
//!
//! They check no token, no name and no digest, count nothing and limit nothing.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::StreamExt as _;
use redis::aio::MultiplexedConnection;
use redis::{Cmd, FromRedisValue, PushInfo, PushKind};
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;
use tokio::fs::File;
use tokio::io::AsyncWriteExt as _;
use tokio::sync::{broadcast, mpsc};
use tokio_util::io::ReaderStream;

use crate::bare_process;

/// Frames that wait for one socket.
const QUEUE: usize = 64;
/// Bytes of a file that are read at once.
const CHUNK: usize = 64 * 1_024;

type Channels = Arc<Mutex<HashMap<String, broadcast::Sender<Utf8Bytes>>>>;

#[derive(Clone)]
struct Parts {
    valkey: MultiplexedConnection,
    library: Arc<str>,
    channels: Channels,
    folder: PathBuf,
}

impl Parts {
    async fn query<T: FromRedisValue>(&self, cmd: &Cmd) -> T {
        cmd.query_async(&mut self.valkey.clone()).await.unwrap()
    }
}

pub async fn serve() {
    let (pushes, pushed) = mpsc::unbounded_channel();
    let (valkey, library) = bare_process::valkey(Some(pushes)).await;
    let channels = Channels::default();
    tokio::spawn(hand_on(pushed, channels.clone()));
    let parts = Parts {
        valkey,
        library,
        channels,
        folder: std::env::var_os("SLUICE_BENCH_FOLDER").unwrap().into(),
    };
    let router = Router::new()
        .route("/apply", post(apply))
        .route("/changes/{share}/{after}/{limit}", get(changes))
        .route("/ws/{share}", get(open))
        .route("/files/{name}", get(read).put(write))
        .with_state(parts);
    bare_process::serve(router).await;
}

/// Hands what is published on to the sockets.
async fn hand_on(mut pushed: mpsc::UnboundedReceiver<PushInfo>, channels: Channels) {
    while let Some(PushInfo { kind, data }) = pushed.recv().await {
        if kind != PushKind::SMessage {
            continue;
        }
        let mut parts = data
            .into_iter()
            .map(|it| String::from_redis_value(it).unwrap());
        let (channel, message) = (parts.next().unwrap(), parts.next().unwrap());
        let entry = message.rsplit('\t').next().unwrap();
        let frame = format!(r#"{{"event_type":"change","data":{{{entry}}}}}"#);
        if let Some(sockets) = channels.lock().unwrap().get(&channel) {
            let _ = sockets.send(frame.into());
        }
    }
}

fn key(share: &str) -> String {
    format!("sf1:{{default}}:share:{share}")
}

#[derive(Deserialize)]
struct Batch {
    device_id: String,
    share_id: String,
    base_cursor: u64,
    changes: Vec<Change>,
}

#[derive(Deserialize)]
struct Change {
    id: String,
    resource_type: String,
    resource_id: String,
    change_type: String,
    metadata: HashMap<String, Box<RawValue>>,
}

async fn apply(State(parts): State<Parts>, Json(batch): Json<Batch>) -> Response {
    let change = &batch.changes[0];
    let metadata: HashMap<_, _> = change
        .metadata
        .iter()
        .map(|(key, text)| (key, text.get()))
        .collect();
    let prepared = json!({
        "id": change.id, "k": change.resource_type, "r": change.resource_id,
        "y": change.change_type, "meta": {"x": metadata},
        "most": {"levels": 64, "bytes": 4_096, "versions": 100},
    });
    let mut cmd = redis::cmd("FCALL");
    let id = format!("{:032x}", rand::random::<u128>());
    cmd.arg(format!("{}_apply", parts.library))
        .arg(1)
        .arg(key(&batch.share_id))
        .arg(&["ann", r#"["all"]"#, &batch.device_id, ""])
        .arg(batch.base_cursor)
        .arg("")
        .arg(prepared.to_string())
        .arg("{}")
        .arg(&change.id)
        .arg(format!("chg_{id}"))
        .arg(format!("fld_{id}"))
        .arg(format!("cnf_{id}"))
        .arg(&["{}", "{}", "0"])
        .arg(format!("call_{id}"));
    let (status, item, _, last, _, _): (String, String, u64, u64, u64, u64) =
        parts.query(&cmd).await;
    assert_eq!(status, "done", "{item}");
    let body = format!(r#"{{"applied":[{item}],"conflicts":[],"cursor":{last}}}"#);
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn changes(
    State(parts): State<Parts>,
    Path((share, after, limit)): Path<(String, u64, u64)>,
) -> Response {
    let mut cmd = redis::cmd("XRANGE");
    cmd.arg(format!("{}:log", key(&share)))
        .arg(format!("{}-0", after + 1))
        .arg(&["+", "COUNT"])
        .arg(limit);
    let entries: Vec<(String, (String, String))> = parts.query(&cmd).await;
    let mut body = "[".to_owned();
    for (position, (_, entry)) in entries {
        let position = position.trim_end_matches("-0");
        body.push_str(r#"{"position":"#);
        body.push_str(position);
        body.push(',');
        body.push_str(&entry);
        body.push_str("},");
    }
    body.pop();
    body.push(']');
    ([(CONTENT_TYPE, "application/json")], body).into_response()
}

async fn open(
    State(parts): State<Parts>,
    Path(share): Path<String>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let channel = format!("{}:nudges", key(&share));
    let (frames, is_new) = {
        let mut channels = parts.channels.lock().unwrap();
        let is_new = !channels.contains_key(&channel);
        let sockets = channels.entry(channel.clone());
        let sockets = sockets.or_insert_with(|| broadcast::channel(QUEUE).0);
        (sockets.subscribe(), is_new)
    };
    if is_new {
        let mut cmd = redis::cmd("SSUBSCRIBE");
        cmd.arg(channel);
        parts.query::<redis::Value>(&cmd).await;
    }
    // As the API does, which would have an advantage else.
    let upgrade = upgrade.read_buffer_size(2 * 1024);
    upgrade.on_upgrade(|socket| tell(socket, frames))
}

async fn tell(mut socket: WebSocket, mut frames: broadcast::Receiver<Utf8Bytes>) {
    let mut send = socket.send(Message::text(r#"{"type":"subscribed"}"#)).await;
    while send.is_ok() {
        tokio::select! {
            frame = frames.recv() => {
                let Ok(frame) = frame else { return };
                send = socket.send(Message::Text(frame)).await;
            }
            message = socket.recv() => if message.is_none() { return },
        }
    }
}

async fn read(State(parts): State<Parts>, Path(name): Path<String>) -> Response {
    let file = File::open(parts.folder.join(name)).await.unwrap();
    let length = file.metadata().await.unwrap().len();
    let body = Body::from_stream(ReaderStream::with_capacity(file, CHUNK));
    ([(CONTENT_LENGTH, length)], body).into_response()
}

/// As durable as what the API has answered.
async fn write(State(parts): State<Parts>, Path(name): Path<String>, body: Body) -> StatusCode {
    let path = parts.folder.join(name);
    let mut file = File::create(&path).await.unwrap();
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        file.write_all(&chunk.unwrap()).await.unwrap();
    }
    file.sync_all().await.unwrap();
    File::open(&parts.folder)
        .await
        .unwrap()
        .sync_all()
        .await
        .unwrap();
    StatusCode::OK
}

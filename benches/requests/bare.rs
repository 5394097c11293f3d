//! The baselines: bare axum routes, each of which does one call over a connection that all requests
//! share, in a process of its own like the API.
//!
//! They check no token and no name, count nothing and limit nothing.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use redis::Cmd;
use redis::aio::MultiplexedConnection;
use serde::Deserialize;

use crate::bare_process;

#[derive(Clone)]
struct Parts {
    valkey: MultiplexedConnection,
    library: std::sync::Arc<str>,
}

impl Parts {
    async fn query<T: redis::FromRedisValue>(&self, cmd: &Cmd) -> T {
        cmd.query_async(&mut self.valkey.clone()).await.unwrap()
    }
}

pub async fn serve() {
    let (valkey, library) = bare_process::valkey(None).await;
    let parts = Parts { valkey, library };
    let router = Router::new()
        .route("/entries/{id}", get(entry))
        .route("/entries", post(entries))
        .route("/documents/{id}", get(document).post(mutate))
        .with_state(parts);
    bare_process::serve(router).await;
}

fn json(body: Option<Vec<u8>>) -> Response {
    match body {
        Some(body) => ([(CONTENT_TYPE, "application/json")], body).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn entry(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let mut cmd = redis::cmd("HGET");
    cmd.arg("sm1:{bench}:live:entries").arg(id);
    json(parts.query(&cmd).await)
}

#[derive(Deserialize)]
struct Ids {
    ids: Vec<String>,
}

async fn entries(State(parts): State<Parts>, Json(Ids { ids }): Json<Ids>) -> Response {
    let mut cmd = redis::cmd("HMGET");
    cmd.arg("sm1:{bench}:live:entries").arg(ids);
    let found: Vec<Option<Vec<u8>>> = parts.query(&cmd).await;
    let mut body = b"[".to_vec();
    for entry in found.into_iter().flatten() {
        body.extend_from_slice(&entry);
        body.push(b',');
    }
    body.pop();
    body.push(b']');
    json(Some(body))
}

fn key(id: &str, name: &str) -> String {
    format!("sd1:{{bench:{id}}}:{name}")
}

async fn document(State(parts): State<Parts>, Path(id): Path<String>) -> Response {
    let mut cmd = redis::cmd("JSON.GET");
    cmd.arg(key(&id, "document"));
    json(parts.query(&cmd).await)
}

#[derive(Deserialize)]
struct Mutations {
    mutations: Vec<Increment>,
}

#[derive(Deserialize)]
struct Increment {
    path: String,
    value: i64,
}

async fn mutate(
    State(parts): State<Parts>,
    Path(id): Path<String>,
    Json(Mutations { mutations }): Json<Mutations>,
) -> Response {
    let mut cmd = redis::cmd("FCALL");
    cmd.arg(format!("{}_mutate", parts.library))
        .arg(5)
        .arg(key(&id, "document"))
        .arg(key(&id, "changes"))
        .arg(key(&id, &format!("write:{:032x}", rand::random::<u128>())))
        .arg(key(&id, "accepted"))
        .arg(key(&id, "past"))
        .arg(&["", ""])
        .arg(1_048_576)
        .arg(key(&id, "events"))
        .arg("")
        .arg(60_000);
    for Increment { path, value } in mutations {
        let path = format!("$.data[\"{}\"]", path.trim_start_matches('/'));
        cmd.arg("increment").arg(path).arg(value);
    }
    let (status, _, _, body): (String, u64, u64, Vec<u8>) = parts.query(&cmd).await;
    assert_eq!(status, "written");
    json(Some(body))
}

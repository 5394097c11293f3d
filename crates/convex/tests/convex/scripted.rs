//! An HTTP server that answers as it is told, to see how the client bears bad transport.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::response::Response;
use futures_util::stream::{self, StreamExt};
use sluice_convex::{Client, ClientConfig};
use tokio::net::TcpListener;

/// One answer. The server gives each once, in order, and then 500s.
pub enum Answer {
    /// A status, a header and a body.
    Plain(u16, &'static str, &'static str, String),
    /// 200 and the beginning of a body, then the connection breaks.
    Broken(&'static str),
    /// 200 and the beginning of a body, then silence.
    Stuck(&'static str),
    /// Nothing at all.
    Silent,
}

pub fn ok(body: impl Into<String>) -> Answer {
    status(200, body)
}

pub fn status(status: u16, body: impl Into<String>) -> Answer {
    Answer::Plain(status, "x-none", "", body.into())
}

/// What the server was asked.
pub struct Asked {
    pub path: String,
    pub headers: HeaderMap,
    pub body: serde_json::Value,
}

#[derive(Clone)]
pub struct Scripted {
    pub url: String,
    answers: Arc<Mutex<VecDeque<Answer>>>,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Scripted {
    pub async fn start(answers: impl IntoIterator<Item = Answer>) -> Scripted {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let scripted = Scripted {
            url: format!("http://{}", listener.local_addr().unwrap()),
            answers: Arc::new(Mutex::new(answers.into_iter().collect())),
            asked: Arc::default(),
        };
        let app = Router::new().fallback(answer).with_state(scripted.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        scripted
    }

    /// A client with short time-outs.
    pub fn client(&self, retries: u32) -> Client {
        let mut config = ClientConfig::new(self.url.parse().unwrap(), "prod:cat|s3cret".into());
        config.request_timeout = Duration::from_millis(200);
        config.retries = retries;
        Client::new(config).unwrap()
    }

    /// What was asked so far; forgets it.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

async fn answer(State(scripted): State<Scripted>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    scripted.asked.lock().unwrap().push(Asked {
        path: parts.uri.to_string(),
        headers: parts.headers,
        body: serde_json::from_slice(&body).unwrap_or_default(),
    });
    let next = scripted.answers.lock().unwrap().pop_front();
    let begun = |text: &'static str| {
        stream::iter([Ok::<_, std::io::Error>(Bytes::from_static(text.as_bytes()))])
    };
    match next.unwrap_or_else(|| status(500, "the script is over")) {
        Answer::Plain(status, name, value, body) => Response::builder()
            .status(status)
            .header(name, value)
            .body(body.into())
            .unwrap(),
        Answer::Broken(text) => {
            // The pause lets what was sent arrive before the connection goes.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(30)).await;
                Err(std::io::Error::other("broken"))
            });
            Response::new(Body::from_stream(begun(text).chain(broken)))
        }
        Answer::Stuck(text) => {
            Response::new(Body::from_stream(begun(text).chain(stream::pending())))
        }
        Answer::Silent => std::future::pending().await,
    }
}

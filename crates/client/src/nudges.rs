//! Nudges over a WebSocket: that there is something to read.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::Client;
use crate::error::ClientError;

const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// The server pings every 25 s.
const SILENCE_LIMIT: Duration = Duration::from_secs(90);

/// That there is something to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nudge {
    /// Changes of a share.
    Share(String),
    /// What may have been missed: every share is to be read.
    All,
}

/// The nudges of a device.
pub struct Nudges {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
}

#[derive(Deserialize)]
struct Frame {
    #[serde(default, alias = "type")]
    event_type: String,
    #[serde(default)]
    share_id: Option<String>,
}

impl Client {
    /// Connects, and subscribes to all shares of the caller. The first nudge is [`Nudge::All`].
    ///
    /// # Errors
    /// [`ClientError::Socket`]; the caller connects again, after a pause.
    pub async fn nudges(&self, device: &str) -> Result<Nudges, ClientError> {
        let mut url = self.url(&["sync", "ws", device]);
        let scheme = if url.scheme() == "https" { "wss" } else { "ws" };
        let _ = url.set_scheme(scheme);
        let ended = |error: &dyn std::fmt::Display| ClientError::Socket(error.to_string());
        let mut request = url
            .as_str()
            .into_client_request()
            .map_err(|it| ended(&it))?;
        let bearer = HeaderValue::try_from(format!("Bearer {}", self.token()));
        let bearer = bearer.map_err(|it| ended(&it))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let connected = timeout(CONNECT_LIMIT, connect_async(request)).await;
        let connected = connected.map_err(|it| ended(&it))?;
        let (mut socket, _) = connected.map_err(|it| ended(&it))?;
        let subscribe = Message::text(json!({"type": "subscribe"}).to_string());
        socket.send(subscribe).await.map_err(|it| ended(&it))?;
        Ok(Nudges { socket })
    }
}

impl Nudges {
    /// The next nudge.
    ///
    /// # Errors
    /// [`ClientError::Socket`] when the connection has ended.
    pub async fn next(&mut self) -> Result<Nudge, ClientError> {
        loop {
            let message = timeout(SILENCE_LIMIT, self.socket.next()).await;
            let message = message.map_err(|_| ClientError::Socket("silence".to_owned()))?;
            match message {
                None => return Err(ClientError::Socket("closed".to_owned())),
                Some(Err(error)) => return Err(ClientError::Socket(error.to_string())),
                Some(Ok(Message::Close(frame))) => {
                    let why = frame.map(|it| format!("{} {}", it.code, it.reason));
                    return Err(ClientError::Socket(why.unwrap_or_default()));
                }
                Some(Ok(Message::Text(text))) => {
                    let Ok(frame) = serde_json::from_str::<Frame>(&text) else {
                        continue;
                    };
                    match (frame.event_type.as_str(), frame.share_id) {
                        ("subscribed", _) => return Ok(Nudge::All),
                        ("change" | "force_sync", Some(share)) => return Ok(Nudge::Share(share)),
                        _ => {}
                    }
                }
                Some(Ok(_)) => {}
            }
        }
    }
}

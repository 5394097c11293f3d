//! A client of WebSockets.

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::app::{App, LONG};

/// One that is open.
pub struct Socket(pub WebSocketStream<MaybeTlsStream<TcpStream>>);

/// Serves the API on a port, and returns the address of a path there.
pub async fn serve(app: &App, path: &str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = app.router.clone();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    format!("ws://{address}{path}")
}

pub async fn open(url: &str, token: Option<&str>) -> Result<Socket, Error> {
    let mut request = url.into_client_request().unwrap();
    if let Some(token) = token {
        let token = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", token);
    }
    Ok(Socket(connect_async(request).await?.0))
}

impl Socket {
    pub async fn say(&mut self, frame: Value) {
        let text = frame.to_string();
        self.0.send(Message::text(text)).await.unwrap();
    }

    /// The next frame that is not a ping.
    pub async fn frame(&mut self) -> Message {
        loop {
            let frame = tokio::time::timeout(LONG, self.0.next());
            match frame.await.expect("no frame").expect("no more frames") {
                Ok(Message::Ping(_)) => {}
                frame => return frame.unwrap(),
            }
        }
    }

    pub async fn next(&mut self) -> Value {
        let frame = self.frame().await;
        serde_json::from_str(frame.to_text().unwrap()).unwrap()
    }

    /// The code that the server closes with.
    pub async fn closed(&mut self) -> u16 {
        loop {
            if let Message::Close(frame) = self.frame().await {
                return frame.unwrap().code.into();
            }
        }
    }
}

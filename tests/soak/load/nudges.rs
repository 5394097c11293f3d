//! Listens to what the tail tells, as far as Valkey lets it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::Value;
use tokio::task::AbortHandle;
use tokio::time::sleep;

use crate::history::{Event, History};

/// Records nudges until it is dropped.
pub struct Listener(AbortHandle);

impl Listener {
    pub fn begin(valkey: String, history: Arc<History>) -> Self {
        let task = tokio::spawn(async move {
            loop {
                let _ = listen(&valkey, &history).await;
                sleep(Duration::from_millis(50)).await;
            }
        });
        Self(task.abort_handle())
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn listen(valkey: &str, history: &History) -> redis::RedisResult<()> {
    let client = redis::Client::open(valkey)?;
    let mut subscription = client.get_async_pubsub().await?;
    subscription.subscribe("st1:nudges").await?;
    let mut messages = subscription.into_on_message();
    while let Some(message) = messages.next().await {
        let nudge: Value = serde_json::from_slice(message.get_payload_bytes()).unwrap();
        let text = |field: &str| nudge[field].as_str().unwrap_or_default().to_owned();
        history.record(Event::Nudged {
            doc: text("docId"),
            ts: text("ts").parse().unwrap(),
            user: text("user"),
            id: text("id"),
        });
    }
    Ok(())
}

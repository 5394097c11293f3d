//! Listens to what the tail makes known.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use serde_json::Value;
use sluice_test_support::TestValkey;
use tokio::task::AbortHandle;

use crate::harness::eventually;

/// All nudges since [`Nudges::listen`].
pub struct Nudges {
    heard: Arc<Mutex<Vec<Value>>>,
    listener: AbortHandle,
}

impl Nudges {
    /// Listens from now on.
    pub async fn listen(valkey: &TestValkey) -> Nudges {
        Self::listen_at(valkey.url()).await
    }

    /// As [`Nudges::listen`], at any node of a cluster.
    pub async fn listen_at(url: String) -> Nudges {
        let client = redis::Client::open(url).unwrap();
        let mut subscription = client.get_async_pubsub().await.unwrap();
        subscription.subscribe("st1:nudges").await.unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let listener = tokio::spawn({
            let heard = heard.clone();
            async move {
                let mut messages = subscription.into_on_message();
                while let Some(message) = messages.next().await {
                    let nudge = serde_json::from_slice(message.get_payload_bytes()).unwrap();
                    heard.lock().unwrap().push(nudge);
                }
            }
        });
        Nudges {
            heard,
            listener: listener.abort_handle(),
        }
    }

    /// What was heard so far.
    pub fn all(&self) -> Vec<Value> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until so many were heard.
    pub async fn wait_for(&self, count: usize) {
        eventually("the nudges were heard", async || self.all().len() >= count).await;
    }
}

impl Drop for Nudges {
    fn drop(&mut self) {
        self.listener.abort();
    }
}

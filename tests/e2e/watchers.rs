//! Watchers of documents that come again when their stream ends, as clients are told to.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::harness::{Client, eventually};

/// The revisions and versions that a watcher has got, in order, by document.
#[derive(Clone, Default)]
pub struct Seen(Arc<Mutex<BTreeMap<String, Versions>>>);

/// Revisions, each with its version.
type Versions = Vec<(u64, String)>;

impl Seen {
    fn add(&self, kind: &str, id: &str, version: &str) {
        let revision = version.split('-').next().unwrap().parse().unwrap();
        assert!(
            ["present", "change"].contains(&kind),
            "{id}: {kind} {version}"
        );
        let mut seen = self.0.lock().unwrap();
        let of_id = seen.entry(id.to_owned()).or_default();
        of_id.push((revision, version.to_owned()));
    }

    /// The last version of a document, from which to go on.
    fn last(&self, id: &str) -> Option<String> {
        let seen = self.0.lock().unwrap();
        seen.get(id)?.last().map(|(_, version)| version.clone())
    }

    /// Waits until a revision of a document was seen.
    pub async fn reaches(&self, id: &str, revision: u64) {
        eventually("the watcher has seen it", async || {
            let seen = self.0.lock().unwrap();
            let last = seen.get(id).and_then(|of_id| of_id.last());
            last.is_some_and(|(last, _)| *last >= revision)
        })
        .await;
    }

    /// Every revision was seen, once and in order.
    pub fn assert_gapless(&self) {
        for (id, of_id) in self.0.lock().unwrap().iter() {
            let revisions: Vec<u64> = of_id.iter().map(|(revision, _)| *revision).collect();
            let first = revisions[0];
            let expected: Vec<u64> = (first..first + revisions.len() as u64).collect();
            assert_eq!(revisions, expected, "{id}");
        }
    }
}

/// Watches documents over a WebSocket, for ever.
pub async fn watch_by_socket(client: Client, path: &str, ids: Vec<String>, seen: Seen) {
    let address = client
        .address(&format!("{path}/ws"))
        .replace("http://", "ws://");
    loop {
        let mut request = address.clone().into_client_request().unwrap();
        let token = client.token("watcher", "docs:read", 600);
        let bearer = format!("Bearer {token}").parse().unwrap();
        request.headers_mut().insert("authorization", bearer);
        if let Ok((mut socket, _)) = connect_async(request).await {
            for id in &ids {
                let subscribe = json!({"type": "subscribe", "id": id, "revision": seen.last(id)});
                let _ = socket.send(Message::text(subscribe.to_string())).await;
            }
            while let Some(Ok(message)) = socket.next().await {
                let Message::Text(text) = message else {
                    continue;
                };
                let frame: Value = serde_json::from_str(&text).unwrap();
                let kind = frame["type"].as_str().unwrap();
                if !["ready", "subscribed", "gone"].contains(&kind) {
                    let version = frame["version"]
                        .as_str()
                        .unwrap_or_else(|| panic!("{frame}"));
                    seen.add(kind, frame["id"].as_str().unwrap(), version);
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Watches a document by server-sent events, for ever.
pub async fn watch_by_events(client: Client, path: &str, id: String, seen: Seen) {
    loop {
        let token = client.token("watcher", "docs:read", 600);
        let mut request = client.request("GET", &format!("{path}/{id}/events"));
        request = request.bearer_auth(token);
        if let Some(last) = seen.last(&id) {
            request = request.header("last-event-id", last);
        }
        if let Ok(mut answer) = request.send().await {
            let mut text = String::new();
            while let Ok(Some(chunk)) = answer.chunk().await {
                text += std::str::from_utf8(&chunk).unwrap();
                while let Some((event, rest)) = text.split_once("\n\n") {
                    let field = |name: &str| event.lines().find_map(|it| it.strip_prefix(name));
                    if let Some((kind, version)) = field("event: ").zip(field("id: ")) {
                        seen.add(kind, &id, version);
                    }
                    text = rest.to_owned();
                }
            }
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

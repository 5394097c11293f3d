//! Watchers of documents by server-sent events and over WebSockets, who come back with what they
//! saw last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use eventsource_stream::Eventsource;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::call::address;
use crate::caller::Caller;
use crate::history::{Event, abridged};

/// Longer than a connection is quiet: both ways have a sign of life in between.
const SILENCE: Duration = Duration::from_secs(25);
const RETURN: Duration = Duration::from_millis(100);
/// A watcher leaves by himself after so long at most, and comes back.
const STAY_MS: u64 = 6000;

/// What every watcher has seen last of each document.
type Seen = Arc<Mutex<BTreeMap<(String, String), u64>>>;

/// Watchers until they are dropped.
pub struct Watching {
    seen: Seen,
    _tasks: JoinSet<()>,
}

impl Watching {
    pub fn begin(caller: &Caller, documents: &[String]) -> Self {
        let seen = Seen::default();
        let mut tasks = JoinSet::new();
        let mut services: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for document in documents {
            let (service, id) = document.split_once('/').unwrap();
            let service = services.entry(service.to_owned()).or_default();
            service.push(id.to_owned());
            let watcher =
                Watcher::new(format!("sse-{document}"), caller, &seen, [document.clone()]);
            tasks.spawn(watcher.by_events(document.clone()));
        }
        for (service, ids) in services {
            let all = ids.iter().map(|id| format!("{service}/{id}"));
            let watcher = Watcher::new(format!("ws-{service}"), caller, &seen, all);
            tasks.spawn(watcher.by_socket(service, ids));
        }
        Self {
            seen,
            _tasks: tasks,
        }
    }

    /// Whether every watcher of the document has come to this revision.
    pub fn have_seen(&self, document: &str, revision: u64) -> bool {
        let seen = self.seen.lock().unwrap();
        seen.iter()
            .filter(|((_, watched), _)| watched == document)
            .all(|(_, seen)| *seen >= revision)
    }
}

struct Watcher {
    name: String,
    caller: Caller,
    seen: Seen,
    /// What to come back with, by document: the event id, and the version of a frame, as they came.
    last: BTreeMap<String, Value>,
}

impl Watcher {
    fn new(
        name: String,
        caller: &Caller,
        seen: &Seen,
        documents: impl IntoIterator<Item = String>,
    ) -> Self {
        let mut all = seen.lock().unwrap();
        all.extend(documents.into_iter().map(|it| ((name.clone(), it), 0)));
        Self {
            name,
            caller: caller.clone(),
            seen: seen.clone(),
            last: BTreeMap::new(),
        }
    }

    fn saw(&self, document: &str, kind: &str, body: Value) {
        let revision = body["revision"].as_u64().unwrap_or_default();
        self.caller.history.record(Event::Seen {
            watcher: self.name.clone(),
            document: document.to_owned(),
            kind: kind.to_owned(),
            revision,
            body: abridged(body),
        });
        let place = (self.name.clone(), document.to_owned());
        self.seen.lock().unwrap().insert(place, revision);
    }

    async fn by_events(mut self, document: String) {
        loop {
            let stay = stay();
            let _ = timeout(stay, self.events(&document)).await;
            sleep(RETURN).await;
        }
    }

    async fn events(&mut self, document: &str) -> reqwest::Result<()> {
        let client = reqwest::Client::builder().read_timeout(SILENCE).build()?;
        let at = format!("{}{}/events", self.caller.api(), address(document));
        let mut request = client.get(at).bearer_auth(&self.caller.token);
        if let Some(id) = self.last.get(document).and_then(Value::as_str) {
            request = request.header("last-event-id", id);
        }
        let answer = request.send().await?.error_for_status()?;
        let mut events = answer.bytes_stream().eventsource();
        while let Some(Ok(event)) = events.next().await {
            let body: Value = serde_json::from_str(&event.data).unwrap();
            if event.event == "gone" {
                self.last.remove(document);
            } else {
                self.last.insert(document.to_owned(), event.id.into());
            }
            self.saw(document, &event.event, body);
        }
        Ok(())
    }

    async fn by_socket(mut self, service: String, ids: Vec<String>) {
        loop {
            let stay = stay();
            let _ = timeout(stay, self.frames(&service, &ids)).await;
            sleep(RETURN).await;
        }
    }

    async fn frames(
        &mut self,
        service: &str,
        ids: &[String],
    ) -> Result<(), tokio_tungstenite::tungstenite::Error> {
        let host = self.caller.api().trim_start_matches("http://").to_owned();
        let at = format!("ws://{host}/api/sync/{service}/documents/ws");
        let mut request = at.into_client_request()?;
        let bearer = format!("Bearer {}", self.caller.token);
        let headers = request.headers_mut();
        headers.insert("authorization", bearer.parse().unwrap());
        let stream = tokio::net::TcpStream::connect(&host).await?;
        let (mut socket, _) = tokio_tungstenite::client_async(request, stream).await?;
        for id in ids {
            let mut subscribe = json!({"type": "subscribe", "id": id});
            if let Some(version) = self.last.get(&format!("{service}/{id}")) {
                subscribe["revision"] = version.clone();
            }
            socket.send(Message::text(subscribe.to_string())).await?;
        }
        while let Ok(Some(frame)) = timeout(SILENCE, socket.next()).await {
            let Message::Text(text) = frame? else {
                continue;
            };
            let mut frame: Value = serde_json::from_str(&text).unwrap();
            let kind = frame["type"].as_str().unwrap_or_default().to_owned();
            if ["present", "change", "reset", "gone"].contains(&kind.as_str()) {
                let document = format!("{service}/{}", frame["id"].as_str().unwrap());
                if kind == "gone" {
                    // Subscribed anew when the connection is.
                    self.last.remove(&document);
                } else {
                    self.last.insert(document.clone(), frame["version"].clone());
                }
                self.saw(&document, &kind, frame["document"].take());
            }
        }
        Ok(())
    }
}

fn stay() -> Duration {
    Duration::from_millis(rand::random_range(STAY_MS / 10..STAY_MS))
}

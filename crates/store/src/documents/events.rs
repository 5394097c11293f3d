//! Watching documents: what has changed, and when it is time to look.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, RedisResult};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::keys::{EVENTS_PATTERN, Keys};
use super::{Document, DocumentError, Documents, Version};
use crate::Script;

static CHANGES: LazyLock<Script> = LazyLock::new(|| {
    Script::new(
        "document_changes",
        include_str!("../../../../lua/documents/changes.lua"),
    )
});

/// Changes read at once, which bounds an answer to as many times the size of a document.
const CHUNK: usize = 8;
/// What the script can count up; no document gets there.
const MAX_REVISION: u64 = (1 << 53) - 2;
/// The mean pause before another attempt to subscribe.
const PAUSE: Duration = Duration::from_millis(500);
/// The subscription must answer a PING this often …
const CHECK: Duration = Duration::from_secs(10);
/// … within this time, which is also the longest wait for a new one.
const LIMIT: Duration = Duration::from_secs(5);

/// What has become of a document since a revision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changes {
    /// As it is; there was no revision to begin from.
    Present(Document),
    /// As each write left it, oldest first; empty when there was none, not always all of them.
    Since(Vec<Document>),
    /// As it is; what was in between is not known any more, or the revision is none of this
    /// document.
    Reset(Document),
}

impl Documents {
    /// What has become of a document, deleted or not, since it was at the revision `after`.
    ///
    /// # Errors
    /// [`DocumentError::NotFound`], [`DocumentError::NoJsonModule`], [`DocumentError::Store`].
    pub async fn changes(
        &self,
        service: &str,
        id: &str,
        after: Option<Version>,
    ) -> Result<Changes, DocumentError> {
        self.check_module().await?;
        let keys = Keys::new(service, id);
        let mut cmd = CHANGES.command(&[&keys.document, &keys.changes]);
        let text = |number: Option<u64>| number.map(|it| it.to_string()).unwrap_or_default();
        cmd.arg(text(after.map(|it| it.revision.min(MAX_REVISION))))
            .arg(CHUNK)
            .arg(text(after.and_then(|it| it.created_at)));
        let mut answer: Vec<String> = CHANGES.run(&self.valkey, &cmd).await?;
        let documents = answer.split_off(answer.len().min(1));
        let mut documents: Vec<Document> = documents
            .into_iter()
            .map(Document::parse)
            .collect::<Result<_, _>>()?;
        match (answer.first().map(String::as_str), documents.pop()) {
            (Some("present"), Some(document)) => Ok(Changes::Present(document)),
            (Some("reset"), Some(document)) => Ok(Changes::Reset(document)),
            (Some("changes"), last) => {
                documents.extend(last);
                Ok(Changes::Since(documents))
            }
            _ => Err(DocumentError::NotFound),
        }
    }

    /// Tells when to look for changes of a document. Begin to watch before the first look, so that
    /// nothing is missed.
    pub fn watch(&self, service: &str, id: &str) -> Watcher {
        let hub = &self.hub;
        hub.listening.get_or_init(|| {
            tokio::spawn(listen(self.valkey.client().clone(), Arc::downgrade(hub)));
        });
        let channel = Keys::new(service, id).events;
        let receiver = hub.lock().entry(channel.clone()).or_default().subscribe();
        Watcher {
            hub: hub.clone(),
            channel,
            receiver: Some(receiver),
        }
    }
}

/// Hands nudges to those in this process who watch. A nudge says only that there is something to
/// look at, so several may become one, and after a reconnect everybody looks.
#[derive(Default)]
pub(super) struct Hub {
    listening: OnceLock<()>,
    watched: Mutex<HashMap<String, watch::Sender<()>>>,
}

impl Hub {
    fn nudge(&self, channel: &str) {
        if let Some(sender) = self.lock().get(channel) {
            sender.send_replace(());
        }
    }

    fn nudge_all(&self) {
        for sender in self.lock().values() {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, watch::Sender<()>>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The nudges of one document, for as long as somebody holds this.
pub struct Watcher {
    hub: Arc<Hub>,
    channel: String,
    receiver: Option<watch::Receiver<()>>,
}

impl Watcher {
    /// Returns at the next nudge after the last call, or after `limit`: then it is time to look all
    /// the same, for a nudge may get lost with the connection.
    pub async fn nudged(&mut self, limit: Duration) {
        if let Some(receiver) = &mut self.receiver {
            let _ = timeout(limit, receiver.changed()).await;
        }
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let mut watched = self.hub.lock();
        // Inside of the lock, so that the last one to go sees that it is the last.
        self.receiver = None;
        if let Some(sender) = watched.get(&self.channel)
            && sender.receiver_count() == 0
        {
            watched.remove(&self.channel);
        }
    }
}

/// Keeps the subscription alive for as long as the hub is.
async fn listen(client: Client, hub: Weak<Hub>) {
    while hub.strong_count() > 0 {
        match subscribe(&client).await {
            Ok((sink, stream)) => {
                receive(sink, stream, &hub).await;
                metrics::counter!("sluice_document_subscription_lost_total").increment(1);
            }
            Err(error) => tracing::debug!(%error, "cannot subscribe to nudges of documents"),
        }
        sleep(PAUSE.mul_f64(rand::random_range(0.5..1.5))).await;
    }
}

async fn subscribe(client: &Client) -> RedisResult<(PubSubSink, PubSubStream)> {
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.psubscribe(EVENTS_PATTERN).await?;
        Ok(subscription.split())
    };
    timeout(LIMIT, subscribing)
        .await
        .map_err(std::io::Error::from)?
}

/// Hands nudges on until the connection is closed or does not answer, or the hub is gone.
async fn receive(mut sink: PubSubSink, mut stream: PubSubStream, hub: &Weak<Hub>) {
    let mut check = interval_at(Instant::now() + CHECK, CHECK);
    // Nudges may have been missed.
    if let Some(hub) = hub.upgrade() {
        hub.nudge_all();
    }
    loop {
        tokio::select! {
            message = stream.next() => match (message, hub.upgrade()) {
                (Some(message), Some(hub)) => hub.nudge(message.get_channel_name()),
                _ => return,
            },
            _ = check.tick() => {
                let answer = timeout(LIMIT, sink.ping::<redis::Value>()).await;
                if !matches!(answer, Ok(Ok(_))) || hub.strong_count() == 0 {
                    return;
                }
            }
        }
    }
}

//! The one subscription of a process, and who in it wants to know.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use redis::aio::{PubSubSink, PubSubStream};
use redis::{Client, Msg, RedisResult};
use sluice_valkey::{Address, Fault};
use tokio::sync::watch;
use tokio::time::{Instant, interval_at, sleep, timeout};

use crate::keys::{CONNECT_TIMEOUT, EVENTS_CHECK, EVENTS_PATTERN, queue_of_channel};
use crate::lane::jittered;
use crate::worker::lease::Leases;

/// The mean pause before the first attempt to subscribe again, and before the later ones.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Hands events to those in this process who wait for them. An event says only that there is
/// something to look at, so several may become one, and after a reconnect everybody looks.
pub(crate) struct Hub {
    listeners: Mutex<Listeners>,
    leases: Arc<Leases>,
    subscribed: watch::Sender<bool>,
    /// Whether the user may not subscribe.
    refused: AtomicBool,
}

#[derive(Default)]
struct Listeners {
    queues: HashMap<String, watch::Sender<()>>,
    /// By job, for who wants to know of all changes, and only of the end.
    changes: HashMap<String, watch::Sender<Told>>,
    ends: HashMap<String, watch::Sender<Told>>,
}

impl Hub {
    pub fn new(leases: Arc<Leases>) -> Self {
        Self {
            listeners: Mutex::default(),
            leases,
            subscribed: watch::Sender::new(false),
            refused: AtomicBool::new(false),
        }
    }

    /// Changes when there may be something to fetch from `queue`.
    pub fn queue(&self, queue: &str) -> watch::Receiver<()> {
        self.lock()
            .queues
            .entry(queue.to_owned())
            .or_default()
            .subscribe()
    }

    /// Has those look who fetch from `queue`.
    pub fn wake(&self, queue: &str) {
        if let Some(sender) = self.lock().queues.get(queue) {
            sender.send_replace(());
        }
    }

    /// Tells when the job (the ULID part of its id) may have changed.
    pub fn changes_of(self: &Arc<Self>, job: &str) -> JobEvents {
        self.listen(job, |listeners| &mut listeners.changes)
    }

    /// Tells when the job may have ended.
    pub fn end_of(self: &Arc<Self>, job: &str) -> JobEvents {
        self.listen(job, |listeners| &mut listeners.ends)
    }

    fn listen(self: &Arc<Self>, job: &str, jobs: Jobs) -> JobEvents {
        let receiver = jobs(&mut self.lock())
            .entry(job.to_owned())
            .or_default()
            .subscribe();
        JobEvents {
            hub: self.clone(),
            job: job.to_owned(),
            jobs,
            receiver: Some(receiver),
        }
    }

    /// Whether the user that this process connects as may not subscribe.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    /// Whether events arrive at present.
    pub fn subscribed(&self) -> watch::Receiver<bool> {
        self.subscribed.subscribe()
    }

    fn dispatch(&self, message: &Msg) {
        let Ok(text) = std::str::from_utf8(message.get_payload_bytes()) else {
            return;
        };
        let mut words = text.split(' ');
        match words.next() {
            Some("wake") => {
                let queue = queue_of_channel(message.get_channel_name());
                if let Some(queue) = queue {
                    self.wake(queue);
                }
            }
            Some("moved") => {
                let listeners = self.lock();
                words.for_each(|job| poke(&listeners.changes, job, Told::Look));
            }
            Some(end @ ("ended" | "done")) => {
                let told = if end == "done" {
                    Told::Done
                } else {
                    Told::Look
                };
                let listeners = self.lock();
                words.for_each(|job| {
                    poke(&listeners.changes, job, told);
                    poke(&listeners.ends, job, told);
                });
            }
            Some("cancel") => words.for_each(|job| self.leases.cancel(job)),
            // A later version may say more.
            _ => {}
        }
    }

    /// Makes everybody look: events may have been missed.
    fn poke_all(&self) {
        let listeners = self.lock();
        listeners.queues.values().for_each(|sender| {
            sender.send_replace(());
        });
        for all in [&listeners.changes, &listeners.ends] {
            all.values().for_each(|sender| {
                sender.send_replace(Told::Look);
            });
        }
    }

    fn lock(&self) -> MutexGuard<'_, Listeners> {
        self.listeners
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who listens to jobs, of one kind of event.
type Jobs = fn(&mut Listeners) -> &mut HashMap<String, watch::Sender<Told>>;

/// What an event says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Told {
    /// It may have changed.
    #[default]
    Look,
    /// It is completed, its result is null.
    Done,
}

fn poke(jobs: &HashMap<String, watch::Sender<Told>>, job: &str, told: Told) {
    // Mostly nobody of this process waits for anything.
    if !jobs.is_empty()
        && let Some(sender) = jobs.get(job)
    {
        sender.send_replace(told);
    }
}

/// The events of one job, for as long as somebody holds this.
pub(crate) struct JobEvents {
    hub: Arc<Hub>,
    job: String,
    jobs: Jobs,
    receiver: Option<watch::Receiver<Told>>,
}

impl JobEvents {
    /// Returns at the next event after the last call, or after `limit`.
    pub async fn changed(&mut self, limit: Duration) -> Told {
        let Some(receiver) = &mut self.receiver else {
            return Told::Look;
        };
        match timeout(limit, receiver.changed()).await {
            Ok(_) => *receiver.borrow_and_update(),
            // An elapsed limit is as good a reason to look as an event.
            Err(_) => Told::Look,
        }
    }
}

impl Drop for JobEvents {
    fn drop(&mut self) {
        let mut listeners = self.hub.lock();
        // Inside of the lock, so that the last one to go sees that it is the last.
        self.receiver = None;
        let jobs = (self.jobs)(&mut listeners);
        if let Some(sender) = jobs.get(&self.job)
            && sender.receiver_count() == 0
        {
            jobs.remove(&self.job);
        }
    }
}

/// Keeps the subscription alive until it is dropped.
pub(crate) async fn listen(address: Address, hub: Arc<Hub>) {
    let mut pause = PAUSES.0;
    // A cluster's nodes tell each other of events, so any of them will do.
    for turn in 0.. {
        match subscribe(address.node(turn)).await {
            Ok((sink, stream)) => {
                pause = PAUSES.0;
                hub.refused.store(false, Ordering::Relaxed);
                hub.subscribed.send_replace(true);
                hub.poke_all();
                receive(sink, stream, &hub).await;
                hub.subscribed.send_replace(false);
                metrics::counter!("sluice_queue_subscription_lost_total").increment(1);
                tracing::warn!("lost the subscription to queue events, polling until it is back");
            }
            // The operator has to give the user the channels, or the new password.
            Err(error) if Fault::of(&error) == Fault::AccessDenied => {
                if !hub.refused.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "Valkey refuses the subscription to queue events, polling instead");
                }
            }
            Err(error) => tracing::debug!(%error, "cannot subscribe to queue events"),
        }
        sleep(jittered(pause)).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

async fn subscribe(client: &Client) -> RedisResult<(PubSubSink, PubSubStream)> {
    let subscribing = async {
        let mut subscription = client.get_async_pubsub().await?;
        subscription.psubscribe(EVENTS_PATTERN).await?;
        Ok(subscription.split())
    };
    timeout(CONNECT_TIMEOUT, subscribing)
        .await
        .map_err(std::io::Error::from)?
}

/// Hands events on until the connection is closed, or does not answer a PING.
async fn receive(mut sink: PubSubSink, mut stream: PubSubStream, hub: &Hub) {
    let mut check = interval_at(Instant::now() + EVENTS_CHECK, EVENTS_CHECK);
    loop {
        tokio::select! {
            message = stream.next() => match message {
                Some(message) => hub.dispatch(&message),
                None => return,
            },
            _ = check.tick() => {
                let answer = timeout(CONNECT_TIMEOUT, sink.ping::<redis::Value>()).await;
                if !matches!(answer, Ok(Ok(_))) {
                    return;
                }
            }
        }
    }
}

//! Notifications: one subscription a process and node, handed on to those in the process who
//! listen.
//!
//! A notification is a hint that there is something to look at. It may get lost with a connection,
//! so whoever listens also looks when the subscription stands (again), and now and then without a
//! hint. Channels are sharded ones: they lie in the slot of their name, and a message costs the
//! nodes of that slot alone.

mod link;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use sluice_retry::Pauses;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::slot::slot_of;
use crate::topology::Topology;
use link::Command;

/// The pause before the first attempt to subscribe again, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a listener gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The subscription stands. Whatever was published before may have been missed.
    Subscribed,
    /// A message.
    Message(&'a [u8]),
}

type Listen = Arc<dyn Fn(Notice<'_>) + Send + Sync>;

/// The notifications of one Valkey.
pub struct Hub {
    topology: Arc<Topology>,
    channels: Mutex<HashMap<String, Channel>>,
    /// By address of a node.
    links: Mutex<HashMap<String, UnboundedSender<Command>>>,
    pauses: Mutex<Pauses>,
    last_id: AtomicU64,
    /// Whether the user may not subscribe.
    is_refused: AtomicBool,
}

struct Channel {
    listeners: HashMap<u64, Listen>,
    live: watch::Sender<bool>,
}

/// A listener, for as long as this is held.
pub struct Subscription {
    hub: Weak<Hub>,
    channel: String,
    id: u64,
    live: watch::Receiver<bool>,
}

impl Hub {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self {
            topology,
            channels: Mutex::default(),
            links: Mutex::default(),
            pauses: Mutex::new(Pauses::new(PAUSES.0, PAUSES.1)),
            last_id: AtomicU64::new(0),
            is_refused: AtomicBool::new(false),
        }
    }

    /// Listens to a channel from now on. `listen` must return at once. It is called when the
    /// subscription stands, which may be at any time after this, and at each message.
    pub fn subscribe(
        self: &Arc<Self>,
        channel: &str,
        listen: impl Fn(Notice<'_>) + Send + Sync + 'static,
    ) -> Subscription {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed);
        let listen: Listen = Arc::new(listen);
        let mut channels = self.channels();
        let is_new = !channels.contains_key(channel);
        let entry = channels
            .entry(channel.to_owned())
            .or_insert_with(Channel::new);
        entry.listeners.insert(id, listen.clone());
        let live = entry.live.subscribe();
        drop(channels);
        if is_new {
            self.route(vec![channel.to_owned()]);
        } else if *live.borrow() {
            // Not from here: the caller may hold what the listener needs.
            tokio::spawn(async move { listen(Notice::Subscribed) });
        }
        Subscription {
            hub: Arc::downgrade(self),
            channel: channel.to_owned(),
            id,
            live,
        }
    }

    /// Whether the user that this process connects as may not subscribe.
    pub fn is_refused(&self) -> bool {
        self.is_refused.load(Ordering::Relaxed)
    }

    /// Has the nodes of these channels subscribed to.
    fn route(self: &Arc<Self>, channels: Vec<String>) {
        let hub = self.clone();
        tokio::spawn(async move {
            for channel in channels {
                let slot = || slot_of(channel.as_bytes());
                match hub.topology.node(slot).await {
                    Ok(node) => {
                        let mut links = hub.links();
                        let link = links
                            .entry(node.address())
                            .or_insert_with(|| link::open(&hub, &node));
                        // One that has just ended has left the map, and routes what it is left.
                        let _ = link.send(Command::Subscribe(channel));
                    }
                    Err(_) => hub.route_later(vec![channel]),
                }
            }
        });
    }

    /// As [`Hub::route`], after a pause and with the ways learned anew.
    fn route_later(self: &Arc<Self>, channels: Vec<String>) {
        let pause = self.pauses().next_pause();
        let hub = Arc::downgrade(self);
        tokio::spawn(async move {
            sleep(pause).await;
            let Some(hub) = hub.upgrade() else { return };
            hub.topology.ask_again(Instant::now()).await;
            let wanted = channels.into_iter();
            let wanted: Vec<_> = {
                let channels = hub.channels();
                wanted.filter(|it| channels.contains_key(it)).collect()
            };
            hub.route(wanted);
        });
    }

    /// A node has confirmed a subscription.
    fn confirm(&self, channel: &str) {
        self.is_refused.store(false, Ordering::Relaxed);
        self.pauses().reset();
        let listeners = {
            let channels = self.channels();
            let Some(channel) = channels.get(channel) else {
                return;
            };
            channel.live.send_replace(true);
            channel.all()
        };
        listeners
            .iter()
            .for_each(|listen| listen(Notice::Subscribed));
    }

    /// A subscription is lost.
    fn lose(&self, channel: &str) {
        if let Some(channel) = self.channels().get(channel) {
            channel.live.send_replace(false);
        }
    }

    fn dispatch(&self, channel: &str, message: &[u8]) {
        let listeners = match self.channels().get(channel) {
            Some(channel) => channel.all(),
            None => return,
        };
        listeners
            .iter()
            .for_each(|listen| listen(Notice::Message(message)));
    }

    fn is_wanted(&self, channel: &str) -> bool {
        self.channels().contains_key(channel)
    }

    fn channels(&self) -> MutexGuard<'_, HashMap<String, Channel>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn links(&self) -> MutexGuard<'_, HashMap<String, UnboundedSender<Command>>> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pauses(&self) -> MutexGuard<'_, Pauses> {
        self.pauses.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Channel {
    fn new() -> Self {
        Self {
            listeners: HashMap::new(),
            live: watch::Sender::new(false),
        }
    }

    /// Those who listen, to be called outside of the lock.
    fn all(&self) -> Vec<Listen> {
        self.listeners.values().cloned().collect()
    }
}

/// Waits for a subscription, without holding it.
pub struct Waiter(watch::Receiver<bool>);

impl Subscription {
    /// Waits until messages arrive. Returns whether they do.
    pub async fn live(&self, limit: Duration) -> bool {
        self.waiter().live(limit).await
    }

    /// Who waits for it.
    pub fn waiter(&self) -> Waiter {
        Waiter(self.live.clone())
    }
}

impl Waiter {
    /// Waits until messages arrive. Returns whether they do.
    pub async fn live(mut self, limit: Duration) -> bool {
        let live = self.0.wait_for(|&is_live| is_live);
        matches!(timeout(limit, live).await, Ok(Ok(_)))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let mut channels = hub.channels();
        let Some(channel) = channels.get_mut(&self.channel) else {
            return;
        };
        channel.listeners.remove(&self.id);
        if channel.listeners.is_empty() {
            channels.remove(&self.channel);
            drop(channels);
            // Whichever has it.
            for link in hub.links().values() {
                let _ = link.send(Command::Unsubscribe(self.channel.clone()));
            }
        }
    }
}

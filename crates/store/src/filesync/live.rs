//! What happens in shares, while it happens: one subscription of the process to a share, handed on to
//! those who listen.
//!
//! An event says what the log says, so that it can be shown at once, but the log is the truth: an
//! event may be missed, and a listener that may have missed one is told to look.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use bytes::Bytes;
use serde::Deserialize;
use sluice_valkey::{Notice, Subscription, Valkey, Waiter};
use tokio::sync::mpsc;

use super::{Caller, Filesync, Keys};

/// Events that wait for one listener. One that is further behind has missed them.
const QUEUE: usize = 64;
/// How long a subscription may take before it is used without.
const SUBSCRIBE_LIMIT: Duration = Duration::from_secs(5);

/// A change of a share.
#[derive(Debug, PartialEq, Eq)]
pub struct Nudge {
    /// The share.
    pub share: Arc<str>,
    /// Its position.
    pub position: u64,
    /// The number of the device that made it; 0 when none did.
    pub device: u64,
    /// The ids of the node and of the folders that hold it, from its parent to the root.
    pub folders: Vec<String>,
    /// The same of where it was before, if it has moved.
    pub old_folders: Vec<String>,
    /// Whether it is about the share itself, such as a grant.
    pub is_share: bool,
    /// The change as a JSON object.
    pub change: String,
    frame: OnceLock<Bytes>,
}

impl Nudge {
    /// What all who show the change in one way are sent, rendered once.
    pub fn frame(&self, render: impl FnOnce(&Self) -> String) -> Bytes {
        let frame = self.frame.get_or_init(|| render(self).into());
        frame.clone()
    }
}

/// What a listener hears.
#[derive(Debug, Clone)]
pub enum Event {
    /// A share has changed.
    Change(Arc<Nudge>),
    /// Something of a share may have been missed.
    Missed(Arc<str>),
    /// Grants, preferences or devices have changed, as the message of the channel `access` says.
    Access(Arc<str>),
}

/// What all listeners of a process share.
#[derive(Default)]
pub(super) struct Live {
    channels: Mutex<HashMap<String, Weak<Channel>>>,
    last_id: AtomicU64,
}

/// The events of one channel of Valkey.
struct Channel {
    listeners: Mutex<Listeners>,
    /// The last position that was heard; 0 before the first.
    position: AtomicU64,
    subscription: Mutex<Option<Subscription>>,
}

/// Who listens to a channel.
#[derive(Default)]
struct Listeners {
    outlets: HashMap<u64, Outlet>,
    /// Who hears of what, of the channel `access`: a message of it concerns few of very many.
    topics: HashMap<String, HashSet<u64>>,
}

#[derive(Clone)]
struct Outlet {
    events: mpsc::Sender<Event>,
    overflowed: Arc<Mutex<Vec<Arc<str>>>>,
}

/// One who listens to shares, for as long as this is held.
pub struct Listener {
    live: Arc<Live>,
    valkey: Valkey,
    tenant: String,
    id: u64,
    topics: Vec<String>,
    outlet: Outlet,
    events: mpsc::Receiver<Event>,
    channels: HashMap<String, Arc<Channel>>,
}

impl Filesync {
    /// Begins to listen: to what is granted to a caller, to what happens to one of his devices, and
    /// to no share yet.
    pub async fn listen(&self, caller: &Caller, device: Option<Listening<'_>>) -> Listener {
        let (sender, events) = mpsc::channel(QUEUE);
        let mut listener = Listener {
            live: self.live.clone(),
            valkey: self.valkey.clone(),
            tenant: caller.tenant.clone(),
            id: self.live.last_id.fetch_add(1, Ordering::Relaxed),
            topics: Vec::new(),
            outlet: Outlet {
                events: sender,
                overflowed: Arc::default(),
            },
            events,
            channels: HashMap::new(),
        };
        let wait = listener.join(listener.access(), None);
        listener.attend(caller, device);
        if let Some(wait) = wait {
            wait.live(SUBSCRIBE_LIMIT).await;
        }
        listener
    }
}

/// The device that listens.
#[derive(Debug, Clone, Copy)]
pub struct Listening<'a> {
    /// Its id.
    pub device: &'a str,
    /// Its number.
    pub number: u64,
}

impl Listener {
    /// Hears from here on of what concerns this caller, such as when his token has other groups.
    pub fn attend(&mut self, caller: &Caller, device: Option<Listening<'_>>) {
        let mut topics = vec![format!("u:{}", caller.user)];
        topics.extend(caller.groups.iter().map(|group| format!("g:{group}")));
        topics.extend(caller.is_admin.then(|| ALL_GRANTS.to_owned()));
        if let Some(Listening { device, number }) = device {
            topics.push(socket_topic(&number.to_string()));
            topics.push(device_topic(&caller.user, device));
        }
        if let Some(channel) = self.channels.get(&self.access()) {
            let mut listeners = lock(&channel.listeners);
            listeners.forget(self.id, &self.topics);
            for topic in &topics {
                let heard = listeners.topics.entry(topic.clone()).or_default();
                heard.insert(self.id);
            }
        }
        self.topics = topics;
    }

    fn access(&self) -> String {
        Keys::new(&self.tenant).of("access")
    }

    /// Listens to these shares, too. What happens from the return on is heard.
    pub async fn add(&mut self, shares: impl Iterator<Item = &str>) {
        let keys = Keys::new(&self.tenant);
        let joined: Vec<_> = shares
            .map(|share| self.join(format!("{}:nudges", keys.share(share)), Some(share.into())))
            .collect();
        for wait in joined.into_iter().flatten() {
            wait.live(SUBSCRIBE_LIMIT).await;
        }
    }

    /// Listens to a share no more.
    pub fn remove(&mut self, share: &str) {
        let key = Keys::new(&self.tenant).share(share);
        self.leave(&format!("{key}:nudges"));
    }

    /// The next event. May be dropped at any time without a loss.
    pub async fn next(&mut self) -> Option<Event> {
        if let Some(share) = lock(&self.outlet.overflowed).pop() {
            return Some(Event::Missed(share));
        }
        self.events.recv().await
    }

    fn join(&mut self, name: String, share: Option<Arc<str>>) -> Option<Waiter> {
        let channel = self.live.channel(&self.valkey, &name, share, &self.tenant);
        let outlet = self.outlet.clone();
        lock(&channel.listeners).outlets.insert(self.id, outlet);
        let subscription = lock(&channel.subscription);
        let wait = subscription.as_ref().map(Subscription::waiter);
        drop(subscription);
        self.channels.insert(name, channel);
        wait
    }

    fn leave(&mut self, name: &str) {
        if let Some(channel) = self.channels.remove(name) {
            let mut listeners = lock(&channel.listeners);
            listeners.outlets.remove(&self.id);
            listeners.forget(self.id, &self.topics);
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        let names: Vec<String> = self.channels.keys().cloned().collect();
        names.iter().for_each(|name| self.leave(name));
    }
}

impl Listeners {
    fn forget(&mut self, listener: u64, topics: &[String]) {
        for topic in topics {
            if let Some(heard) = self.topics.get_mut(topic) {
                heard.remove(&listener);
                if heard.is_empty() {
                    self.topics.remove(topic);
                }
            }
        }
    }
}

impl Live {
    fn channel(
        &self,
        valkey: &Valkey,
        name: &str,
        share: Option<Arc<str>>,
        tenant: &str,
    ) -> Arc<Channel> {
        let mut channels = lock(&self.channels);
        if let Some(channel) = channels.get(name).and_then(Weak::upgrade) {
            return channel;
        }
        channels.retain(|_, channel| channel.strong_count() > 0);
        let channel = Arc::new(Channel {
            listeners: Mutex::default(),
            position: AtomicU64::new(0),
            subscription: Mutex::default(),
        });
        channels.insert(name.to_owned(), Arc::downgrade(&channel));
        let weak = Arc::downgrade(&channel);
        let tenant = tenant.to_owned();
        let listen = move |notice: Notice<'_>| {
            if let Some(channel) = weak.upgrade() {
                channel.hear(notice, share.as_ref(), &tenant);
            }
        };
        *lock(&channel.subscription) = Some(valkey.hub().subscribe(name, listen));
        channel
    }
}

impl Channel {
    fn hear(&self, notice: Notice<'_>, share: Option<&Arc<str>>, tenant: &str) {
        match (notice, share) {
            (Notice::Subscribed, Some(share)) => {
                // The first time nobody can have missed anything.
                if self.position.load(Ordering::Relaxed) > 0 {
                    self.tell(&Event::Missed(share.clone()), Some(share));
                }
            }
            (Notice::Subscribed, None) => self.tell(&Event::Access("".into()), None),
            (Notice::Message(message), None) => self.tell_concerned(message),
            (Notice::Message(message), Some(share)) => {
                let Some(nudge) = read(message, share, tenant) else {
                    return self.tell(&Event::Missed(share.clone()), Some(share));
                };
                let last = self.position.swap(nudge.position, Ordering::Relaxed);
                if last > 0 && nudge.position != last + 1 {
                    self.tell(&Event::Missed(share.clone()), Some(share));
                }
                self.tell(&Event::Change(Arc::new(nudge)), Some(share));
            }
        }
    }

    /// Tells all listeners.
    fn tell(&self, event: &Event, share: Option<&Arc<str>>) {
        for outlet in lock(&self.listeners).outlets.values() {
            outlet.tell(event, share);
        }
    }

    /// Tells those whom a message of the channel `access` concerns.
    fn tell_concerned(&self, message: &[u8]) {
        let message = String::from_utf8_lossy(message);
        let event = Event::Access(message.as_ref().into());
        let listeners = lock(&self.listeners);
        let mut told = HashSet::new();
        for topic in topics_of(&message) {
            for listener in listeners.topics.get(&topic).into_iter().flatten() {
                if let Some(outlet) = listeners.outlets.get(listener)
                    && told.insert(*listener)
                {
                    outlet.tell(&event, None);
                }
            }
        }
    }
}

impl Outlet {
    /// One that does not keep up is told later that it has missed something.
    fn tell(&self, event: &Event, share: Option<&Arc<str>>) {
        if self.events.try_send(event.clone()).is_err() {
            let missed = share.cloned().unwrap_or_default();
            let mut overflowed = lock(&self.overflowed);
            if !overflowed.contains(&missed) {
                overflowed.push(missed);
            }
        }
    }
}

/// The topic of who may see all shares of the tenant.
const ALL_GRANTS: &str = "grants";

fn socket_topic(number: &str) -> String {
    format!("s:{number}")
}

fn device_topic(user: &str, device: &str) -> String {
    format!("d:{device} {user}")
}

/// A device that has changed, as a message of the channel `access`.
#[derive(Deserialize)]
struct ChangedDevice<'a> {
    #[serde(borrow)]
    user: Cow<'a, str>,
    #[serde(borrow)]
    device: Cow<'a, str>,
}

/// What a message of the channel `access` is about.
fn topics_of(message: &str) -> Vec<String> {
    if let Some((number, _)) = message
        .strip_prefix("s:")
        .and_then(|rest| rest.split_once(' '))
    {
        return vec![socket_topic(number)];
    }
    match serde_json::from_str::<ChangedDevice<'_>>(message) {
        Ok(it) => vec![device_topic(&it.user, &it.device)],
        Err(_) => vec![message.to_owned(), ALL_GRANTS.to_owned()],
    }
}

/// A message of a share's channel, see `lua/filesync/record.lua`.
fn read(message: &[u8], share: &Arc<str>, tenant: &str) -> Option<Nudge> {
    let message = std::str::from_utf8(message).ok()?;
    let mut parts = message.splitn(5, '\t');
    let position: u64 = parts.next()?.parse().ok()?;
    let device = parts.next()?.parse().ok()?;
    let mut ids = || {
        Some(
            parts
                .next()?
                .split_whitespace()
                .map(str::to_owned)
                .collect(),
        )
    };
    let (folders, old_folders) = (ids()?, ids()?);
    let entry = parts.next()?;
    let is_share = entry.split_once(r#"","resource_type":""#)?.1;
    let tenant = serde_json::json!(tenant);
    Some(Nudge {
        change: format!(
            r#"{{"position":{position},"tenant_id":{tenant},"share_id":{},{entry}}}"#,
            serde_json::json!(&**share)
        ),
        is_share: is_share.starts_with("share"),
        share: share.clone(),
        position,
        device,
        folders,
        old_folders,
        frame: OnceLock::new(),
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

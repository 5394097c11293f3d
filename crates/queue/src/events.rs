//! The notifications of queues, and who in this process waits for them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sluice_valkey::{Notice, Subscription, Valkey};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::JobId;
use crate::keys::{PROBE_EVENTS, events_channel};
use crate::worker::lease::Leases;

/// Hands notifications to those in this process who wait for them. One says only that there is
/// something to look at, so several may become one, and after a reconnect all look.
pub(crate) struct Hub {
    valkey: Valkey,
    listeners: Mutex<Listeners>,
    leases: Arc<Leases>,
    /// Shows whether notifications arrive at all.
    probe: Subscription,
}

#[derive(Default)]
struct Listeners {
    /// By queue, of which something is awaited in this process.
    subscriptions: HashMap<String, Weak<Subscription>>,
    /// Those of the queues that this process works with, which stay.
    kept: HashMap<String, Arc<Subscription>>,
    queues: HashMap<String, watch::Sender<()>>,
    /// By job, for who wants to know of all changes, and only of the end.
    changes: HashMap<String, watch::Sender<Change>>,
    ends: HashMap<String, watch::Sender<Change>>,
}

impl Hub {
    pub fn new(valkey: &Valkey, leases: Arc<Leases>) -> Self {
        let probe = valkey.hub().subscribe(PROBE_EVENTS, |_| {});
        Self {
            valkey: valkey.clone(),
            listeners: Mutex::default(),
            leases,
            probe,
        }
    }

    /// Whether notifications arrive, or will within a limit.
    pub async fn is_live(&self, limit: Duration) -> bool {
        self.probe.live(limit).await
    }

    /// Whether the user that this process connects as may not subscribe.
    pub fn is_refused(&self) -> bool {
        self.valkey.hub().is_refused()
    }

    /// Subscribes to the notifications of a queue for good.
    pub fn keep(self: &Arc<Self>, queue: &str) {
        let subscription = self.subscribe(queue);
        let mut listeners = self.lock();
        listeners.kept.insert(queue.to_owned(), subscription);
    }

    fn subscribe(self: &Arc<Self>, queue: &str) -> Arc<Subscription> {
        let mut listeners = self.lock();
        let known = listeners.subscriptions.get(queue).and_then(Weak::upgrade);
        if let Some(known) = known {
            return known;
        }
        let (hub, name) = (Arc::downgrade(self), queue.to_owned());
        let listen = move |notice: Notice<'_>| {
            if let Some(hub) = hub.upgrade() {
                hub.dispatch(&name, notice);
            }
        };
        let channel = events_channel(queue);
        let subscription = Arc::new(self.valkey.hub().subscribe(&channel, listen));
        listeners
            .subscriptions
            .retain(|_, it| it.strong_count() > 0);
        let weak = Arc::downgrade(&subscription);
        listeners.subscriptions.insert(queue.to_owned(), weak);
        subscription
    }

    /// Changes when there may be something to fetch from `queue`.
    pub fn queue(self: &Arc<Self>, queue: &str) -> watch::Receiver<()> {
        self.keep(queue);
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

    /// Notifies when the job may have changed.
    pub fn changes_of(self: &Arc<Self>, id: &JobId) -> JobEvents {
        self.listen(id, |listeners| &mut listeners.changes)
    }

    /// Notifies when the job may have ended.
    pub fn end_of(self: &Arc<Self>, id: &JobId) -> JobEvents {
        self.listen(id, |listeners| &mut listeners.ends)
    }

    fn listen(self: &Arc<Self>, id: &JobId, jobs: Jobs) -> JobEvents {
        let receiver = jobs(&mut self.lock())
            .entry(id.job().to_owned())
            .or_default()
            .subscribe();
        JobEvents {
            hub: self.clone(),
            job: id.job().to_owned(),
            jobs,
            receiver: Some(receiver),
            _subscription: self.subscribe(id.queue()),
        }
    }

    fn dispatch(&self, queue: &str, notice: Notice<'_>) {
        let Notice::Message(message) = notice else {
            return self.look(queue);
        };
        let Ok(text) = std::str::from_utf8(message) else {
            return;
        };
        let mut words = text.split(' ');
        match words.next() {
            Some("wake") => self.wake(queue),
            Some("moved") => {
                let listeners = self.lock();
                words.for_each(|job| notify(&listeners.changes, job, Change::Unknown));
            }
            Some(end @ ("ended" | "done")) => {
                let change = match end {
                    "done" => Change::Done,
                    _ => Change::Unknown,
                };
                let listeners = self.lock();
                words.for_each(|job| {
                    notify(&listeners.changes, job, change);
                    notify(&listeners.ends, job, change);
                });
            }
            Some("cancel") => words.for_each(|job| self.leases.cancel(job)),
            // A later version may say more.
            _ => {}
        }
    }

    /// Has all look: notifications of a queue may have been missed. Which of the jobs are that
    /// queue's is not kept; to look at one more costs little.
    fn look(&self, queue: &str) {
        self.wake(queue);
        let listeners = self.lock();
        for all in [&listeners.changes, &listeners.ends] {
            all.values().for_each(|sender| {
                sender.send_replace(Change::Unknown);
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
type Jobs = fn(&mut Listeners) -> &mut HashMap<String, watch::Sender<Change>>;

/// What a notification says of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Change {
    /// It may have changed.
    #[default]
    Unknown,
    /// It is completed, its result is null.
    Done,
}

fn notify(jobs: &HashMap<String, watch::Sender<Change>>, job: &str, change: Change) {
    // Mostly nothing is awaited in this process.
    if !jobs.is_empty()
        && let Some(sender) = jobs.get(job)
    {
        sender.send_replace(change);
    }
}

/// The notifications of one job, for as long as this is held.
pub(crate) struct JobEvents {
    hub: Arc<Hub>,
    job: String,
    jobs: Jobs,
    receiver: Option<watch::Receiver<Change>>,
    _subscription: Arc<Subscription>,
}

impl JobEvents {
    /// Returns at the next event after the last call, or after `limit`.
    pub async fn changed(&mut self, limit: Duration) -> Change {
        let Some(receiver) = &mut self.receiver else {
            return Change::Unknown;
        };
        match timeout(limit, receiver.changed()).await {
            Ok(_) => *receiver.borrow_and_update(),
            // An elapsed limit is as good a reason to look as an event.
            Err(_) => Change::Unknown,
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

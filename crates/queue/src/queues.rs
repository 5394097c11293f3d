//! The handle to all queues of one Valkey.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use sluice_valkey::{Fault, Valkey};
use tokio::time::timeout;

use crate::QueueError;
use crate::calls::Calls;
use crate::enqueue::Addition;
use crate::events::Hub;
use crate::group_commit::GroupCommit;
use crate::keys::{BACKLOG_LIMIT, CONNECT_TIMEOUT, PAYLOAD_LIMIT, PROBE, QUEUES, Retention};
use crate::script::Scripts;
use crate::worker::lease::Leases;
use crate::worker::{End, Workers};

/// Settings of a [`Queues`].
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// How long finished jobs are kept. All processes that share queues should agree.
    pub retention: Retention,
    /// The largest payload that this process enqueues, in bytes. Default [`PAYLOAD_LIMIT`]. A
    /// worker gets several at once, so keep it to a few MiB.
    pub payload_limit: usize,
    /// How many jobs a queue may have that have not ended, so that this process adds another one.
    /// Default [`BACKLOG_LIMIT`]. All processes that share queues should agree.
    pub backlog_limit: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            retention: Retention::default(),
            payload_limit: PAYLOAD_LIMIT,
            backlog_limit: BACKLOG_LIMIT,
        }
    }
}

/// The queues in one Valkey. Cheap to clone; all clones share one connection for commands and one
/// for events, which come back by themselves. Commands are tried again for about two seconds while
/// Valkey restarts.
#[derive(Clone)]
pub struct Queues {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub valkey: Valkey,
    pub calls: Calls,
    pub scripts: Arc<Scripts>,
    pub hub: Arc<Hub>,
    pub workers: Workers,
    /// Jobs that are to be added.
    pub added: GroupCommit<Addition>,
    /// Runs whose end is to be recorded.
    pub ended: GroupCommit<End>,
    /// Where operators' reads go, so that nothing queues up behind them.
    pub reads: Calls,
    pub payload_limit: usize,
    pub backlog_limit: usize,
    /// Names that this process has put into the set of all queues.
    registered: Mutex<HashSet<String>>,
}

impl Queues {
    /// Opens the queues of the Valkey at `url`, which has a form that [`Address::parse`](sluice_valkey::Address::parse) reads.
    ///
    /// # Errors
    /// [`QueueError::Address`] for a malformed URL, and as [`Queues::open`].
    pub async fn connect(url: &str, config: QueueConfig) -> Result<Self, QueueError> {
        Self::open(&Valkey::at(url)?, config).await
    }

    /// Opens the queues of a Valkey. Waits shortly for it and for its notifications; should it be
    /// away, everything works as soon as it is there.
    ///
    /// # Errors
    /// [`QueueError::Valkey`] when the server is there and refuses the user, which waiting does not
    /// mend.
    pub async fn open(valkey: &Valkey, config: QueueConfig) -> Result<Self, QueueError> {
        let reads = Calls::new(&valkey.shared());
        if let Ok(Err(error)) = timeout(CONNECT_TIMEOUT, ping(&reads)).await
            && error.fault() == Some(Fault::AccessDenied)
        {
            return Err(error);
        }
        let leases = Arc::new(Leases::default());
        let hub = Arc::new(Hub::new(valkey, leases.clone()));
        if !hub.is_live(CONNECT_TIMEOUT).await {
            tracing::warn!("no notifications from Valkey yet, the queues wait for them");
        }
        Ok(Self {
            shared: Arc::new(Shared {
                calls: Calls::new(&valkey.ordered()),
                reads,
                valkey: valkey.clone(),
                scripts: Arc::new(Scripts::new(&config.retention)),
                hub,
                workers: Workers::new(leases),
                added: GroupCommit::default(),
                ended: GroupCommit::default(),
                payload_limit: config.payload_limit,
                backlog_limit: config.backlog_limit,
                registered: Mutex::default(),
            }),
        })
    }

    /// Whether Valkey takes writes, as every job needs them, and events arrive.
    ///
    /// # Errors
    /// When not; [`QueueError::fault`] says why.
    pub async fn ready(&self) -> Result<(), QueueError> {
        let mut probe = redis::cmd("SET");
        probe.arg(PROBE).arg(1).arg("PX").arg(60_000);
        let _: String = self.shared.reads.command_soon("probe", &probe).await?;
        if self.shared.hub.is_refused() {
            return Err(QueueError::SubscriptionRefused);
        }
        match self.shared.hub.is_live(CONNECT_TIMEOUT).await {
            true => Ok(()),
            false => Err(QueueError::Timeout("the event subscription")),
        }
    }

    /// Makes the queue's name known to [`Queues::queues`], once per process.
    pub(crate) async fn register(&self, queue: &str) -> Result<(), QueueError> {
        let registered = || {
            self.shared
                .registered
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        if registered().contains(queue) {
            return Ok(());
        }
        let command = |name| {
            let mut command = redis::cmd(name);
            command.arg(QUEUES).arg(queue);
            command
        };
        // A read first, which also works while the server's memory is full.
        let calls = &self.shared.calls;
        let known: bool = calls.command("registered", &command("SISMEMBER")).await?;
        if !known {
            let _: i64 = calls.command("register", &command("SADD")).await?;
        }
        registered().insert(queue.to_owned());
        self.shared.hub.keep(queue);
        Ok(())
    }
}

async fn ping(calls: &Calls) -> Result<(), QueueError> {
    let _: String = calls.command_soon("ping", &redis::cmd("PING")).await?;
    Ok(())
}

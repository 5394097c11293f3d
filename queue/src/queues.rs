//! The handle to all queues of one Valkey.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::task::AbortOnDropHandle;

use crate::QueueError;
use crate::batch::Batches;
use crate::enqueue::Addition;
use crate::events::{Hub, listen};
use crate::keys::{CONNECT_TIMEOUT, PAYLOAD_LIMIT, QUEUES, Retention};
use crate::lane::Lane;
use crate::script::Scripts;
use crate::server::Server;
use crate::worker::lease::Leases;
use crate::worker::{End, Workers};

/// Settings of a [`Queues`].
#[derive(Debug, Clone)]
pub struct QueueConfig {
    /// How long a command may take. Default 10 s.
    pub response_timeout: Duration,
    /// How long finished jobs are kept. All processes that share queues should agree.
    pub retention: Retention,
    /// The largest payload that this process enqueues, in bytes. Default [`PAYLOAD_LIMIT`]. A worker gets several at
    /// once, so keep it to a few MiB.
    pub payload_limit: usize,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self {
            response_timeout: Duration::from_secs(10),
            retention: Retention::default(),
            payload_limit: PAYLOAD_LIMIT,
        }
    }
}

/// The queues in one Valkey. Cheap to clone; all clones share one connection for commands and one for events, which
/// come back by themselves. Commands are tried again for about two seconds while Valkey restarts.
#[derive(Clone)]
pub struct Queues {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub server: Server,
    pub lane: Lane,
    pub scripts: Arc<Scripts>,
    pub hub: Arc<Hub>,
    pub workers: Workers,
    /// Jobs that are to be added.
    pub added: Batches<Addition>,
    /// Runs whose end is to be recorded.
    pub ended: Batches<End>,
    /// Where operators' reads go, so that nothing queues up behind them.
    pub reads: Lane,
    pub payload_limit: usize,
    /// Names that this process has put into the set of all queues.
    registered: Mutex<HashSet<String>>,
    _listener: AbortOnDropHandle<()>,
}

impl Queues {
    /// Opens the queues of the Valkey at `url`: `redis://[user:password@]host:port[/database]`, or with some of its nodes,
    /// `host:port,host:port…`, those of a cluster. Waits shortly for the subscription; should Valkey be away, everything works as soon as it is there.
    ///
    /// # Errors
    /// [`QueueError::Valkey`] for a malformed URL.
    pub async fn connect(url: &str, config: QueueConfig) -> Result<Self, QueueError> {
        let server = Server::parse(url)?;
        let leases = Arc::new(Leases::default());
        let hub = Arc::new(Hub::new(leases.clone()));
        let mut subscribed = hub.subscribed();
        let listener = tokio::spawn(listen(server.clone(), hub.clone()));
        if timeout(CONNECT_TIMEOUT, subscribed.wait_for(|&yes| yes))
            .await
            .is_err()
        {
            tracing::warn!("Valkey does not answer yet, the queues wait for it");
        }
        Ok(Self {
            shared: Arc::new(Shared {
                lane: Lane::new(server.clone(), config.response_timeout),
                reads: Lane::new(server.clone(), config.response_timeout),
                server,
                scripts: Arc::new(Scripts::new(&config.retention)),
                hub,
                workers: Workers::new(leases),
                added: Batches::default(),
                ended: Batches::default(),
                payload_limit: config.payload_limit,
                registered: Mutex::default(),
                _listener: AbortOnDropHandle::new(listener),
            }),
        })
    }

    /// Whether Valkey answers and events arrive.
    ///
    /// # Errors
    /// When not.
    pub async fn ready(&self) -> Result<(), QueueError> {
        let _: String = self
            .shared
            .reads
            .command("ping", &redis::cmd("PING"))
            .await?;
        let mut subscribed = self.shared.hub.subscribed();
        match timeout(CONNECT_TIMEOUT, subscribed.wait_for(|&yes| yes)).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(QueueError::Timeout("the event subscription")),
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
        let mut command = redis::cmd("SADD");
        command.arg(QUEUES).arg(queue);
        let _: i64 = self.shared.lane.command("register", &command).await?;
        registered().insert(queue.to_owned());
        Ok(())
    }
}

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, RedisError, RedisResult};
use tokio::sync::Mutex;

/// How many connections a process shares. One that carries a large answer does not hold up the others.
const LANES: usize = 4;

/// A few connections that all tasks of a process share, each opened when it is first needed, and anew after it broke.
///
/// Taking one from a pool costs a PING each time, which is as much as a small command. Here commands of many tasks go out
/// together, and nobody waits for a free connection.
pub(crate) struct Lanes {
    client: Client,
    config: AsyncConnectionConfig,
    lanes: [Mutex<Open>; LANES],
    next: AtomicUsize,
}

#[derive(Default)]
struct Open {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

/// A connection on loan.
pub(crate) struct Lane {
    pub connection: MultiplexedConnection,
    lanes: Arc<Lanes>,
    at: usize,
    generation: u64,
}

impl Lanes {
    pub fn new(client: Client, config: AsyncConnectionConfig) -> Self {
        Self {
            client,
            config,
            lanes: Default::default(),
            next: AtomicUsize::new(0),
        }
    }

    /// The next one, in turn.
    pub async fn lane(self: &Arc<Self>) -> RedisResult<Lane> {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % LANES;
        let mut open = self.lanes[at].lock().await;
        let connection = match &open.connection {
            Some(connection) => connection.clone(),
            None => {
                let opening = self
                    .client
                    .get_multiplexed_async_connection_with_config(&self.config);
                let connection = opening.await?;
                open.generation += 1;
                open.connection = Some(connection.clone());
                connection
            }
        };
        Ok(Lane {
            connection,
            lanes: self.clone(),
            at,
            generation: open.generation,
        })
    }
}

impl Lane {
    /// Lets nobody use the connection any more if this error is its own.
    pub async fn report(self, error: &RedisError) {
        if !(error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout()) {
            return;
        }
        let mut open = self.lanes.lanes[self.at].lock().await;
        // Somebody else may have opened a new one meanwhile.
        if open.generation == self.generation {
            open.connection = None;
        }
    }
}

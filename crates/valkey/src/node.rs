//! One node, and the connections to it that all tasks of a process use.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use deadpool_redis::{Connection, Manager, Pool, PoolError, Runtime};
use redis::aio::MultiplexedConnection;
use redis::{Client, ConnectionAddr, ErrorKind, IntoConnectionInfo, RedisError, RedisResult};
use tokio::sync::Mutex;

use crate::ValkeyConfig;

/// How many connections a process shares. One that carries a large answer does not hold up the
/// others.
const SHARED: usize = 4;

/// A server, alone or of a cluster. Connections are opened when they are first needed, and anew
/// after they broke.
pub(crate) struct Node {
    client: Client,
    config: ValkeyConfig,
    ordered: Shared,
    shared: [Shared; SHARED],
    turn: AtomicUsize,
    pool: OnceLock<Pool>,
}

/// A connection that all tasks share: their commands are pipelined, and none waits for another.
#[derive(Default)]
pub(crate) struct Shared(Mutex<Open>);

#[derive(Default)]
struct Open {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Node {
    pub fn new(client: Client, config: ValkeyConfig) -> Self {
        Self {
            client,
            config,
            ordered: Shared::default(),
            shared: std::array::from_fn(|_| Shared::default()),
            turn: AtomicUsize::new(0),
            pool: OnceLock::new(),
        }
    }

    /// `host:port`, by which redirections call it.
    pub fn address(&self) -> String {
        address_of(&self.client)
    }

    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The one connection on which commands arrive in the order in which they were sent.
    pub fn ordered(&self) -> &Shared {
        &self.ordered
    }

    /// One of the shared connections, another one on the next turn.
    pub fn shared(&self) -> &Shared {
        &self.shared[self.turn.fetch_add(1, Ordering::Relaxed) % SHARED]
    }

    /// A connection of the pool, for one command at a time.
    pub async fn pooled(&self) -> RedisResult<Connection> {
        let pool = match self.pool.get() {
            Some(pool) => pool,
            None => {
                let pool = self.open_pool()?;
                self.pool.get_or_init(|| pool)
            }
        };
        pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => error,
            _ => std::io::Error::from(std::io::ErrorKind::TimedOut).into(),
        })
    }

    fn open_pool(&self) -> RedisResult<Pool> {
        let info = self.client.get_connection_info().clone();
        let manager = Manager::new_with_config(info, self.config.connection())?;
        let limit = Some(self.config.connect_timeout);
        Pool::builder(manager)
            .max_size(self.config.pool_size.max(1))
            .runtime(Runtime::Tokio1)
            .wait_timeout(limit)
            .create_timeout(limit)
            .recycle_timeout(limit)
            .build()
            .map_err(|_| RedisError::from((ErrorKind::InvalidClientConfig, "the pool")))
    }

    /// The open connection, and which one it is.
    pub async fn open(&self, shared: &Shared) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut open = shared.0.lock().await;
        let connection = match &open.connection {
            Some(connection) => connection.clone(),
            None => {
                let config = self.config.connection();
                let connection = self
                    .client
                    .get_multiplexed_async_connection_with_config(&config)
                    .await?;
                open.generation += 1;
                open.connection = Some(connection.clone());
                connection
            }
        };
        Ok((open.generation, connection))
    }
}

impl Shared {
    /// Gives up the connection of that generation if the error says that it is broken.
    pub async fn report(&self, generation: u64, error: &RedisError) {
        if !is_broken(error) {
            return;
        }
        let mut open = self.0.lock().await;
        // Another task may have opened a new one meanwhile.
        if open.generation == generation {
            open.connection = None;
        }
    }
}

/// `host:port` of a client's server.
pub(crate) fn address_of(client: &Client) -> String {
    client.get_connection_info().addr().to_string()
}

/// A client of the node at `host:port`, to which another one redirected, and which takes the same
/// user and settings.
///
/// # Errors
/// When the address is malformed.
pub(crate) fn redirected(client: &Client, address: &str) -> RedisResult<Client> {
    let malformed = || RedisError::from((ErrorKind::Client, "a malformed redirection"));
    let info = client.get_connection_info().clone();
    let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
    let port = port.parse().map_err(|_| malformed())?;
    // A node that does not know its own host's name leaves it out.
    let at = |same: &str| match host {
        "" | "?" => same.to_owned(),
        host => host.to_owned(),
    };
    let addr = match info.addr().clone() {
        ConnectionAddr::TcpTls {
            host,
            insecure,
            tls_params,
            ..
        } => ConnectionAddr::TcpTls {
            host: at(&host),
            port,
            insecure,
            tls_params,
        },
        ConnectionAddr::Tcp(host, _) => ConnectionAddr::Tcp(at(&host), port),
        _ => return Err(malformed()),
    };
    Client::open(info.set_addr(addr).into_connection_info()?)
}

/// Whether the connection that failed so is of no use any more.
pub fn is_broken(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error() || error.is_timeout()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::Address;

    #[test]
    fn a_redirection_leads_to_another_node_as_the_same_user() {
        let address = Address::parse("redis://ann:secret@10.0.0.1:7000").unwrap();
        let asked = address.node(0);
        let other = redirected(asked, "10.0.0.9:7009").unwrap();
        assert_eq!(address_of(&other), "10.0.0.9:7009");
        let settings = other.get_connection_info().redis_settings();
        assert_eq!(settings.username(), Some("ann"));
        for unnamed in [":7001", "?:7001"] {
            let same = redirected(asked, unnamed).unwrap();
            assert_eq!(address_of(&same), "10.0.0.1:7001");
        }
        assert!(redirected(asked, "nowhere").is_err());
    }
}

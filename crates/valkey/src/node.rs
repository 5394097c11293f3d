//! A connection to one server that all tasks share.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo};
use redis::{RedisError, RedisResult};
use tokio::sync::Mutex;

/// A connection to one server that all tasks share: their commands are pipelined without anybody
/// waiting for anybody. After an error of the connection the next command opens another one.
pub struct Node {
    client: Client,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Node {
    /// A node that is connected to when it is first needed.
    pub fn new(client: Client) -> Self {
        Self {
            client,
            open: Mutex::default(),
        }
    }

    /// `host:port`, by which redirections call it.
    pub fn address(&self) -> String {
        self.client.get_connection_info().addr().to_string()
    }

    /// The node at `host:port`, to which this one redirected, and which takes the same user and
    /// settings.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn redirected(&self, address: &str) -> RedisResult<Self> {
        let malformed = || RedisError::from((ErrorKind::Client, "a malformed redirection"));
        let info = self.client.get_connection_info().clone();
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
        // A node that does not know its own host's name leaves it out.
        let at = |same: &str| if host.is_empty() { same } else { host }.to_owned();
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
        Ok(Self::new(Client::open(
            info.set_addr(addr).into_connection_info()?,
        )?))
    }

    /// The open connection, and which one it is.
    ///
    /// # Errors
    /// When none can be opened.
    pub async fn connection(
        &self,
        config: &AsyncConnectionConfig,
    ) -> RedisResult<(u64, MultiplexedConnection)> {
        let mut open = self.open.lock().await;
        let connection = match &open.connection {
            Some(connection) => connection.clone(),
            None => {
                let connection = self
                    .client
                    .get_multiplexed_async_connection_with_config(config)
                    .await?;
                open.generation += 1;
                open.connection = Some(connection.clone());
                connection
            }
        };
        Ok((open.generation, connection))
    }

    /// Gives up the connection of that generation if the error says that it is broken.
    pub async fn report(&self, generation: u64, error: &RedisError) {
        if !is_broken(error) {
            return;
        }
        let mut open = self.open.lock().await;
        // Another task may have opened a new one meanwhile.
        if open.generation == generation {
            open.connection = None;
        }
    }
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
        let asked = Node::new(address.node(0).clone());
        let other = asked.redirected("10.0.0.9:7009").unwrap();
        assert_eq!(other.address(), "10.0.0.9:7009");
        let settings = other.client.get_connection_info().redis_settings();
        assert_eq!(settings.username(), Some("ann"));
        assert_eq!(
            asked.redirected(":7001").unwrap().address(),
            "10.0.0.1:7001"
        );
        assert!(asked.redirected("nowhere").is_err());
    }
}

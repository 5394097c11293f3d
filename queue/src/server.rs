//! Where the queues are: one Valkey, or a cluster.

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, ConnectionAddr, ErrorKind, IntoConnectionInfo};
use redis::{RedisError, RedisResult};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The nodes that the URL names: a server, or some of a cluster. The cluster's other ones are found by its redirections.
#[derive(Clone)]
pub(crate) struct Server(Arc<[Client]>);

impl Server {
    /// Reads `redis://[user:password@]host:port[,host:port…][/database]`.
    pub fn parse(url: &str) -> RedisResult<Self> {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        let (user, hosts) = match authority.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), authority),
        };
        if !hosts.contains(',') {
            return Ok(Self([Client::open(url)?].into()));
        }
        let nodes = hosts.split(',');
        let nodes = nodes.map(|host| Client::open(format!("{scheme}://{user}{host}{path}")));
        Ok(Self(nodes.collect::<RedisResult<Arc<[_]>>>()?))
    }

    /// One of the nodes that were named; another one on the next turn.
    pub fn named(&self, turn: usize) -> &Client {
        &self.0[turn % self.0.len()]
    }
}

/// A connection to one node that all tasks share: their commands are pipelined without anybody waiting for anybody.
/// After an error of the connection the next command opens another one.
pub(crate) struct Node {
    client: Client,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    generation: u64,
    connection: Option<MultiplexedConnection>,
}

impl Node {
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

    /// The node that this one redirected to, which takes the same user and settings.
    pub fn redirected(&self, address: &str) -> RedisResult<Self> {
        let malformed = || RedisError::from((ErrorKind::Client, "a malformed redirection"));
        let info = self.client.get_connection_info().clone();
        let (host, port) = address.rsplit_once(':').ok_or_else(malformed)?;
        let port = port.parse().map_err(|_| malformed())?;
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

    /// Gives up a connection that broke.
    pub async fn close(&self, generation: u64) {
        let mut open = self.open.lock().await;
        // Somebody else may have opened a new one meanwhile.
        if open.generation == generation {
            open.connection = None;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let server = Server::parse(url).unwrap();
        (0..server.0.len())
            .map(|turn| Node::new(server.named(turn).clone()).address())
            .collect()
    }

    #[test]
    fn a_url_names_one_server_or_several_nodes() {
        assert_eq!(addresses("redis://localhost:7000/2"), ["localhost:7000"]);
        assert_eq!(
            addresses("redis://ann:p,w@10.0.0.1:7000,10.0.0.2:7001"),
            ["10.0.0.1:7000", "10.0.0.2:7001"]
        );
        assert!(Server::parse("localhost:7000,localhost:7001").is_err());
    }

    #[test]
    fn a_redirection_leads_to_another_node_as_the_same_user() {
        let server = Server::parse("redis://ann:secret@10.0.0.1:7000").unwrap();
        let asked = Node::new(server.named(0).clone());
        let other = asked.redirected("10.0.0.9:7009").unwrap();
        assert_eq!(other.address(), "10.0.0.9:7009");
        let settings = other.client.get_connection_info().redis_settings();
        assert_eq!(settings.username(), Some("ann"));
        // A node that does not know its own host's name leaves it out.
        assert_eq!(
            asked.redirected(":7001").unwrap().address(),
            "10.0.0.1:7001"
        );
        assert!(asked.redirected("nowhere").is_err());
    }
}

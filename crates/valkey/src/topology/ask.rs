//! What sentinels and nodes say of who has which slot.

use std::sync::Arc;
use std::time::Duration;

use redis::{Client, Cmd, FromRedisValue, RedisResult, Value};
use tokio::time::timeout;

use super::{Topology, io_error};
use crate::address::Watched;
use crate::node::{Node, redirected};

/// A node gets this long to say what the topology is, before another one is asked.
const ASK_LIMIT: Duration = Duration::from_secs(2);

impl Topology {
    pub(super) async fn ask_sentinels(&self, watched: &Watched) {
        for _ in 0..self.address.named() {
            let turn = self.next_turn();
            let mut command = redis::cmd("SENTINEL");
            command.arg("GET-MASTER-ADDR-BY-NAME").arg(&watched.name);
            let sentinel = self.address.node(turn);
            let answer: RedisResult<Option<(String, u16)>> = self.ask(sentinel, &command).await;
            let Ok(Some((host, port))) = answer else {
                continue;
            };
            let Ok(client) = redirected(&watched.client, &format!("{host}:{port}")) else {
                continue;
            };
            // A sentinel that was cut off may name a former one.
            let mut info = redis::cmd("INFO");
            info.arg("replication");
            let info: RedisResult<String> = self.ask(&client, &info).await;
            if !info.is_ok_and(|info| info.contains("role:master")) {
                continue;
            }
            let node = Node::new(client, self.config.clone());
            let mut routes = self.write();
            let is_same = |known: &Arc<Node>| known.address() == node.address();
            if !routes.nodes.first().is_some_and(is_same) {
                tracing::info!(primary = node.address(), "the sentinels name the primary");
                routes.nodes = vec![Arc::new(node)];
            }
            return;
        }
    }

    pub(super) async fn ask_nodes(&self) {
        if let Some((client, ranges)) = self.ask_ranges().await {
            self.learn(&client, &ranges);
        }
    }

    /// What the first node says that answers, and its client.
    pub(super) async fn ask_ranges(&self) -> Option<(Client, Vec<SlotRange>)> {
        let mut clients: Vec<_> = self.read(|routes| {
            let nodes = routes.nodes.iter();
            nodes.map(|node| node.client().clone()).collect()
        });
        clients.extend((0..self.address.named()).map(|turn| self.address.node(turn).clone()));
        let mut command = redis::cmd("CLUSTER");
        command.arg("SLOTS");
        let first = self.next_turn();
        for turn in 0..clients.len() {
            let client = &clients[(first + turn) % clients.len()];
            let answer: RedisResult<Vec<SlotRange>> = self.ask(client, &command).await;
            match answer {
                Ok(ranges) if !ranges.is_empty() => return Some((client.clone(), ranges)),
                _ => {}
            }
        }
        None
    }

    async fn ask<T: FromRedisValue>(&self, client: &Client, command: &Cmd) -> RedisResult<T> {
        let asking = async {
            let config = self.config.connection();
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            command.query_async(&mut connection).await
        };
        timeout(ASK_LIMIT.min(self.config.response_timeout), asking)
            .await
            .unwrap_or_else(|_| Err(io_error("no answer in time")))
    }
}

/// Slots with one primary, as `CLUSTER SLOTS` lists them.
pub(super) struct SlotRange {
    pub first: u16,
    pub last: u16,
    /// `host:port` of the primary, and then of its replicas; without a host when the node that was
    /// asked does not know it.
    pub nodes: Vec<String>,
}

impl FromRedisValue for SlotRange {
    fn from_redis_value(value: Value) -> Result<Self, redis::ParsingError> {
        let Value::Array(mut parts) = value else {
            return Err("not a range of slots".into());
        };
        if parts.len() < 3 {
            return Err("not a range of slots".into());
        }
        let nodes = parts.split_off(2).into_iter().map(node_address);
        let (first, last) = FromRedisValue::from_redis_value(Value::Array(parts))?;
        Ok(Self {
            first,
            last,
            nodes: nodes.collect::<Result<_, _>>()?,
        })
    }
}

/// `host:port` of a node, which is a list: host, port, id, more about it.
fn node_address(node: Value) -> Result<String, redis::ParsingError> {
    let (host, port): (Option<String>, u16) = match node {
        Value::Array(mut parts) if parts.len() >= 2 => {
            parts.truncate(2);
            FromRedisValue::from_redis_value(Value::Array(parts))?
        }
        _ => return Err("not a node".into()),
    };
    Ok(format!("{}:{port}", host.unwrap_or_default()))
}

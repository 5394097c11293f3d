//! The subscription at one node: its connection, and the channels that it has there.

use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, FromRedisValue, IntoConnectionInfo, Pipeline};
use redis::{ProtocolVersion, PushInfo, PushKind, RedisError, RedisResult, Value};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, interval_at, timeout};

use super::Hub;
use crate::Fault;
use crate::node::Node;

/// The connection must answer a PING this often.
const CHECK: Duration = Duration::from_secs(10);
/// How many channels are subscribed to in one round trip.
const BATCH: usize = 256;

/// What a link is asked to do.
pub(super) enum Command {
    Subscribe(String),
    Unsubscribe(String),
}

/// Opens a link to a node. It ends when the connection is lost, or the hub is gone.
pub(super) fn open(hub: &Arc<Hub>, node: &Node) -> UnboundedSender<Command> {
    let (sender, commands) = unbounded_channel();
    let link = Link {
        hub: Arc::downgrade(hub),
        address: node.address(),
        client: node.client().clone(),
        limit: hub.topology.config().connect_timeout,
        channels: HashSet::new(),
        commands,
    };
    tokio::spawn(link.run());
    sender
}

struct Link {
    hub: Weak<Hub>,
    address: String,
    client: Client,
    limit: Duration,
    /// Subscribed to, or to be.
    channels: HashSet<String>,
    commands: UnboundedReceiver<Command>,
}

impl Link {
    async fn run(mut self) {
        let ended = self.serve().await;
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        hub.links().remove(&self.address);
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            self.take(command);
        }
        if let Err(error) = ended {
            tell(&hub, &error);
        }
        self.channels.iter().for_each(|channel| hub.lose(channel));
        hub.route_later(self.channels.into_iter().collect());
    }

    /// Serves until the connection is lost.
    async fn serve(&mut self) -> RedisResult<()> {
        let (mut connection, mut pushes) = self.connect().await?;
        let mut check = interval_at(Instant::now() + CHECK, CHECK);
        loop {
            tokio::select! {
                command = self.commands.recv() => {
                    let Some(command) = command else { return Ok(()) };
                    self.follow(command, &mut connection).await?;
                    // What the server says of channels that were given up comes before the answer,
                    // and is to be read before such a channel is taken up again.
                    while let Ok(push) = pushes.try_recv() {
                        if !self.take_push(&push) {
                            return Err(closed());
                        }
                    }
                }
                push = pushes.recv() => match push {
                    Some(push) if self.take_push(&push) => {}
                    _ => return Err(closed()),
                },
                _ = check.tick() => {
                    let ping = redis::cmd("PING");
                    let answer = ping.query_async::<Value>(&mut connection);
                    timeout(self.limit, answer).await.map_err(std::io::Error::from)??;
                }
            }
        }
    }

    async fn connect(&self) -> RedisResult<(MultiplexedConnection, UnboundedReceiver<PushInfo>)> {
        // Only with this protocol do messages and answers share a connection.
        let info = self.client.get_connection_info().clone();
        let settings = info.redis_settings().clone();
        let info = info.set_redis_settings(settings.set_protocol(ProtocolVersion::RESP3));
        let client = Client::open(info.into_connection_info()?)?;
        let (sender, pushes) = unbounded_channel();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.limit))
            .set_response_timeout(Some(self.limit))
            .set_push_sender(sender);
        let connection = client
            .get_multiplexed_async_connection_with_config(&config)
            .await?;
        Ok((connection, pushes))
    }

    /// Does what is asked, and whatever else is asked by then, in one round trip.
    async fn follow(
        &mut self,
        command: Command,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<()> {
        let mut added: Vec<String> = Vec::new();
        let mut removed: Vec<String> = Vec::new();
        let mut next = Some(command);
        while let Some(command) = next {
            self.gather(command, &mut added, &mut removed);
            let is_full = added.len() + removed.len() >= BATCH;
            next = match is_full {
                true => None,
                false => self.commands.try_recv().ok(),
            };
        }
        let mut pipeline = Pipeline::new();
        for channel in &added {
            pipeline.cmd("SSUBSCRIBE").arg(channel);
        }
        for channel in &removed {
            pipeline.cmd("SUNSUBSCRIBE").arg(channel);
        }
        let count = added.len() + removed.len();
        if count == 0 {
            return Ok(());
        }
        let answers = connection.send_packed_commands(&pipeline, 0, count).await?;
        let mut moved = Vec::new();
        for (channel, answer) in added.into_iter().zip(answers) {
            match answer.extract_error() {
                Ok(_) => {}
                // Its slot is elsewhere.
                Err(error) if error.redirect_node().is_some() => {
                    self.channels.remove(&channel);
                    moved.push(channel);
                }
                Err(error) => return Err(error),
            }
        }
        if let (false, Some(hub)) = (moved.is_empty(), self.hub.upgrade()) {
            self.redirect(&hub, moved);
        }
        Ok(())
    }

    /// Adds a command to what goes to the node next.
    fn gather(&mut self, command: Command, added: &mut Vec<String>, removed: &mut Vec<String>) {
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        match command {
            Command::Subscribe(channel) => {
                // What is not given up yet still stands.
                let given_up = removed.iter().position(|it| *it == channel);
                let is_new = self.channels.insert(channel.clone());
                match given_up {
                    Some(place) => {
                        removed.swap_remove(place);
                        hub.confirm(&channel);
                    }
                    None if is_new => added.push(channel),
                    None => hub.confirm(&channel),
                }
            }
            // Another listener may have come since.
            Command::Unsubscribe(channel) if hub.is_wanted(&channel) => {}
            Command::Unsubscribe(channel) => {
                if self.channels.remove(&channel) {
                    match added.iter().position(|it| *it == channel) {
                        Some(place) => drop(added.swap_remove(place)),
                        None => removed.push(channel),
                    }
                }
            }
        }
    }

    fn redirect(&self, hub: &Arc<Hub>, channels: Vec<String>) {
        let hub = hub.clone();
        tokio::spawn(async move {
            // A command is redirected as well, and teaches the ways.
            hub.topology.discover().await;
            hub.route(channels);
        });
    }

    /// Hands on what the server says by itself. False when the connection is of no use any more.
    fn take_push(&mut self, push: &PushInfo) -> bool {
        let Some(hub) = self.hub.upgrade() else {
            return false;
        };
        let text = |place: usize| -> Option<String> {
            let value = push.data.get(place)?.clone();
            FromRedisValue::from_redis_value(value).ok()
        };
        match push.kind {
            PushKind::SMessage => {
                let message = match push.data.get(1) {
                    Some(Value::BulkString(bytes)) => bytes.as_slice(),
                    Some(Value::SimpleString(text)) => text.as_bytes(),
                    _ => &[],
                };
                if let Some(channel) = text(0) {
                    hub.dispatch(&channel, message);
                }
            }
            PushKind::SSubscribe => {
                if let Some(channel) = text(0) {
                    hub.confirm(&channel);
                }
            }
            // The slot has left the node; a request under way may have got this as its answer.
            PushKind::SUnsubscribe => {
                return text(0).is_some_and(|channel| !self.channels.contains(&channel));
            }
            PushKind::Disconnection => return false,
            _ => {}
        }
        true
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Subscribe(channel) => self.channels.insert(channel),
            Command::Unsubscribe(channel) => self.channels.remove(&channel),
        };
    }
}

/// Reports why a link has ended.
fn tell(hub: &Hub, error: &RedisError) {
    metrics::counter!("sluice_valkey_subscription_lost_total").increment(1);
    // The operator has to give the user the channels, or the new password.
    if Fault::of(error) == Fault::AccessDenied {
        if !hub.is_refused.swap(true, Ordering::Relaxed) {
            tracing::error!(%error, "Valkey refuses the subscription to notifications, polling instead");
        }
    } else {
        tracing::warn!(%error, "lost the subscription to notifications, polling until it is back");
    }
}

fn closed() -> RedisError {
    std::io::Error::from(std::io::ErrorKind::ConnectionAborted).into()
}

//! The way to the server: commands find the node that has their queue, and are sent again when that
//! is safe.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError};
use redis::{RedisResult, ServerErrorKind};
use sluice_valkey::{Address, Fault, Node, is_broken, reach};

use crate::script::Script;

/// How often a command that is safe to do twice is sent before its caller hears of the failure.
const ATTEMPTS: u32 = 6;

/// The mean pause before the second attempt; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// How many arguments a call has, and their bytes, if it is as small as most. More are no harm.
const CALL: (usize, usize) = (16, 256);

/// How many redirections in a row are followed.
const REDIRECTIONS: usize = 5;

/// One connection to each node that is needed, shared by all tasks of a process.
///
/// Every key of a queue lies in one slot, and so at one node. Where is learned as a client of a
/// cluster has to: by asking any node, which redirects to the right one. A server that is alone
/// never does.
pub(crate) struct Lane {
    address: Address,
    config: AsyncConnectionConfig,
    nodes: Mutex<Nodes>,
}

#[derive(Default)]
struct Nodes {
    /// By address.
    known: HashMap<String, Arc<Node>>,
    /// By hash tag, where its keys are.
    routes: HashMap<String, Arc<Node>>,
    /// Which of the named nodes is asked for what has no route.
    turn: usize,
}

impl Lane {
    pub fn new(address: Address, response_timeout: Duration) -> Self {
        // The default response time-out of 500 ms is shorter than a busy server may need.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(crate::keys::CONNECT_TIMEOUT))
            .set_response_timeout(Some(response_timeout));
        Self {
            address,
            config,
            nodes: Mutex::default(),
        }
    }

    /// Runs a script that is safe to run twice.
    pub async fn script<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |command: &mut Cmd, _| arguments(command);
        self.evaluate(script, root, arguments, ATTEMPTS).await
    }

    /// Runs a script that is safe to run twice when it is told that it was sent before. Until it
    /// is, whatever is sent to this queue afterwards arrives behind it.
    pub async fn script_told<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd, bool),
    ) -> RedisResult<T> {
        self.evaluate(script, root, arguments, ATTEMPTS).await
    }

    /// Runs a script that is not; whether it ran when this fails is not known.
    pub async fn script_once<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd),
    ) -> RedisResult<T> {
        let arguments = |command: &mut Cmd, _| arguments(command);
        self.evaluate(script, root, arguments, 1).await
    }

    /// Sends a command on one key that is safe to do twice.
    pub async fn command<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        self.command_up_to(ATTEMPTS, name, command).await
    }

    /// As [`Lane::command`], and fails soon if it fails: only a connection that was lost meanwhile
    /// is opened again.
    pub async fn command_soon<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        self.command_up_to(2, name, command).await
    }

    async fn command_up_to<T: FromRedisValue>(
        &self,
        attempts: u32,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        let key = command
            .args_iter()
            .nth(1)
            .and_then(|argument| match argument {
                redis::Arg::Simple(key) => std::str::from_utf8(key).ok(),
                _ => None,
            });
        let send = |_| Cow::Borrowed(command);
        self.send_up_to(attempts, name, key.unwrap_or_default(), send)
            .await
    }

    /// Loads the library first when the server does not know it (yet, or since a FUNCTION FLUSH).
    async fn evaluate<T: FromRedisValue>(
        &self,
        script: &Script,
        root: &str,
        arguments: impl Fn(&mut Cmd, bool),
        attempts: u32,
    ) -> RedisResult<T> {
        let call = |again| {
            let mut call = Cmd::with_capacity(CALL.0, CALL.1);
            call.arg("FCALL").arg(&script.function).arg(1).arg(root);
            arguments(&mut call, again);
            Cow::Owned(call)
        };
        match self.send_up_to(attempts, script.name, root, call).await {
            Err(error) if says(&error, "Function not found") => {
                self.load(script, root).await?;
                // The first one that was sent may have run where the library got lost since.
                self.send_up_to(attempts, script.name, root, |_| call(true))
                    .await
            }
            answer => answer,
        }
    }

    /// Loads a script's library where the keys of a queue are.
    async fn load(&self, script: &Script, root: &str) -> RedisResult<()> {
        let mut load = redis::cmd("FUNCTION");
        load.arg("LOAD").arg(&*script.library);
        let send = |_| Cow::Borrowed(&load);
        let loaded: RedisResult<String> = self.send_up_to(ATTEMPTS, "load", root, send).await;
        match loaded {
            // Somebody else was faster.
            Err(error) if says(&error, "already exists") => Ok(()),
            answer => answer.map(drop),
        }
    }

    /// Sends a command, and again after a pause when the connection broke or the server is still
    /// loading. `command` is told whether it was sent before.
    async fn send_up_to<'c, T: FromRedisValue>(
        &self,
        attempts: u32,
        name: &'static str,
        key: &str,
        command: impl Fn(bool) -> Cow<'c, Cmd>,
    ) -> RedisResult<T> {
        let begun = Instant::now();
        let mut attempt = 1;
        let answer = loop {
            let answer = self.send(hash_tag(key), attempt > 1, &command).await;
            match &answer {
                Ok(_) => reach::answered(),
                Err(error) => reach::failed(Fault::of(error), error),
            }
            match answer {
                Err(error) if Fault::of(&error).is_brief() && attempt < attempts => {
                    metrics::counter!("sluice_queue_command_retries_total", "command" => name)
                        .increment(1);
                    tokio::time::sleep(jittered(FIRST_PAUSE * 2_u32.pow(attempt - 1))).await;
                    attempt += 1;
                }
                answer => break answer,
            }
        };
        metrics::histogram!("sluice_queue_command_seconds", "command" => name)
            .record(begun.elapsed());
        answer
    }

    async fn send<'c, T: FromRedisValue>(
        &self,
        tag: &str,
        mut again: bool,
        command: &impl Fn(bool) -> Cow<'c, Cmd>,
    ) -> RedisResult<T> {
        let mut redirections = 0;
        loop {
            let node = self.node(tag);
            let answer = self.ask(&node, &command(again)).await;
            match &answer {
                Err(error) if is_broken(error) => self.avoid(&node),
                Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Moved) => {
                    if let Some((address, _)) = error.redirect_node() {
                        self.reroute(tag, &node, address)?;
                        redirections += 1;
                        if redirections <= REDIRECTIONS {
                            again = true;
                            continue;
                        }
                    }
                }
                _ => {}
            }
            return answer;
        }
    }

    async fn ask<T: FromRedisValue>(&self, node: &Node, command: &Cmd) -> RedisResult<T> {
        let (generation, mut connection) = node.connection(&self.config).await?;
        let answer = command.query_async(&mut connection).await;
        if let Err(error) = &answer {
            node.report(generation, error).await;
        }
        answer
    }

    /// The node to ask for keys with this hash tag.
    fn node(&self, tag: &str) -> Arc<Node> {
        let mut nodes = self.lock();
        if let Some(node) = nodes.routes.get(tag) {
            return node.clone();
        }
        let named = Node::new(self.address.node(nodes.turn).clone());
        let known = nodes.known.entry(named.address());
        let node = known.or_insert_with(|| Arc::new(named)).clone();
        nodes.routes.insert(tag.to_owned(), node.clone());
        node
    }

    fn reroute(&self, tag: &str, asked: &Node, address: &str) -> RedisResult<()> {
        let other = asked.redirected(address)?;
        let mut nodes = self.lock();
        let known = nodes.known.entry(other.address());
        let node = known.or_insert_with(|| Arc::new(other)).clone();
        nodes.routes.insert(tag.to_owned(), node);
        Ok(())
    }

    /// Asks others, for as long as they do not lead back.
    fn avoid(&self, node: &Arc<Node>) {
        let mut nodes = self.lock();
        nodes.routes.retain(|_, other| !Arc::ptr_eq(other, node));
        nodes.turn += 1;
    }

    fn lock(&self) -> MutexGuard<'_, Nodes> {
        self.nodes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The part of a key that decides in which slot it is.
fn hash_tag(key: &str) -> &str {
    let tag = key
        .split_once('{')
        .and_then(|(_, rest)| rest.split_once('}'));
    tag.map_or(key, |(tag, _)| tag)
}

/// Half to one and a half times `mean`, so that many clients do not come back in step.
pub(crate) fn jittered(mean: Duration) -> Duration {
    mean.mul_f64(rand::random_range(0.5..1.5))
}

fn says(error: &RedisError, text: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(text))
}

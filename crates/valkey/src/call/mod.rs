//! Sending commands: to the node that has their key, again where that is safe, and after its
//! redirections.

mod batch;
mod exchange;
mod retry;

use std::borrow::Cow;
use std::time::Instant;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind, Value};

use self::retry::{Failure, Retry};
use crate::library::{Library, is_unknown_function};
use crate::node::is_broken;
use crate::slot::slot_of_command;
use crate::{Fault, Valkey, reach};

/// How many redirections in a row are followed.
const REDIRECTIONS: usize = 5;

/// Which of the connections to a node a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// One connection of all tasks: commands arrive in the order in which they are sent.
    Ordered,
    /// A few connections of all tasks: for many small commands.
    Shared,
    /// A connection of a pool, alone: for large values, which would hold up others.
    Pooled,
}

/// Whether a command may be sent again when it is not known if it was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repeat {
    /// Done twice it does no more than done once.
    Safe,
    /// As [`Repeat::Safe`], but only once more: for a caller that would rather hear of a failure
    /// soon.
    Soon,
    /// It must not be done twice. It is sent again only when it was certainly not done.
    Never,
    /// As [`Repeat::Safe`], except where the server takes no writes: it is given up at once then.
    WhileWritable,
}

/// What a call is, beside its command.
#[derive(Debug, Clone, Copy)]
pub struct Spec<'a> {
    /// What the metrics call it.
    pub name: &'static str,
    /// Whether it may be repeated.
    pub repeat: Repeat,
    /// The library of the function that it calls, to be loaded where it is missing.
    pub library: Option<&'a Library>,
}

impl Spec<'_> {
    /// A command of the server that may be repeated.
    pub fn command(name: &'static str) -> Self {
        Self {
            name,
            repeat: Repeat::Safe,
            library: None,
        }
    }
}

impl Valkey {
    /// Sends a command that may be repeated. `name` is what the metrics call it.
    ///
    /// # Errors
    /// [`Fault::of`] says what they mean.
    pub async fn query<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<T> {
        self.call(Spec::command(name), |_| Cow::Borrowed(command))
            .await
    }

    /// Makes a call. `command` is told whether it was sent before. Until it is, whatever is sent in
    /// order to the same node afterwards arrives behind it.
    ///
    /// # Errors
    /// [`Fault::of`] says what they mean.
    pub async fn call<'c, T: FromRedisValue>(
        &self,
        spec: Spec<'_>,
        command: impl Fn(bool) -> Cow<'c, Cmd>,
    ) -> RedisResult<T> {
        let begun = Instant::now();
        let mut retry = Retry::new(self, spec, begun);
        let answer = loop {
            let answer = self.attempt(&spec, retry.is_again(), &command).await;
            match answer {
                Ok(value) => {
                    reach::answered();
                    break T::from_redis_value(value).map_err(RedisError::from);
                }
                Err(failure) => match retry.after(failure).await {
                    Some(error) => break Err(error),
                    None => continue,
                },
            }
        };
        self.times.record(&self.metrics, spec.name, begun.elapsed());
        answer
    }

    /// Sends many commands, each node's in one round trip, and returns their answers in order. Each
    /// may be repeated, also when another one failed.
    ///
    /// # Errors
    /// The first one, when any of them fails; the others have been done then.
    pub async fn query_all<T: FromRedisValue>(
        &self,
        spec: Spec<'_>,
        commands: Vec<Cmd>,
    ) -> RedisResult<Vec<T>> {
        let begun = Instant::now();
        let mut retry = Retry::new(self, spec, begun);
        let mut answers: Vec<Option<Value>> = commands.iter().map(|_| None).collect();
        let mut pending: Vec<(usize, Cmd)> = commands.into_iter().enumerate().collect();
        while !pending.is_empty() {
            let sent = self.attempt_all(&spec, pending, &mut answers).await;
            pending = match sent {
                Ok(()) => break,
                Err((failure, left)) => match retry.after(failure).await {
                    Some(error) => return Err(error),
                    None => left,
                },
            };
        }
        reach::answered();
        self.times.record(&self.metrics, spec.name, begun.elapsed());
        let answers = answers.into_iter().map(Option::unwrap_or_default);
        answers
            .map(|value| T::from_redis_value(value).map_err(RedisError::from))
            .collect()
    }

    /// Sends a command to each node, replicas of a cluster too, and returns their answers: for what
    /// concerns a whole server, and may be repeated. `name` is what the metrics call it.
    ///
    /// # Errors
    /// The first one; [`Fault::of`] says what it means.
    pub async fn query_nodes<T: FromRedisValue>(
        &self,
        name: &'static str,
        command: &Cmd,
    ) -> RedisResult<Vec<T>> {
        let begun = Instant::now();
        let mut retry = Retry::new(self, Spec::command(name), begun);
        let answers = loop {
            match self.attempt_nodes(command).await {
                Ok(answers) => break answers,
                Err(failure) => {
                    self.note(&failure.error).await;
                    if let Some(error) = retry.after(failure).await {
                        return Err(error);
                    }
                }
            }
        };
        reach::answered();
        self.times.record(&self.metrics, name, begun.elapsed());
        let answers = answers.into_iter();
        answers
            .map(|value| T::from_redis_value(value).map_err(RedisError::from))
            .collect()
    }

    async fn attempt_nodes(&self, command: &Cmd) -> Result<Vec<Value>, Failure> {
        if !self.topology.is_cluster() {
            // Nothing may have been redirected yet.
            let node = self.topology.node(|| 0).await.map_err(Failure::undone)?;
            let mut info = redis::cmd("INFO");
            info.arg("cluster");
            let info = self.exchange(&node, &info).await?;
            let info: String = FromRedisValue::from_redis_value(info)
                .map_err(|error| Failure::undone(error.into()))?;
            if info.contains("cluster_enabled:1") {
                self.topology.discover().await;
            }
        }
        let nodes = self.topology.all().await.map_err(Failure::undone)?;
        let asking = nodes.iter().map(|node| self.exchange(node, command));
        join_all(asking).await.into_iter().collect()
    }

    /// Sends a command once, and follows where it is redirected.
    async fn attempt<'c>(
        &self,
        spec: &Spec<'_>,
        mut is_again: bool,
        command: &impl Fn(bool) -> Cow<'c, Cmd>,
    ) -> Result<Value, Failure> {
        let mut request = command(is_again);
        let slot = || slot_of_command(&request).unwrap_or_default();
        let node = self.topology.node(slot).await;
        let mut node = node.map_err(Failure::undone)?;
        let mut is_asking = false;
        let mut redirections = 0;
        loop {
            let answer = match is_asking {
                false => self.exchange(&node, &request).await,
                true => self.exchange_asking(&node, &request).await,
            };
            let failure = match answer {
                Ok(value) => return Ok(value),
                Err(failure) => failure,
            };
            redirections += 1;
            let target = failure
                .error
                .redirect_node()
                .map(|(node, _)| node.to_owned());
            match (failure.error.kind(), target) {
                (ErrorKind::Server(kind), Some(address)) if redirections <= REDIRECTIONS => {
                    is_asking = kind == ServerErrorKind::Ask;
                    node = match is_asking {
                        true => self.topology.at(&node, &address),
                        false => {
                            let slot = slot_of_command(&request).unwrap_or_default();
                            self.topology.moved(slot, &node, &address)
                        }
                    }
                    .map_err(Failure::undone)?;
                }
                _ => match spec.library {
                    Some(library)
                        if is_unknown_function(&failure.error) && redirections <= REDIRECTIONS =>
                    {
                        self.load(&node, library).await.map_err(Failure::undone)?;
                    }
                    _ => {
                        self.note(&failure.error).await;
                        return Err(failure);
                    }
                },
            }
            // What was sent first may have been done where the function got lost since, and what is
            // sent in order does not arrive in order any more.
            if !is_again {
                is_again = true;
                request = command(true);
            }
        }
    }

    /// Learns the way anew when an error says that it may have changed.
    async fn note(&self, error: &RedisError) {
        let seen_at = Instant::now();
        let is_demoted = Fault::of(error) == Fault::NotWritable;
        if is_broken(error) || is_demoted {
            self.topology.ask_again(seen_at).await;
        }
    }
}

pub(crate) fn says(error: &RedisError, text: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(text))
}

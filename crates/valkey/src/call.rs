//! Sending commands: to the node that has their key, again where that is safe, and after its
//! redirections.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redis::aio::ConnectionLike;
use redis::{Cmd, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisResult};
use redis::{ServerErrorKind, Value};
use sluice_retry::Pauses;

use crate::library::{Library, is_unknown_function};
use crate::node::{Node, is_broken};
use crate::slot::slot_of_command;
use crate::{Fault, Valkey, reach};

/// A command that may be repeated is sent at most this often to a server that is alone …
const ATTEMPTS: u32 = 7;
/// … and not again once this much time has gone by since it was first sent, which outlasts the
/// restart of a server, or the time until another one has taken over.
const RETRY_LIMIT: Duration = Duration::from_secs(15);
/// The pause before the second attempt, and the longest one.
const PAUSES: (Duration, Duration) = (Duration::from_millis(65), Duration::from_secs(2));
/// As the longest pause where another server may take over at any moment.
const FAILOVER_PAUSE: Duration = Duration::from_millis(500);
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

/// How an attempt failed, and whether the server may have done what was asked.
struct Failure {
    error: RedisError,
    is_undone: bool,
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
        self.metrics.record(spec.name, begun.elapsed());
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
        self.metrics.record(spec.name, begun.elapsed());
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
        self.metrics.record(name, begun.elapsed());
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
        let command_at = |is_again| command(is_again);
        let mut request = command_at(is_again);
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
                request = command_at(true);
            }
        }
    }

    /// Sends commands, all at once, and enters their answers. An error of one does not keep the
    /// others from being answered. Returns those without an answer when there are any.
    async fn attempt_all(
        &self,
        spec: &Spec<'_>,
        commands: Vec<(usize, Cmd)>,
        answers: &mut [Option<Value>],
    ) -> Result<(), (Failure, Vec<(usize, Cmd)>)> {
        let mut groups: Vec<Group> = Vec::new();
        for (place, command) in commands {
            let slot = || slot_of_command(&command).unwrap_or_default();
            let node = match self.topology.node(slot).await {
                Ok(node) => node,
                Err(error) => {
                    let left = groups.iter().flat_map(Group::to_commands);
                    let left = left.chain([(place, command)]).collect();
                    return Err((Failure::undone(error), left));
                }
            };
            match groups.iter_mut().find(|it| Arc::ptr_eq(&it.node, &node)) {
                Some(group) => group.add(place, command),
                None => groups.push(Group::new(node, place, command)),
            }
        }
        let sending = groups
            .iter()
            .map(|group| self.exchange_all(&group.node, &group.pipeline));
        let sent = join_all(sending).await;
        let mut failed: Option<Failure> = None;
        let mut left = Vec::new();
        for (group, values) in groups.iter().zip(sent) {
            let values = match values {
                Ok(values) => values,
                Err(failure) => {
                    self.note(&failure.error).await;
                    failed = failed.or(Some(failure));
                    left.extend(group.to_commands());
                    continue;
                }
            };
            for ((place, command), value) in group.commands().zip(values) {
                let failure = match value {
                    // One by one it is redirected, or its function loaded.
                    Value::ServerError(error) => {
                        let error = RedisError::from(error);
                        let answer = match needs_another_way(&error) {
                            true => self.attempt(spec, true, &|_| Cow::Borrowed(command)).await,
                            false => Err(Failure::of_reply(error)),
                        };
                        match answer {
                            Ok(value) => {
                                answers[place] = Some(value);
                                continue;
                            }
                            Err(failure) => failure,
                        }
                    }
                    value => {
                        answers[place] = Some(value);
                        continue;
                    }
                };
                failed = failed.or(Some(failure));
                left.push((place, command.clone()));
            }
        }
        failed.map_or(Ok(()), |failure| Err((failure, left)))
    }

    async fn exchange(&self, node: &Node, command: &Cmd) -> Result<Value, Failure> {
        let shared = match self.way {
            Way::Ordered => node.ordered(),
            Way::Shared => node.shared(),
            Way::Pooled => {
                let mut connection = node.pooled().await.map_err(Failure::undone)?;
                return check(connection.req_packed_command(command).await);
            }
        };
        let opened = node.open(shared).await;
        let (generation, mut connection) = opened.map_err(Failure::undone)?;
        let answer = connection.send_packed_command(command).await;
        if let Err(error) = &answer {
            shared.report(generation, error).await;
        }
        check(answer)
    }

    async fn exchange_all(&self, node: &Node, commands: &Pipeline) -> Result<Vec<Value>, Failure> {
        let count = commands.len();
        let shared = match self.way {
            Way::Ordered => node.ordered(),
            Way::Shared => node.shared(),
            Way::Pooled => {
                let mut connection = node.pooled().await.map_err(Failure::undone)?;
                let values = connection.req_packed_commands(commands, 0, count).await;
                return values.map_err(Failure::of_reply);
            }
        };
        let opened = node.open(shared).await;
        let (generation, mut connection) = opened.map_err(Failure::undone)?;
        let answer = connection.send_packed_commands(commands, 0, count).await;
        if let Err(error) = &answer {
            shared.report(generation, error).await;
        }
        answer.map_err(Failure::of_reply)
    }

    /// To the node that a slot is just moving to.
    async fn exchange_asking(&self, node: &Node, command: &Cmd) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command.clone());
        let mut values = self.exchange_all(node, &pipeline).await?;
        check(Ok(values.pop().unwrap_or_default()))
    }

    /// Loads a library at a node.
    async fn load(&self, node: &Node, library: &Library) -> RedisResult<()> {
        let loaded = self.exchange(node, &library.load_command()).await;
        match loaded.map_err(|failure| failure.error) {
            // Another process was faster.
            Err(error) if says(&error, "already exists") => Ok(()),
            answer => answer.map(drop),
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

/// Commands for one node, with their places among all.
struct Group {
    node: Arc<Node>,
    places: Vec<usize>,
    pipeline: Pipeline,
}

impl Group {
    fn new(node: Arc<Node>, place: usize, command: Cmd) -> Self {
        let mut group = Self {
            node,
            places: Vec::new(),
            pipeline: Pipeline::new(),
        };
        group.add(place, command);
        group
    }

    fn add(&mut self, place: usize, command: Cmd) {
        self.places.push(place);
        self.pipeline.add_command(command);
    }

    fn commands(&self) -> impl Iterator<Item = (usize, &Cmd)> {
        self.places.iter().copied().zip(self.pipeline.cmd_iter())
    }

    /// To be sent again, which is rare.
    fn to_commands(&self) -> impl Iterator<Item = (usize, Cmd)> {
        self.commands()
            .map(|(place, command)| (place, command.clone()))
    }
}

/// The attempts of one call so far.
struct Retry<'v, 's> {
    valkey: &'v Valkey,
    spec: Spec<'s>,
    begun: Instant,
    attempt: u32,
    pauses: Option<Pauses>,
}

impl<'v, 's> Retry<'v, 's> {
    fn new(valkey: &'v Valkey, spec: Spec<'s>, begun: Instant) -> Self {
        Self {
            valkey,
            spec,
            begun,
            attempt: 1,
            pauses: None,
        }
    }

    fn is_again(&self) -> bool {
        self.attempt > 1
    }

    /// Waits for the next attempt, or returns the error when there is to be none.
    async fn after(&mut self, failure: Failure) -> Option<RedisError> {
        let Failure { error, is_undone } = failure;
        let fault = Fault::of(&error);
        let name = self.spec.name;
        self.valkey.metrics.count_failure(name);
        reach::failed(fault, &error);
        let has_failover = self.valkey.topology.has_failover();
        let is_last = match self.spec.repeat {
            Repeat::Soon => self.attempt >= 2,
            Repeat::Safe | Repeat::WhileWritable => self.attempt >= ATTEMPTS && !has_failover,
            Repeat::Never => !is_undone || (self.attempt >= ATTEMPTS && !has_failover),
        };
        let gives_up = self.spec.repeat == Repeat::WhileWritable && fault.refuses_writes();
        let is_over = is_last || gives_up || self.begun.elapsed() > RETRY_LIMIT;
        if is_over || !fault.is_brief() {
            return Some(error);
        }
        tracing::debug!(call = name, attempt = self.attempt, %error, "trying again");
        self.valkey.metrics.count_retry(name);
        let longest = match has_failover {
            true => FAILOVER_PAUSE,
            false => PAUSES.1,
        };
        let pauses = &mut self.pauses;
        let pauses = pauses.get_or_insert_with(|| Pauses::new(PAUSES.0, longest));
        tokio::time::sleep(pauses.next_pause()).await;
        self.attempt += 1;
        None
    }
}

impl Failure {
    /// Before anything was sent, or nothing but what changes no data.
    fn undone(error: RedisError) -> Self {
        Self {
            error,
            is_undone: true,
        }
    }

    /// After the command was sent. A server that says why it does nothing has done nothing.
    fn of_reply(error: RedisError) -> Self {
        let is_undone = matches!(Fault::of(&error), Fault::Busy | Fault::NotWritable);
        Self { error, is_undone }
    }
}

/// An error reply as an error.
fn check(answer: RedisResult<Value>) -> Result<Value, Failure> {
    answer
        .and_then(Value::extract_error)
        .map_err(Failure::of_reply)
}

/// Whether the same command is answered at another node, or once its function is loaded.
fn needs_another_way(error: &RedisError) -> bool {
    let kind = error.kind();
    let is_redirected = matches!(
        kind,
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask)
    );
    is_redirected || is_unknown_function(error)
}

pub(crate) fn says(error: &RedisError, text: &str) -> bool {
    error.detail().is_some_and(|detail| detail.contains(text))
}

//! Many commands at once: divided among the nodes that have their keys.

use std::borrow::Cow;
use std::sync::Arc;

use futures_util::future::join_all;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};

use super::Spec;
use super::retry::Failure;
use crate::Valkey;
use crate::library::is_unknown_function;
use crate::node::Node;
use crate::slot::slot_of_command;

impl Valkey {
    /// Sends commands, all at once, and enters their answers. An error of one does not keep the
    /// others from being answered. Returns those without an answer when there are any.
    pub(super) async fn attempt_all(
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

/// Whether the same command is answered at another node, or once its function is loaded.
fn needs_another_way(error: &RedisError) -> bool {
    let kind = error.kind();
    let is_redirected = matches!(
        kind,
        ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask)
    );
    is_redirected || is_unknown_function(error)
}

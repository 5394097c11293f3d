//! One command, or one batch, over one connection to one node.

use redis::aio::ConnectionLike;
use redis::{Cmd, Pipeline, RedisResult, Value};

use super::retry::Failure;
use super::{Way, says};
use crate::Valkey;
use crate::library::Library;
use crate::node::Node;

impl Valkey {
    pub(super) async fn exchange(&self, node: &Node, command: &Cmd) -> Result<Value, Failure> {
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

    pub(super) async fn exchange_all(
        &self,
        node: &Node,
        commands: &Pipeline,
    ) -> Result<Vec<Value>, Failure> {
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
    pub(super) async fn exchange_asking(
        &self,
        node: &Node,
        command: &Cmd,
    ) -> Result<Value, Failure> {
        let mut pipeline = Pipeline::with_capacity(2);
        pipeline.cmd("ASKING").add_command(command.clone());
        let mut values = self.exchange_all(node, &pipeline).await?;
        check(Ok(values.pop().unwrap_or_default()))
    }

    /// Loads a library at a node.
    pub(super) async fn load(&self, node: &Node, library: &Library) -> RedisResult<()> {
        let loaded = self.exchange(node, &library.load_command()).await;
        match loaded.map_err(|failure| failure.error) {
            // Another process was faster.
            Err(error) if says(&error, "already exists") => Ok(()),
            answer => answer.map(drop),
        }
    }
}

/// An error reply as an error.
fn check(answer: RedisResult<Value>) -> Result<Value, Failure> {
    answer
        .and_then(Value::extract_error)
        .map_err(Failure::of_reply)
}

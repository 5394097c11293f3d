use std::sync::atomic::{AtomicUsize, Ordering};

use redis::{AsyncConnectionConfig, Client};
use sluice_valkey::Node;

/// How many connections a process shares. One that carries a large answer does not hold up the
/// others.
const LANES: usize = 4;

/// A few connections that all tasks of a process share, each opened when it is first needed, and
/// anew after it broke.
///
/// Taking one from a pool costs a PING each time, which is as much as a small command. Here
/// commands of many tasks go out together, and nobody waits for a free connection.
pub(crate) struct Lanes {
    config: AsyncConnectionConfig,
    lanes: [Node; LANES],
    next: AtomicUsize,
}

impl Lanes {
    pub fn new(client: &Client, config: AsyncConnectionConfig) -> Self {
        Self {
            config,
            lanes: std::array::from_fn(|_| Node::new(client.clone())),
            next: AtomicUsize::new(0),
        }
    }

    /// The next one, in turn.
    pub fn next(&self) -> (&Node, &AsyncConnectionConfig) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) % LANES;
        (&self.lanes[at], &self.config)
    }
}

//! Which node has which slot, and how that is learned anew when it changes.
//!
//! A server that is alone has all slots. A cluster shows itself by a redirection; from then on its
//! table of slots is known, 32 KiB whatever the number of keys, and is asked for again after a
//! redirection or when a node is lost. Behind sentinels the primary is the one that they name.

mod ask;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockWriteGuard};
use std::time::Instant;

use redis::{Client, ErrorKind, RedisError, RedisResult};
use tokio::sync::Mutex;

use self::ask::SlotRange;
use crate::node::{Node, redirected};
use crate::slot::SLOTS;
use crate::{Address, ValkeyConfig};

/// What a process knows of the servers at an address.
pub(crate) struct Topology {
    address: Address,
    config: ValkeyConfig,
    routes: RwLock<Routes>,
    /// When the routes were last asked for. Locked while they are.
    asked_at: Mutex<Option<Instant>>,
}

struct Routes {
    nodes: Vec<Arc<Node>>,
    /// By slot, the place of its primary among the nodes; none while all slots are the first's.
    slots: Option<Box<[u16]>>,
    /// Which of the named nodes is asked next.
    turn: usize,
}

impl Topology {
    pub fn new(address: Address, config: ValkeyConfig) -> Self {
        // The first of the sentinels is no server to send commands to.
        let nodes = match address.watched() {
            Some(_) => Vec::new(),
            None => vec![Arc::new(Node::new(address.node(0).clone(), config.clone()))],
        };
        let routes = Routes {
            nodes,
            slots: None,
            turn: 0,
        };
        Self {
            address,
            config,
            routes: RwLock::new(routes),
            asked_at: Mutex::default(),
        }
    }

    pub fn address(&self) -> &Address {
        &self.address
    }

    pub fn config(&self) -> &ValkeyConfig {
        &self.config
    }

    /// Whether another server may take over from one that is lost.
    pub fn has_failover(&self) -> bool {
        self.address.watched().is_some() || self.address.named() > 1 || self.is_cluster()
    }

    pub fn is_cluster(&self) -> bool {
        self.read(|routes| routes.slots.is_some())
    }

    /// The primary of a slot. `slot` is only called where it makes a difference.
    ///
    /// # Errors
    /// When no sentinel knows a primary.
    pub async fn node(&self, slot: impl Fn() -> u16) -> RedisResult<Arc<Node>> {
        if let Some(node) = self.known(&slot) {
            return Ok(node);
        }
        self.ask_again(Instant::now()).await;
        self.known(&slot)
            .ok_or_else(|| io_error("no sentinel knows the primary"))
    }

    fn known(&self, slot: &impl Fn() -> u16) -> Option<Arc<Node>> {
        self.read(|routes| {
            let place = match &routes.slots {
                Some(slots) => usize::from(slots[usize::from(slot()) % SLOTS]),
                None => 0,
            };
            routes.nodes.get(place).cloned()
        })
    }

    /// Every node, replicas of a cluster too.
    ///
    /// # Errors
    /// When no node, or no sentinel, says which there are.
    pub async fn all(&self) -> RedisResult<Vec<Arc<Node>>> {
        if !self.is_cluster() {
            return Ok(vec![self.node(|| 0).await?]);
        }
        let Some((client, ranges)) = self.ask_ranges().await else {
            return Err(io_error("no node says which others there are"));
        };
        let mut addresses: Vec<_> = ranges.iter().flat_map(|range| &range.nodes).collect();
        addresses.sort_unstable();
        addresses.dedup();
        let nodes = addresses.into_iter().map(|address| {
            let node = Node::new(redirected(&client, address)?, self.config.clone());
            let known = self.read(|routes| routes.find(&node.address()));
            Ok(known.unwrap_or_else(|| Arc::new(node)))
        });
        nodes.collect()
    }

    /// Follows a redirection of a slot. The rest of the table is asked for meanwhile.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn moved(
        self: &Arc<Self>,
        slot: u16,
        asked: &Node,
        address: &str,
    ) -> RedisResult<Arc<Node>> {
        let node = self.at(asked, address)?;
        let mut routes = self.write();
        let place = routes.place(&node);
        let slots = routes
            .slots
            .get_or_insert_with(|| vec![0; SLOTS].into_boxed_slice());
        slots[usize::from(slot) % SLOTS] = place;
        drop(routes);
        let (this, seen_at) = (self.clone(), Instant::now());
        tokio::spawn(async move { this.ask_again(seen_at).await });
        Ok(node)
    }

    /// The node at an address that another one named.
    ///
    /// # Errors
    /// When the address is malformed.
    pub fn at(&self, asked: &Node, address: &str) -> RedisResult<Arc<Node>> {
        let node = Node::new(redirected(asked.client(), address)?, self.config.clone());
        let address = node.address();
        let mut routes = self.write();
        if let Some(known) = routes.find(&address) {
            return Ok(known);
        }
        let node = Arc::new(node);
        routes.nodes.push(node.clone());
        Ok(node)
    }

    /// Learns the routes of what has shown itself as a cluster by a redirection elsewhere.
    pub async fn discover(&self) {
        let seen_at = Instant::now();
        self.write()
            .slots
            .get_or_insert_with(|| vec![0; SLOTS].into_boxed_slice());
        self.ask_again(seen_at).await;
    }

    /// Learns the routes anew, unless that was done since `seen_at`, when a caller saw that they
    /// are wrong. Callers at the same time share one answer.
    pub async fn ask_again(&self, seen_at: Instant) {
        let mut asked_at = self.asked_at.lock().await;
        if asked_at.is_some_and(|at| at > seen_at) {
            return;
        }
        let begun = Instant::now();
        match self.address.watched() {
            Some(watched) => self.ask_sentinels(watched).await,
            None if self.is_cluster() => self.ask_nodes().await,
            None => self.next_named(),
        }
        *asked_at = Some(begun);
    }

    /// Of several named servers that have shown no cluster yet, the next one is as good.
    fn next_named(&self) {
        if self.address.named() == 1 {
            return;
        }
        let mut routes = self.write();
        routes.turn += 1;
        let client = self.address.node(routes.turn).clone();
        routes.nodes = vec![Arc::new(Node::new(client, self.config.clone()))];
    }

    fn learn(&self, client: &Client, ranges: &[SlotRange]) {
        let mut routes = self.write();
        let before = std::mem::take(&mut routes.nodes);
        let mut slots = routes.slots.take().unwrap_or_default().into_vec();
        let mut nodes: Vec<Arc<Node>> = Vec::new();
        let mut place_of: HashMap<String, u16> = HashMap::new();
        let mut place = |node: Arc<Node>| {
            *place_of.entry(node.address()).or_insert_with(|| {
                nodes.push(node);
                (nodes.len() - 1) as u16
            })
        };
        // A slot that nobody serves at present keeps the node that it had.
        let mut table: Vec<Option<u16>> = vec![None; SLOTS];
        for range in ranges {
            let primary = range.nodes.first();
            let Some(Ok(client)) = primary.map(|primary| redirected(client, primary)) else {
                continue;
            };
            let address = crate::node::address_of(&client);
            let known = before.iter().find(|node| node.address() == address);
            let node = match known {
                Some(node) => node.clone(),
                None => Arc::new(Node::new(client, self.config.clone())),
            };
            let place = place(node);
            let slots = table.get_mut(usize::from(range.first)..=usize::from(range.last));
            slots.into_iter().flatten().for_each(|it| *it = Some(place));
        }
        slots.resize(SLOTS, 0);
        for (slot, known) in slots.iter_mut().zip(table) {
            *slot = match known {
                Some(known) => known,
                None => before
                    .get(usize::from(*slot))
                    .map_or(0, |node| place(node.clone())),
            };
        }
        routes.nodes = nodes;
        routes.slots = Some(slots.into_boxed_slice());
    }

    fn next_turn(&self) -> usize {
        let mut routes = self.write();
        routes.turn = routes.turn.wrapping_add(1);
        routes.turn
    }

    fn write(&self) -> RwLockWriteGuard<'_, Routes> {
        self.routes.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn read<T>(&self, look: impl FnOnce(&Routes) -> T) -> T {
        look(&self.routes.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Routes {
    fn find(&self, address: &str) -> Option<Arc<Node>> {
        let mut nodes = self.nodes.iter();
        nodes.find(|node| node.address() == address).cloned()
    }

    /// The place of a node, which is given one if it has none.
    fn place(&mut self, node: &Arc<Node>) -> u16 {
        let known = self.nodes.iter().position(|known| Arc::ptr_eq(known, node));
        let place = known.unwrap_or_else(|| {
            self.nodes.push(node.clone());
            self.nodes.len() - 1
        });
        place as u16
    }
}

fn io_error(text: &'static str) -> RedisError {
    RedisError::from((ErrorKind::Io, text))
}

//! A Valkey Cluster per test: three primaries, each with a replica if it is wanted.

use std::time::{Duration, Instant};

use redis::Connection;

use crate::{TestValkey, free_port};

const PRIMARIES: usize = 3;
const SLOTS: usize = 16_384;

/// How long the nodes may take to agree on something.
const AGREE_LIMIT: Duration = Duration::from_secs(60);

/// The servers of a cluster that belongs to one test. Dropping it ends them.
pub struct TestCluster {
    nodes: Vec<TestValkey>,
}

impl TestCluster {
    /// Three primaries that share the slots evenly.
    ///
    /// # Panics
    /// When no server is installed (`make test` installs one) or they do not become a cluster.
    pub fn start() -> Self {
        Self::start_nodes(PRIMARIES, &[])
    }

    /// As [`TestCluster::start`], and a replica of each, with further options for the servers.
    ///
    /// # Panics
    /// As [`TestCluster::start`].
    pub fn start_with_replicas(options: &[&str]) -> Self {
        let cluster = Self::start_nodes(2 * PRIMARIES, options);
        for primary in 0..PRIMARIES {
            let id = cluster.ask(primary, &["CLUSTER", "MYID"]);
            let replica = PRIMARIES + primary;
            wait_until("the nodes know each other", || {
                cluster.ask(replica, &["CLUSTER", "NODES"]).contains(&id)
            });
            cluster.ask(replica, &["CLUSTER", "REPLICATE", &id]);
        }
        wait_until("the replicas are in step", || {
            (PRIMARIES..2 * PRIMARIES).all(|replica| {
                cluster
                    .ask(replica, &["INFO", "replication"])
                    .contains("master_link_status:up")
            })
        });
        cluster
    }

    fn start_nodes(count: usize, more: &[&str]) -> Self {
        let nodes = (0..count).map(|_| {
            let bus = free_port().to_string();
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
            options.extend(["--cluster-node-timeout", "2000"]);
            options.extend(["--repl-diskless-sync-delay", "0"]);
            options.extend(more);
            (TestValkey::start_with(&options), bus)
        });
        let (nodes, buses): (Vec<_>, Vec<_>) = nodes.unzip();
        let cluster = Self { nodes };
        for (number, bus) in buses.iter().enumerate() {
            cluster.ask(
                number,
                &["CLUSTER", "SET-CONFIG-EPOCH", &(number + 1).to_string()],
            );
            let port = cluster.nodes[number].port().to_string();
            cluster.ask(0, &["CLUSTER", "MEET", "127.0.0.1", &port, bus]);
        }
        for number in 0..PRIMARIES {
            let bound = |number: usize| SLOTS * number / PRIMARIES;
            let (first, last) = (
                bound(number).to_string(),
                (bound(number + 1) - 1).to_string(),
            );
            cluster.ask(number, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]);
        }
        wait_until("the cluster is up", || {
            (0..count).all(|number| {
                let info = cluster.ask(number, &["CLUSTER", "INFO"]);
                info.contains("cluster_state:ok")
                    && info.contains(&format!("cluster_known_nodes:{count}"))
            })
        });
        cluster
    }

    /// `redis://` and the addresses of the first three nodes.
    pub fn url(&self) -> String {
        self.url_as("")
    }

    /// As [`TestCluster::url`], of a user: `name:password@`.
    pub fn url_as(&self, user: &str) -> String {
        let nodes = self.nodes[..PRIMARIES].iter();
        let nodes: Vec<_> = nodes
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis://{user}{}", nodes.join(","))
    }

    /// The number of the living node that has the slot of this key.
    ///
    /// # Panics
    /// When none has.
    pub fn owner(&self, key: &str) -> usize {
        let slot = self.slot(key);
        let mut owner = None;
        wait_until("a node has the slot", || {
            owner = (0..self.nodes.len()).find(|&number| self.has_slot(number, slot));
            owner.is_some()
        });
        owner.expect("just seen")
    }

    /// Moves the slot of this key to another primary, and returns when it is there.
    ///
    /// # Panics
    /// When it does not get there.
    pub fn move_slot(&self, key: &str, to: usize) {
        let slot = self.slot(key);
        let from = self.owner(key);
        let text = slot.to_string();
        let id = self.ask(to, &["CLUSTER", "MYID"]);
        let range = ["SLOTSRANGE", &text, &text, "NODE", &id];
        let at_once = [&["CLUSTER", "MIGRATESLOTS"], &range[..]].concat();
        match self.nodes[from].ask(&at_once) {
            Ok(_) => {}
            Err(error) if error.to_string().contains("does not support") => {
                self.move_keys(&text, from, to);
            }
            Err(error) => panic!("cannot move slot {slot}: {error}"),
        }
        wait_until("the slot has moved", || self.has_slot(to, slot));
    }

    /// As [`TestCluster::move_slot`], key by key: the JSON module knows no other way.
    fn move_keys(&self, slot: &str, from: usize, to: usize) {
        let id = |number: usize| self.ask(number, &["CLUSTER", "MYID"]);
        let (source, target) = (id(from), id(to));
        let set = |number: usize, state: &[&str]| {
            self.ask(number, &[&["CLUSTER", "SETSLOT", slot], state].concat());
        };
        set(to, &["IMPORTING", &source]);
        set(from, &["MIGRATING", &target]);
        let mut connection = self.connection(from);
        let port = self.nodes[to].port();
        loop {
            let mut list = redis::cmd("CLUSTER");
            let list = list.arg("GETKEYSINSLOT").arg(slot).arg(100);
            let keys: Vec<String> = list.query(&mut connection).expect("the keys of the slot");
            if keys.is_empty() {
                break;
            }
            let mut migrate = redis::cmd("MIGRATE");
            migrate.arg("127.0.0.1").arg(port).arg("").arg(0);
            migrate.arg(5000).arg("KEYS").arg(keys);
            migrate.exec(&mut connection).expect("the keys move");
        }
        for number in [to, from] {
            set(number, &["NODE", &target]);
        }
    }

    /// Waits until a replica of this node has what was written to it.
    ///
    /// # Panics
    /// When none gets it.
    pub fn replicate(&self, number: usize) {
        let written = self.nodes[number].replication("master_repl_offset");
        let port = self.nodes[number].port().to_string();
        wait_until("a replica has what was written", || {
            self.living().any(|node| {
                let is_replica = node.replication("master_port").as_deref() == Some(port.as_str());
                is_replica && node.has_replicated(written.as_deref())
            })
        });
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].kill();
    }

    /// Ends a primary with SIGKILL amid its work. Its replica has all that it has acknowledged by
    /// then: it stops to take writes, waits for the replica, and is killed with the writes that
    /// have come since.
    ///
    /// # Panics
    /// When the replica does not get it.
    pub fn kill_replicated(&mut self, number: usize) {
        let limit = AGREE_LIMIT.as_millis().to_string();
        self.ask(number, &["CLIENT", "PAUSE", &limit, "WRITE"]);
        self.replicate(number);
        self.kill(number);
    }

    /// Waits until living nodes have all slots, and agree on it.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_until_whole(&self) {
        wait_until("the cluster is whole", || {
            self.living().all(|node| {
                let info = node.ask(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
            }) && self.primaries().len() == PRIMARIES
        });
    }

    /// The numbers of the living replicas that are in step with their primary.
    pub fn replicas(&self) -> Vec<usize> {
        let is_in_step = |&number: &usize| {
            let link = self.nodes[number].replication("master_link_status");
            link.as_deref() == Some("up")
        };
        (0..self.nodes.len()).filter(is_in_step).collect()
    }

    /// The numbers of the living primaries that have a replica in step.
    pub fn replicated(&self) -> Vec<usize> {
        let replicas = self.replicas().into_iter();
        let followed: Vec<_> = replicas
            .filter_map(|number| self.nodes[number].replication("master_port"))
            .collect();
        let is_followed = |&number: &usize| {
            let port = self.nodes[number].port().to_string();
            followed.contains(&port)
        };
        self.primaries().into_iter().filter(is_followed).collect()
    }

    /// The numbers of the living primaries.
    pub fn primaries(&self) -> Vec<usize> {
        let numbers = 0..self.nodes.len();
        let is_primary = |&number: &usize| {
            let role = self.nodes[number].replication("role");
            role.as_deref() == Some("master")
        };
        numbers.filter(is_primary).collect()
    }

    /// The keys that match, of all primaries, in no order; `*` stands for any text.
    ///
    /// # Panics
    /// When one does not answer.
    pub fn keys(&self, pattern: &str) -> Vec<String> {
        let primaries = self.primaries().into_iter();
        primaries
            .flat_map(|number| self.nodes[number].keys(pattern))
            .collect()
    }

    /// A plain connection to the node that has the slot of this key.
    ///
    /// # Panics
    /// When none has.
    pub fn connection_of(&self, key: &str) -> Connection {
        self.connection(self.owner(key))
    }

    /// `redis://127.0.0.1:<port>` of one node.
    pub fn node_url(&self, number: usize) -> String {
        self.nodes[number].url()
    }

    fn living(&self) -> impl Iterator<Item = &TestValkey> {
        self.nodes.iter().filter(|node| node.ask(&["PING"]).is_ok())
    }

    /// A plain connection to one node.
    pub fn connection(&self, number: usize) -> Connection {
        self.nodes[number].connection()
    }

    /// The slot of a key.
    ///
    /// # Panics
    /// When no node lives.
    pub fn slot(&self, key: &str) -> u64 {
        let living =
            (0..self.nodes.len()).find(|&number| self.nodes[number].ask(&["PING"]).is_ok());
        redis::cmd("CLUSTER")
            .arg("KEYSLOT")
            .arg(key)
            .query(&mut self.connection(living.expect("a living node")))
            .expect("an answer")
    }

    /// Whether a node lives and says that it has the slot.
    fn has_slot(&self, number: usize, slot: u64) -> bool {
        let Ok(nodes) = self.nodes[number].ask(&["CLUSTER", "NODES"]) else {
            return false;
        };
        let Some(own) = nodes.lines().find(|line| line.contains("myself")) else {
            return false;
        };
        // After eight fields come the slots and ranges of slots.
        let is_primary = own.contains("master");
        is_primary
            && own.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                let bound = |text: &str| text.parse::<u64>().ok();
                bound(first)
                    .zip(bound(last))
                    .is_some_and(|(first, last)| (first..=last).contains(&slot))
            })
    }

    fn ask(&self, number: usize, command: &[&str]) -> String {
        self.nodes[number]
            .ask(command)
            .unwrap_or_else(|error| panic!("{command:?} of node {number} fails: {error}"))
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < AGREE_LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

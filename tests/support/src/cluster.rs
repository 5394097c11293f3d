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
        Self::start_nodes(PRIMARIES)
    }

    /// As [`TestCluster::start`], and a replica of each.
    ///
    /// # Panics
    /// As [`TestCluster::start`].
    pub fn start_with_replicas() -> Self {
        let cluster = Self::start_nodes(2 * PRIMARIES);
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

    fn start_nodes(count: usize) -> Self {
        let nodes = (0..count).map(|_| {
            let bus = free_port().to_string();
            let mut options = vec!["--cluster-enabled", "yes", "--cluster-port", &bus];
            options.extend(["--cluster-node-timeout", "2000"]);
            options.extend(["--repl-diskless-sync-delay", "0"]);
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
        let nodes = self.nodes[..PRIMARIES].iter();
        let nodes: Vec<_> = nodes
            .map(|node| format!("127.0.0.1:{}", node.port()))
            .collect();
        format!("redis://{}", nodes.join(","))
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
        let id = self.ask(to, &["CLUSTER", "MYID"]);
        let text = slot.to_string();
        let command = [
            "CLUSTER",
            "MIGRATESLOTS",
            "SLOTSRANGE",
            &text,
            &text,
            "NODE",
            &id,
        ];
        self.ask(self.owner(key), &command);
        wait_until("the slot has moved", || self.has_slot(to, slot));
    }

    /// Waits until the replicas have what was written to this node.
    ///
    /// # Panics
    /// When they do not get it.
    pub fn replicate(&self, number: usize) {
        let mut wait = redis::cmd("WAIT");
        let replicas: u32 = wait
            .arg(1)
            .arg(AGREE_LIMIT.as_millis() as u64)
            .query(&mut self.nodes[number].connection())
            .expect("an answer");
        assert!(replicas > 0, "no replica has it");
    }

    /// Ends a node with SIGKILL.
    pub fn kill(&mut self, number: usize) {
        self.nodes[number].kill();
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
        let living = (0..self.nodes.len())
            .find_map(|number| self.try_ask(number, &["PING"]).map(|_| number));
        redis::cmd("CLUSTER")
            .arg("KEYSLOT")
            .arg(key)
            .query(&mut self.connection(living.expect("a living node")))
            .expect("an answer")
    }

    /// Whether a node lives and says that it has the slot.
    fn has_slot(&self, number: usize, slot: u64) -> bool {
        let Some(nodes) = self.try_ask(number, &["CLUSTER", "NODES"]) else {
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
        self.try_ask(number, command)
            .unwrap_or_else(|| panic!("{command:?} of node {number} fails"))
    }

    fn try_ask(&self, number: usize, command: &[&str]) -> Option<String> {
        let client = redis::Client::open(self.nodes[number].url()).ok()?;
        let mut connection = client
            .get_connection_with_timeout(Duration::from_secs(5))
            .ok()?;
        let (name, arguments) = command.split_first()?;
        redis::cmd(name).arg(arguments).query(&mut connection).ok()
    }
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !condition() {
        assert!(begun.elapsed() < AGREE_LIMIT, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

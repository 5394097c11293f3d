//! A cluster of six servers that belong to this process: three primaries, each with a replica.
//!
//! Each node keeps its files, and with them its slots and its role, in a folder of its own. Slots
//! and roles are given on the first start; afterwards the nodes know them, whatever failovers have
//! made of them since. Nodes keep their ports over restarts; one whose port was taken is made known
//! to the others again.

use std::fs;
use std::path::Path;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::FromRedisValue;
use tokio::time::{Instant, sleep};

use super::child::Software;
use super::valkey::PrivateValkey;
use crate::data_folder::{random_secret, write_private};
use crate::failure::{Context, Failure};

const PRIMARIES: usize = 3;
const NODES: usize = 2 * PRIMARIES;
const SLOTS: usize = 16_384;

/// The file in the folder of the cluster that says that its nodes have their slots and roles.
const FORMED: &str = "formed";

/// How long the nodes may take to agree on something.
const AGREE_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at what they agree on.
const PAUSE: Duration = Duration::from_millis(50);

/// Starts the nodes with their files below `folder`, and waits until they are a whole cluster.
/// Returns its URL, too.
pub async fn start(
    software: &Software,
    folder: &Path,
) -> Result<(String, Vec<PrivateValkey>), Failure> {
    let formed = folder.join(FORMED);
    let is_formed = formed.exists();
    let folders = (1..=NODES).map(|number| folder.join(number.to_string()));
    if !is_formed {
        // Nodes that have not become a cluster hold nothing, but may know a part of the others.
        for node in folders.clone().filter(|node| node.exists()) {
            let doing = || format!("cannot empty {}", node.display());
            PrivateValkey::ended(&node).await?;
            fs::remove_dir_all(&node).context(doing())?;
        }
    }
    let password = random_secret();
    let starts = folders.map(|node| {
        let password = password.clone();
        async move { PrivateValkey::start_node(software, &node, password).await }
    });
    let mut nodes = Vec::new();
    let mut failed = None;
    for start in join_all(starts).await {
        match start {
            Ok(node) => nodes.push(node),
            Err(failure) => failed = failed.or(Some(failure)),
        }
    }
    let outcome = match failed {
        Some(failure) => Err(failure),
        None => form(&nodes, is_formed).await,
    };
    let outcome = outcome.and_then(|()| write_private(&formed, b""));
    match outcome {
        Ok(()) => Ok((url(&nodes, &password), nodes)),
        Err(failure) => {
            join_all(nodes.into_iter().map(PrivateValkey::stop)).await;
            Err(failure)
        }
    }
}

/// Lets the nodes find each other, with slots and roles unless they have them, and waits until all
/// slots are served.
async fn form(nodes: &[PrivateValkey], is_formed: bool) -> Result<(), Failure> {
    if !is_formed {
        for (number, node) in nodes.iter().enumerate() {
            // Nodes of the same epoch would have to settle first whose slots count.
            let epoch = (number + 1).to_string();
            let _: () = ask(node, &["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
        }
    }
    try_join_all(nodes.iter().map(|node| meet(node, nodes))).await?;
    if !is_formed {
        let (primaries, replicas) = nodes.split_at(PRIMARIES);
        for (number, primary) in primaries.iter().enumerate() {
            let first = SLOTS * number / PRIMARIES;
            let last = SLOTS * (number + 1) / PRIMARIES - 1;
            let (first, last) = (first.to_string(), last.to_string());
            let _: () = ask(primary, &["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
        }
        for (primary, replica) in primaries.iter().zip(replicas) {
            let id: String = ask(primary, &["CLUSTER", "MYID"]).await?;
            agree(
                "the nodes know each other",
                replica,
                &["CLUSTER", "NODES"],
                |said| said.contains(&id),
            )
            .await?;
            let _: () = ask(replica, &["CLUSTER", "REPLICATE", &id]).await?;
        }
    }
    for node in nodes {
        agree("all slots are served", node, &["CLUSTER", "INFO"], |info| {
            info.contains("cluster_state:ok") && info.contains("cluster_slots_ok:16384")
        })
        .await?;
        agree(
            "the replicas are in step",
            node,
            &["INFO", "replication"],
            |info| info.contains("role:master") || info.contains("master_link_status:up"),
        )
        .await?;
    }
    Ok(())
}

/// Makes those known to a node whose address it does not know.
async fn meet(node: &PrivateValkey, nodes: &[PrivateValkey]) -> Result<(), Failure> {
    let known: String = ask(node, &["CLUSTER", "NODES"]).await?;
    for other in nodes {
        let ports = other.ports();
        let bus = ports.bus.unwrap_or_default().to_string();
        let port = ports.port.to_string();
        if !known.contains(&format!("127.0.0.1:{port}@{bus}")) {
            let _: () = ask(node, &["CLUSTER", "MEET", "127.0.0.1", &port, &bus]).await?;
        }
    }
    Ok(())
}

/// Waits until what a node says is as it should be.
async fn agree(
    what: &str,
    node: &PrivateValkey,
    command: &[&str],
    is_so: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let begun = Instant::now();
    loop {
        let said: Result<String, Failure> = ask(node, command).await;
        match said {
            Ok(said) if is_so(&said) => return Ok(()),
            Err(failure) if begun.elapsed() > AGREE_LIMIT => return Err(failure),
            Ok(_) if begun.elapsed() > AGREE_LIMIT => {
                return Err(Failure::new(format!(
                    "Valkey's cluster did not come together: it was not so that {what}"
                )));
            }
            _ => sleep(PAUSE).await,
        }
    }
}

async fn ask<T: FromRedisValue>(node: &PrivateValkey, command: &[&str]) -> Result<T, Failure> {
    let (name, arguments) = command.split_first().unwrap_or((&"PING", &[]));
    let asking = async {
        let client = redis::Client::open(node.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        redis::cmd(name)
            .arg(arguments)
            .query_async(&mut connection)
            .await
    };
    let answer: redis::RedisResult<T> = asking.await;
    answer.context(format!("a node of Valkey's cluster refuses {name}"))
}

/// `redis://` with the password and the first nodes; the others are found by asking them.
fn url(nodes: &[PrivateValkey], password: &str) -> String {
    let first = nodes.iter().take(PRIMARIES);
    let first: Vec<_> = first
        .map(|node| format!("127.0.0.1:{}", node.ports().port))
        .collect();
    format!("redis://:{password}@{}", first.join(","))
}

//! Changes in Convex reach the cache and whoever listens, whatever happens to the workers.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sluice_test_support::{Proxy, free_port};

use crate::harness::{Deployment, Process, Servers, eventually, file, files};
use crate::nudges::Nudges;

/// Looks for changes often, so that tests take no longer than they must.
pub const QUICK: [(&str, &str); 1] = [("SLUICE_TAIL_INTERVAL_MS", "20")];

/// A deployment whose tail has come to know of all files.
pub async fn tailing(documents: &[Value]) -> Deployment {
    let deployment = Deployment::start_with(&QUICK).await;
    deployment.client.import(documents).await;
    deployment.wait_until_tailed().await;
    deployment
}

/// Id and version of all cached entries of a user, by id.
pub async fn cached<S: Servers>(deployment: &Deployment<S>, user: &str) -> Vec<(String, u64)> {
    let entries = deployment.client.list(user).await.unwrap();
    let mut entries: Vec<(String, u64)> = entries
        .iter()
        .map(|entry| {
            let size = entry["size"].as_f64().unwrap();
            (entry["id"].as_str().unwrap().to_owned(), size as u64)
        })
        .collect();
    entries.sort();
    entries
}

#[tokio::test]
async fn a_change_in_convex_refreshes_the_cache_and_is_told_once() {
    let deployment = tailing(&files("ann", 3)).await;
    let client = &deployment.client;
    client.sync("ann", "allOne").await;
    let nudges = Nudges::listen(&deployment.valkey).await;

    client
        .import(&[file("ann", "ann-1", 77), file("ann", "ann-new", 78)])
        .await;
    client.delete_from_convex(&["ann-2"]).await;
    nudges.wait_for(3).await;

    assert_eq!(
        cached(&deployment, "ann").await,
        [("ann-0", 0), ("ann-1", 77), ("ann-new", 78)].map(|(id, size)| (id.to_owned(), size))
    );
    let told: Vec<Value> = nudges.all();
    let of = |id: &str| {
        let mut of_id = told.iter().filter(|nudge| nudge["id"] == id);
        let nudge = of_id.next().unwrap();
        assert!(of_id.next().is_none(), "{told:?}");
        (nudge["change"].clone(), nudge["user"].clone())
    };
    assert_eq!(of("ann-1"), (json!("updated"), json!("ann")));
    assert_eq!(of("ann-new"), (json!("created"), json!("ann")));
    assert_eq!(of("ann-2"), (json!("deleted"), json!("ann")));
}

#[tokio::test]
async fn an_entry_that_was_cached_by_itself_is_read_as_it_is_now() {
    let deployment = tailing(&files("ann", 2)).await;
    let client = &deployment.client;
    for id in ["ann-0", "ann-1"] {
        assert_eq!(client.cache_state("ann", id).await, "miss");
        assert_eq!(client.cache_state("ann", id).await, "hit");
    }
    client.import(&[file("ann", "ann-0", 77)]).await;
    client.delete_from_convex(&["ann-1"]).await;
    eventually("the change is seen", async || {
        let entry: Value = client.entry("ann", "ann-0").await.json().await.unwrap();
        let gone = client.entry("ann", "ann-1").await.status() == 404;
        entry["size"] == 77.0 && gone
    })
    .await;
}

#[tokio::test]
async fn a_file_that_changes_hands_leaves_one_user_and_comes_to_the_other() {
    let deployment = tailing(&[files("ann", 2), files("ben", 1)].concat()).await;
    let client = &deployment.client;
    for user in ["ann", "ben"] {
        client.sync(user, "allOne").await;
    }
    let nudges = Nudges::listen(&deployment.valkey).await;
    client.import(&[file("ben", "ann-1", 5)]).await;
    nudges.wait_for(1).await;
    assert_eq!(client.listed_ids("ann").await, ["ann-0"]);
    let mut bens = client.listed_ids("ben").await;
    bens.sort();
    assert_eq!(bens, ["ann-1", "ben-0"]);
    let nudge = &nudges.all()[0];
    assert_eq!(
        (&nudge["user"], &nudge["formerUser"]),
        (&json!("ben"), &json!("ann"))
    );
}

/// The worker that holds the lease, by the process id in its name.
fn leader(deployment: &Deployment) -> Option<usize> {
    let mut valkey = deployment.valkey.connection();
    let held: bool = redis::cmd("EXISTS")
        .arg("st1:{tail}:lease")
        .query(&mut valkey)
        .unwrap();
    let name: Option<String> = redis::cmd("HGET")
        .arg(&["st1:{tail}:state", "worker"])
        .query(&mut valkey)
        .unwrap();
    let name = name.filter(|_| held)?;
    let is_named = |worker: &Process| name.contains(&format!("-{}-", worker.pid()));
    deployment.workers.iter().position(is_named)
}

pub async fn wait_for_leader(deployment: &Deployment) -> usize {
    let mut found = None;
    eventually("a worker tails", async || {
        found = leader(deployment);
        found.is_some()
    })
    .await;
    found.unwrap()
}

#[tokio::test]
async fn of_two_workers_one_tails_and_the_other_takes_over_when_it_is_killed() {
    let mut deployment = tailing(&files("ann", 2)).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    client.sync("ann", "allOne").await;
    let nudges = Nudges::listen(&deployment.valkey).await;
    let first = wait_for_leader(&deployment).await;

    deployment.workers[first].kill();
    client.import(&[file("ann", "ann-0", 7)]).await;
    nudges.wait_for(1).await;
    assert_ne!(leader(&deployment), Some(first));
    assert_eq!(cached(&deployment, "ann").await[0], ("ann-0".to_owned(), 7));

    // One that ends in an orderly way leaves the lease to the next at once: sooner than it would
    // run out.
    deployment.workers.remove(first);
    deployment.add_worker();
    let second = wait_for_leader(&deployment).await;
    let ended = deployment.workers[second].end("TERM");
    let begun = std::time::Instant::now();
    client.import(&[file("ann", "ann-1", 8)]).await;
    nudges.wait_for(2).await;
    let took = ended + begun.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(nudges.all().len(), 2);
}

#[tokio::test]
async fn a_worker_that_stood_still_beyond_its_lease_changes_nothing_any_more() {
    let mut deployment = Deployment::without_workers(&QUICK).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 3)).await;
    let proxy = Proxy::start(deployment.convex_address()).await;
    let stalled = deployment.worker_with(&[("SLUICE_CONVEX_URL", &proxy.url())]);
    deployment.workers.push(stalled);
    deployment.wait_until_tailed().await;
    client.sync("ann", "allOne").await;
    let nudges = Nudges::listen(&deployment.valkey).await;

    // It is stopped with changes on the way to it, which it takes in when it wakes up.
    proxy.hold_after(1);
    proxy.held().await;
    client
        .import(&[file("ann", "ann-0", 10), file("ann", "ann-new", 10)])
        .await;
    deployment.workers[0].signal("STOP");
    proxy.open();
    deployment.add_worker();
    nudges.wait_for(2).await;
    client.import(&[file("ann", "ann-0", 11)]).await;
    client.delete_from_convex(&["ann-new", "ann-2"]).await;
    nudges.wait_for(5).await;
    deployment.workers[0].signal("CONT");
    client.import(&[file("ann", "ann-1", 12)]).await;
    nudges.wait_for(6).await;
    tokio::time::sleep(Duration::from_secs(3)).await;

    let now = [("ann-0", 11), ("ann-1", 12)].map(|(id, size)| (id.to_owned(), size));
    assert_eq!(cached(&deployment, "ann").await, now);
    assert_each_told_once(&nudges.all());
    assert_eq!(nudges.all().len(), 6);
    assert_eq!(leader(&deployment), Some(1));
}

pub fn assert_each_told_once(nudges: &[Value]) {
    let mut told = HashSet::new();
    for nudge in nudges {
        let change = ["docId", "ts", "user", "id"].map(|field| nudge[field].as_str());
        assert!(told.insert(change), "told twice: {nudge}");
    }
}

#[tokio::test]
async fn a_random_history_with_kills_at_random_moments_ends_with_cache_and_store_alike() {
    let users = ["ann", "ben", "cid"];
    let documents: Vec<Value> = users.iter().flat_map(|user| files(user, 20)).collect();
    let mut deployment = tailing(&documents).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    for user in ["ann", "ben"] {
        client.sync(user, "allOne").await;
    }
    let before = client.convex_documents().await;
    let nudges = Nudges::listen(&deployment.valkey).await;
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);

    for round in 1..=40_u64 {
        let doomed = if round % 8 == 0 {
            Some(wait_for_leader(&deployment).await)
        } else {
            None
        };
        // Owners change too; an id is one file's, whoever has it.
        let id = |random: &mut StdRng| {
            format!(
                "{}-{}",
                users[random.random_range(0..3)],
                random.random_range(0..25)
            )
        };
        let count = random.random_range(1..30);
        let changes: BTreeMap<String, Value> = (0..count)
            .map(|n| {
                let id = id(&mut random);
                let document = file(users[random.random_range(0..3)], &id, 1000 * round + n);
                (id, document)
            })
            .collect();
        client
            .import(&changes.into_values().collect::<Vec<_>>())
            .await;
        let known = client.convex_documents().await;
        let deleted: Vec<&str> = known
            .values()
            .filter(|_| random.random_range(0..15) == 0)
            .filter_map(|document| document["id"].as_str())
            .collect();
        client.delete_from_convex(&deleted).await;
        client.entry("cid", &id(&mut random)).await;
        if let Some(leader) = doomed {
            tokio::time::sleep(Duration::from_millis(random.random_range(0..60))).await;
            deployment.workers[leader].kill();
            deployment.workers.remove(leader);
            deployment.add_worker();
        }
    }
    deployment.wait_until_tailed().await;

    assert_cached_as_stored(&deployment, &users[..2]).await;
    let now = client.convex_documents().await;
    for document in now.values().filter(|document| document["user"] == "cid") {
        let (id, size) = id_and_size(document);
        let entry: Value = client.entry("cid", &id).await.json().await.unwrap();
        assert_eq!(entry["size"], size as f64, "seed {seed}: {id}");
    }
    let told = nudges.all();
    assert_each_told_once(&told);
    assert_last_told(&before, &now, &told);
}

/// The cached set of each of these users is what Convex holds.
pub async fn assert_cached_as_stored<S: Servers>(deployment: &Deployment<S>, users: &[&str]) {
    let now = deployment.client.convex_documents().await;
    for user in users {
        let mut expected: Vec<(String, u64)> = now
            .values()
            .filter(|document| document["user"] == *user)
            .map(id_and_size)
            .collect();
        expected.sort();
        assert_eq!(cached(deployment, user).await, expected, "{user}");
    }
}

/// What became of each document since `before` was told.
pub fn assert_last_told(
    before: &BTreeMap<String, Value>,
    now: &BTreeMap<String, Value>,
    told: &[Value],
) {
    for (doc_id, document) in now {
        let ts = document["_ts"].to_string();
        let is_told = told
            .iter()
            .any(|nudge| nudge["docId"] == **doc_id && nudge["ts"] == *ts);
        assert!(
            is_told || before.get(doc_id) == Some(document),
            "{document}"
        );
    }
    for doc_id in before.keys().filter(|doc_id| !now.contains_key(*doc_id)) {
        // Where another document had come to its name by the time that it was told, as after a kill,
        // what is shown under the name has changed.
        let has_heir = |nudge: &Value| {
            let is_of_name = |other: &&Value| {
                (&other["user"], &other["id"]) == (&nudge["user"], &nudge["id"])
                    && other["docId"] != nudge["docId"]
            };
            nudge["change"] == "updated" && told.iter().any(|other| is_of_name(&other))
        };
        let is_told = told.iter().any(|nudge| {
            nudge["docId"] == **doc_id && (nudge["change"] == "deleted" || has_heir(nudge))
        });
        assert!(is_told, "{doc_id}");
    }
}

fn id_and_size(document: &Value) -> (String, u64) {
    let size = document["size"].as_f64().unwrap() as u64;
    (document["id"].as_str().unwrap().to_owned(), size)
}

#[tokio::test]
async fn operators_see_who_tails_how_far_it_is_and_what_is_wrong() {
    let mut deployment = Deployment::without_workers(&QUICK).await;
    let client = deployment.client.clone();
    client.import(&files("ann", 3)).await;
    let tail_state = async || -> Value {
        let answer = client.request("GET", "/readyz").send().await.unwrap();
        answer.json::<Value>().await.unwrap()["tail"].clone()
    };
    assert_eq!(tail_state().await, "unattended");
    let (_, said) = deployment.doctor();
    assert!(said.contains("no worker follows the changes"), "{said}");

    let refused = deployment.worker_with(&[("SLUICE_CONVEX_KEY", "dev:tests|wrong")]);
    eventually("the refused key shows", async || {
        tail_state().await == "failing"
    })
    .await;
    let (is_content, said) = deployment.doctor();
    assert!(
        !is_content && said.contains("the deploy key is refused"),
        "{said}"
    );
    assert!(!said.contains("wrong"), "{said}");
    drop(refused);

    let address = format!("127.0.0.1:{}", free_port());
    let worker = deployment.worker_with(&[("SLUICE_WORK_LISTEN", &address)]);
    deployment.workers.push(worker);
    deployment.wait_until_tailed().await;
    eventually("all is well", async || tail_state().await == "ok").await;
    let (is_content, said) = deployment.doctor();
    assert!(
        is_content && said.contains("has taken in changes until 2"),
        "{said}"
    );
    client
        .import(&[file("ann", "ann-1", 7), file("ann", "new", 1)])
        .await;
    deployment.wait_until_tailed().await;
    let metrics = reqwest::get(format!("http://{address}/metrics"));
    let metrics = metrics.await.unwrap().text().await.unwrap();
    for line in [
        "sluice_tail_leads 1",
        "sluice_tail_lag_rows 0",
        r#"sluice_tail_changes_total{kind="updated"} 1"#,
        r#"sluice_tail_walks_total{reason="first"} 1"#,
    ] {
        assert!(
            metrics.lines().any(|found| found == line),
            "{line} in {metrics}"
        );
    }
    let board = client.board_page().await;
    let pid = format!("-{}-", deployment.workers[0].pid());
    assert!(
        board.contains("Changes in Convex") && board.contains(&pid),
        "{board}"
    );
}

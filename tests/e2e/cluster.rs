//! The whole product on a cluster of Valkey, while a primary is lost and slots move.
//!
//! Replication is asynchronous: what a primary has acknowledged and its replica does not have yet
//! is lost with the primary. These tests have the replica catch up before the kill
//! ([`TestCluster::kill_replicated`]), so that nothing at all may be missing: what was acknowledged
//! is at the replica, and requests that are under way at the kill are answered by it. They may take
//! as long as that needs, but none fails.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};
use sluice_queue::{NewJob, State};
use sluice_test_support::TestCluster;
use tokio::task::JoinSet;

use crate::filesync::SyncUser;
use crate::harness::{Client, Deployment, eventually, file, files, read};
use crate::nudges::Nudges;
use crate::tail::{QUICK, assert_cached_as_stored, assert_each_told_once, assert_last_told};
use crate::watchers::{Seen, watch_by_events, watch_by_socket};

/// Who goes on until it is told to stop, and how often it has gone round.
#[derive(Clone, Default)]
struct Rounds {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicUsize>,
}

impl Rounds {
    fn go_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn count(&self) {
        self.done.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits for so many more rounds.
    async fn more(&self, rounds: usize) {
        let wanted = self.done.load(Ordering::SeqCst) + rounds;
        eventually("it goes on", async || {
            self.done.load(Ordering::SeqCst) >= wanted
        })
        .await;
    }

    fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }
}

/// Kills the primary of a key, lets its replica take over, and moves that slot and another one.
fn lose_primary_and_move(cluster: &mut TestCluster, lost: &str, moved: &str) {
    cluster.kill_replicated(cluster.owner(lost));
    cluster.wait_until_whole();
    for key in [lost, moved] {
        let owner = cluster.owner(key);
        let primaries = cluster.primaries();
        let other = primaries.into_iter().find(|&number| number != owner);
        cluster.move_slot(key, other.unwrap());
    }
}

/// One user's day: all files synced, listed, read, prefetched, and logged out.
async fn use_files(client: &Client, user: &str, count: usize) {
    let (status, body) = client.sync(user, "allOne").await;
    assert_eq!((status, &body["synced"]), (StatusCode::OK, &json!(count)));
    assert_eq!(client.listed_ids(user).await.len(), count);
    let state = client.cache_state(user, &format!("{user}-1")).await;
    assert_eq!(state, "bulk");
    let (status, body) = client.prefetch(user, 5).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (status, body) = client.invalidate(user, "OUT").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(client.listed_ids(user).await.len(), 0);
}

#[tokio::test]
async fn the_main_job_goes_on_when_a_primary_is_lost_and_slots_move() {
    const FILES: usize = 30;
    let mut deployment = Deployment::on_cluster(&[]).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    let users: Vec<String> = (0..16).map(|number| format!("user-{number}")).collect();
    let documents: Vec<Value> = users.iter().flat_map(|user| files(user, FILES)).collect();
    client.import(&documents).await;
    let key = |user: &str| format!("sm1:{{{user}}}:live:info");
    let owners: HashSet<usize> = users
        .iter()
        .map(|user| deployment.valkey.owner(&key(user)))
        .collect();
    assert_eq!(owners.len(), 3, "the users are at all primaries");

    let rounds = Rounds::default();
    let mut tasks = JoinSet::new();
    for user in users.clone() {
        let (client, rounds) = (client.clone(), rounds.clone());
        tasks.spawn(async move {
            while rounds.go_on() {
                use_files(&client, &user, FILES).await;
                rounds.count();
            }
        });
    }
    rounds.more(8).await;
    lose_primary_and_move(&mut deployment.valkey, "sq1:{sync}:", &key("user-0"));
    rounds.more(users.len()).await;
    rounds.stop();
    tasks.join_all().await;

    for user in &users[..4] {
        client.sync(user, "allTwo").await;
        let (status, body) = client.invalidate(user, "DEL").await;
        assert_eq!(
            (status, &body["deleted"]),
            (StatusCode::OK, &json!(FILES)),
            "{body}"
        );
        assert_eq!(client.convex_count(user).await, 0);
    }
    for user in &users {
        let mut left = deployment.valkey.keys(&format!("sm1:{{{user}}}:*"));
        left.retain(|key| !key.ends_with(":epoch") && !key.contains(":activity:"));
        assert!(left.is_empty(), "{left:?}");
    }
    board_and_dead_letters(&mut deployment).await;
}

/// Jobs as operators see them: one that waits and is cancelled, one that dies, one that is watched,
/// while the primary of their queue is lost once more.
async fn board_and_dead_letters(deployment: &mut Deployment<TestCluster>) {
    let client = deployment.client.clone();
    let queues = deployment.queues().await;
    let damaged = NewJob::new("sync", &"no request").unwrap();
    let damaged = queues.enqueue(damaged).await.unwrap().id.to_string();
    assert_eq!(client.finished(&damaged).await["state"], "dead");
    deployment.leaves_jobs(State::Dead);

    queues.pause("sync").await.unwrap();
    let body = |user: &str| json!({"user": user, "type": "allOne"});
    let cancelled = client.enqueue("sync", &body("user-8")).await;
    let watched = client.enqueue("sync", &body("user-9")).await;
    let path = format!("/api/v1/jobs/{watched}");
    let mut request = client.request("GET", &path);
    request = request.bearer_auth(client.token("watcher", "meta:read", 600));
    let events = request.header("accept", "text/event-stream").send();
    let mut events = events.await.unwrap();
    assert!(client.board_page().await.contains("paused"));

    // The servers are five by now: the slot is at one that has a replica.
    let with_replica = deployment.valkey.replicated();
    let owner = deployment.valkey.owner("sq1:{sync}:");
    if !with_replica.contains(&owner) {
        deployment.valkey.move_slot("sq1:{sync}:", with_replica[0]);
    }
    let owner = deployment.valkey.owner("sq1:{sync}:");
    deployment.valkey.kill_replicated(owner);
    assert!(queues.cancel(&cancelled.parse().unwrap()).await.unwrap());
    assert_eq!(client.finished(&cancelled).await["state"], "cancelled");
    assert_eq!(client.job(&damaged).await["state"], "dead");
    queues.resume("sync").await.unwrap();
    let mut text = String::new();
    while !text.contains("event: end") {
        let chunk = events.chunk().await.unwrap();
        text += std::str::from_utf8(&chunk.expect("the job has not ended")).unwrap();
    }
    assert!(text.contains(r#""state":"completed""#), "{text}");
    assert!(client.board_page().await.contains("sync"));
}

const PATH: &str = "/api/sync/session/documents";

async fn send(client: &Client, method: &str, path: &str, body: &Value, prefer: &str) -> Value {
    let token = client.token("service", "docs:read docs:write:session", 600);
    let request = client.request(method, path).bearer_auth(token).json(body);
    let (status, body) = read(request.header("prefer", prefer).send().await.unwrap()).await;
    assert!(status.is_success(), "{method} {path}: {status} {body}");
    body
}

async fn wait_until_completed(client: &Client, job: &str) {
    loop {
        let job = client.job(job).await;
        match job["state"].as_str().unwrap() {
            "completed" => return,
            state => assert!(!["dead", "cancelled"].contains(&state), "{job}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Writes to a document until it is to stop, each third time by a job. Returns how often it wrote.
async fn write_on(client: Client, id: String, rounds: Rounds) -> u64 {
    let path = format!("{PATH}/{id}/mutate");
    let mutate = json!({"mutations": [{"op": "increment", "path": "/n", "value": 1}]});
    let mut writes = 0;
    while rounds.go_on() {
        if writes % 3 == 2 {
            let job = send(&client, "POST", &path, &mutate, "respond-async").await;
            wait_until_completed(&client, job["job"].as_str().unwrap()).await;
        } else {
            send(&client, "POST", &path, &mutate, "wait=60").await;
        }
        writes += 1;
        rounds.count();
        // The log of a document keeps its last changes: 1,000 at most.
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    writes
}

/// The ids of all documents, page by page.
async fn listed(client: &Client) -> Vec<String> {
    let mut ids = Vec::new();
    let mut cursor = String::new();
    loop {
        let path = format!("{PATH}?limit=4{cursor}");
        let page = send(client, "GET", &path, &json!({}), "").await;
        let documents = page["documents"].as_array().unwrap();
        ids.extend(
            documents
                .iter()
                .map(|it| it["id"].as_str().unwrap().to_owned()),
        );
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    ids.sort();
    ids
}

/// The ids that the indexes of the service hold, with their keys.
fn indexed(cluster: &TestCluster) -> Vec<(String, String)> {
    let keys = cluster.keys("sd1:{session:*}:index").into_iter();
    let entries = keys.flat_map(|key| {
        let mut list = redis::cmd("ZRANGE");
        let list = list.arg(&key).arg(&[0, -1]);
        let ids: Vec<String> = list.query(&mut cluster.connection_of(&key)).unwrap();
        ids.into_iter().map(move |id| (key.clone(), id))
    });
    entries.collect()
}

/// Makes them two minutes older: a purge passes over those of the last minute.
fn age_index(cluster: &TestCluster) {
    for (key, id) in indexed(cluster) {
        let mut age = redis::cmd("ZINCRBY");
        let age = age.arg(&key).arg(-120_000_000).arg(id);
        age.exec(&mut cluster.connection_of(&key)).unwrap();
    }
}

#[tokio::test]
async fn documents_and_their_watchers_go_on_when_a_primary_is_lost_and_slots_move() {
    let settings = [
        ("SLUICE_DOCUMENT_RETENTION_SECS", "1"),
        ("SLUICE_PURGE_SCHEDULE", "*/2 * * * * *"),
        ("SLUICE_REQUEST_WAIT_SECS", "60"),
    ];
    let mut deployment = Deployment::on_cluster(&settings).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    let ids: Vec<String> = (0..10).map(|number| format!("doc-{number}")).collect();
    for id in &ids {
        send(
            &client,
            "POST",
            PATH,
            &json!({"id": id, "data": {"n": 0}}),
            "wait=60",
        )
        .await;
    }
    let by_socket = Seen::default();
    let by_events = Seen::default();
    let mut watchers = JoinSet::new();
    watchers.spawn(watch_by_socket(
        client.clone(),
        PATH,
        ids.clone(),
        by_socket.clone(),
    ));
    watchers.spawn(watch_by_events(
        client.clone(),
        PATH,
        ids[0].clone(),
        by_events.clone(),
    ));
    for id in &ids {
        by_socket.reaches(id, 1).await;
    }
    by_events.reaches(&ids[0], 1).await;

    let rounds = Rounds::default();
    let mut writers = JoinSet::new();
    for id in ids.clone() {
        let (client, rounds) = (client.clone(), rounds.clone());
        writers.spawn(async move { (id.clone(), write_on(client, id, rounds).await) });
    }
    rounds.more(20).await;
    let key = |id: &str| format!("sd1:{{session:{id}}}:document");
    lose_primary_and_move(&mut deployment.valkey, &key("doc-0"), "sq1:{documents}:");
    rounds.more(4 * ids.len()).await;
    rounds.stop();
    let written: BTreeMap<String, u64> = writers.join_all().await.into_iter().collect();

    for (id, writes) in &written {
        let document = send(&client, "GET", &format!("{PATH}/{id}"), &json!({}), "").await;
        let is = (&document["data"]["n"], &document["revision"]);
        assert_eq!(is, (&json!(writes), &json!(writes + 1)), "{id}");
        by_socket.reaches(id, writes + 1).await;
    }
    by_events.reaches(&ids[0], written[&ids[0]] + 1).await;
    by_socket.assert_gapless();
    by_events.assert_gapless();

    assert_eq!(listed(&client).await, ids);
    for id in &ids[..5] {
        send(
            &client,
            "DELETE",
            &format!("{PATH}/{id}"),
            &Value::Null,
            "wait=60",
        )
        .await;
    }
    assert_eq!(listed(&client).await, ids[5..]);
    age_index(&deployment.valkey);
    eventually("what was deleted is purged", async || {
        let documents = deployment.valkey.keys("sd1:{session:doc-*}:document");
        documents.len() == 5 && indexed(&deployment.valkey).len() == 5
    })
    .await;
}

#[tokio::test]
async fn changes_in_convex_are_followed_when_a_primary_is_lost_and_slots_move() {
    let mut deployment = Deployment::on_cluster(&QUICK).await;
    deployment.add_worker();
    let client = deployment.client.clone();
    let users = ["ann", "ben", "cid", "dan"];
    let documents: Vec<Value> = users.iter().flat_map(|user| files(user, 20)).collect();
    client.import(&documents).await;
    deployment.wait_until_tailed().await;
    for user in users {
        client.sync(user, "allOne").await;
    }
    let before = client.convex_documents().await;
    let lost = "st1:{tail}:state";
    let owner = deployment.valkey.owner(lost);
    let listener = deployment
        .valkey
        .primaries()
        .into_iter()
        .find(|&it| it != owner);
    let url = deployment.valkey.node_url(listener.unwrap());
    let nudges = Nudges::listen_at(url).await;

    let rounds = Rounds::default();
    let changes = tokio::spawn({
        let (client, rounds) = (client.clone(), rounds.clone());
        async move {
            let mut round = 0;
            while rounds.go_on() {
                round += 1;
                // Files of each user change, come, and change hands.
                let of = |owner: usize, id: usize, number: u64| {
                    let id = format!("{}-{}", users[id], number % 25);
                    file(users[owner], &id, 1000 * round + number)
                };
                let mut changed: Vec<Value> = (0..4).map(|n| of(n, n, 3 * round)).collect();
                changed.push(of(1, 0, 3 * round + 1));
                client.import(&changed).await;
                client
                    .delete_from_convex(&[&format!("ben-{}", round % 25)])
                    .await;
                rounds.count();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    });
    rounds.more(5).await;
    lose_primary_and_move(&mut deployment.valkey, lost, "st1:{tail:3}:documents");
    rounds.more(5).await;
    rounds.stop();
    changes.await.unwrap();
    deployment.wait_until_tailed().await;

    assert_cached_as_stored(&deployment, &users).await;
    let told = nudges.all();
    assert_each_told_once(&told);
    assert_last_told(&before, &client.convex_documents().await, &told);
    doctor_asks_every_node(&deployment);
}

fn doctor_asks_every_node(deployment: &Deployment<TestCluster>) {
    let (is_content, said) = deployment.doctor();
    assert!(
        is_content && said.contains("json       module version"),
        "{said}"
    );
    assert!(said.contains("append-only file is on"), "{said}");
    let replica = deployment.valkey.replicas()[0];
    let configure = |name: &str, value: &str| {
        let mut command = redis::cmd("CONFIG");
        let command = command.arg(&["SET", name, value]);
        command
            .exec(&mut deployment.valkey.connection(replica))
            .unwrap();
    };
    configure("appendonly", "no");
    configure("maxmemory-policy", "allkeys-lru");
    let (is_content, said) = deployment.doctor();
    assert!(
        !is_content && said.contains("append-only file is off"),
        "{said}"
    );
    assert!(said.contains("maxmemory-policy is allkeys-lru"), "{said}");
}

/// A change that makes a folder, named after who makes it and which one it is.
fn folder_change(device: &str, number: usize) -> Value {
    let id = format!("{device}-{number}");
    json!({
        "id": format!("change-{id}"), "resource_type": "folder", "change_type": "created",
        "resource_id": id, "new_path": format!("/{id}"),
    })
}

#[tokio::test]
async fn file_sync_goes_on_when_its_primary_is_lost_and_its_slot_moves() {
    let mut deployment = Deployment::on_cluster(&[]).await;
    let client = deployment.client.clone();
    let user = SyncUser::new(&client, "ann");
    let share = user.share().await;
    let devices: Vec<String> = (0..6).map(|number| format!("device{number}")).collect();
    for device in &devices {
        user.register(device).await;
    }
    let mut watching = user.watch("device0").await;
    let rounds = Rounds::default();
    let mut tasks = JoinSet::new();
    for device in devices.clone() {
        let (user, share, rounds) = (user.clone(), share.clone(), rounds.clone());
        tasks.spawn(async move {
            let mut acknowledged = Vec::new();
            while rounds.go_on() {
                let change = folder_change(&device, acknowledged.len());
                let applied = user.apply(&device, &share, &[change]).await;
                assert_eq!(applied["applied"][0]["outcome"], "applied", "{applied}");
                let position = applied["applied"][0]["position"].as_u64().unwrap();
                acknowledged.push((position, applied["applied"][0]["resource_id"].clone()));
                rounds.count();
            }
            acknowledged
        });
    }
    rounds.more(30).await;
    let key = "sf1:{default}:tenant";
    lose_primary_and_move(&mut deployment.valkey, key, "sf1:{other}:tenant");
    rounds.more(30).await;
    rounds.stop();
    let acknowledged: Vec<(u64, Value)> = tasks.join_all().await.into_iter().flatten().collect();

    let log = user.changes(&share).await;
    for (at, entry) in log.iter().enumerate() {
        assert_eq!(entry["position"], at + 1, "{entry}");
    }
    for (position, id) in &acknowledged {
        assert_eq!(log[*position as usize - 1]["resource_id"], *id);
    }
    // Whoever listens hears on after the failover, or is told to look.
    user.apply("device1", &share, &[folder_change("last", 0)])
        .await;
    loop {
        let frame = watching.next().await;
        if frame["data"]["resource_id"] == "last-0" || frame["event_type"] == "force_sync" {
            break;
        }
    }
}

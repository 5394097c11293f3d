//! Several documents with one user and id, and ids that change: what is cached and told is what a
//! fresh sync shows.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use sluice_convex::Files;

use super::*;

/// A world whose documents are known by a field of their own, so that an id can be in several and
/// can change.
struct Documents {
    world: World,
    files: Arc<dyn Files>,
}

impl Documents {
    async fn start() -> Documents {
        let world = World::with_log_retention(DAY).await;
        world
            .convex
            .add_primary_key_index("files", &["key"])
            .await
            .unwrap();
        let files = files(client(&world.url, KEY), FilesVia::Functions);
        Documents { world, files }
    }

    /// One transaction.
    async fn write(&self, records: &[Value]) {
        self.world
            .convex
            .import_records("files", &["key"], records)
            .await
            .unwrap();
    }

    /// Id and version of what a sync of the user would show.
    async fn fresh(&self, user: &str) -> BTreeMap<String, u64> {
        let mut fresh = BTreeMap::new();
        let mut batches = self.files.newest_first(user);
        while let Some(batch) = batches.next().await {
            for file in batch.unwrap() {
                let entry: Value = serde_json::from_slice(&file.json).unwrap();
                let version = entry["version"].as_f64().unwrap() as u64;
                fresh.entry(file.id.to_string()).or_insert(version);
            }
        }
        fresh
    }

    async fn sync(&self, user: &str) {
        let as_of = self.world.convex.now().await.unwrap();
        let staging = self.world.cache.stage(user, Overflow::Refuse).await;
        let mut staging = staging.unwrap();
        let mut batches = self.files.newest_first(user);
        while let Some(batch) = batches.next().await {
            let entries: Vec<Entry> = batch.unwrap().into_iter().map(entry).collect();
            staging.push(&entries).await.unwrap();
        }
        staging.commit("allOne", as_of).await.unwrap();
    }

    async fn assert_as_fresh(&self, users: &[&str], what: &str) {
        self.world.caught_up().await;
        for user in users {
            let (cached, fresh) = (self.world.cached_of(user).await, self.fresh(user).await);
            assert_eq!(cached, fresh, "{user}, {what}");
        }
    }

    /// What was told, by kind and id.
    async fn told(&self) -> Vec<(NudgeKind, String)> {
        self.world.caught_up().await;
        self.world.heard_all().await;
        let heard = self.world.heard.lock().unwrap();
        heard
            .iter()
            .map(|nudge| (nudge.change, nudge.id.clone()))
            .collect()
    }
}

fn entry(file: sluice_convex::File) -> Entry {
    Entry {
        id: file.id,
        doc_id: file.doc_id,
        json: file.json,
    }
}

fn document(key: &str, id: &str, version: u64) -> Value {
    json!({ "key": key, "user": "ann", "id": id, "version": version })
}

fn deletion(key: &str) -> Value {
    json!({ "key": key, "_ab_cdc_deleted_at": "now" })
}

#[tokio::test]
async fn of_two_documents_with_one_id_the_newer_is_shown_whichever_of_them_changes_or_goes() {
    let documents = Documents::start().await;
    let worker = documents.world.start_worker().await;
    documents.world.caught_up().await;
    documents.write(&[document("old", "f", 1)]).await;
    documents.write(&[document("new", "f", 2)]).await;
    documents.sync("ann").await;
    documents.world.caught_up().await;

    documents.write(&[document("old", "f", 10)]).await;
    documents
        .assert_as_fresh(&["ann"], "the older changed")
        .await;
    assert_eq!(documents.world.cached().await, versions([("f", 2)]));
    documents.write(&[deletion("new")]).await;
    documents.assert_as_fresh(&["ann"], "the newer went").await;
    assert_eq!(documents.world.cached().await, versions([("f", 10)]));
    documents.write(&[document("third", "f", 3)]).await;
    documents.write(&[deletion("old")]).await;
    documents.assert_as_fresh(&["ann"], "the older went").await;
    let expected = [
        NudgeKind::Created,
        NudgeKind::Updated,
        NudgeKind::Updated,
        NudgeKind::Updated,
        NudgeKind::Updated,
        NudgeKind::Updated,
    ];
    let told = documents.told().await;
    assert_eq!(
        told.iter().map(|(kind, _)| *kind).collect::<Vec<_>>(),
        expected
    );
    documents.write(&[deletion("third")]).await;
    documents.assert_as_fresh(&["ann"], "the last went").await;
    assert_eq!(
        documents.told().await.last(),
        Some(&(NudgeKind::Deleted, "f".to_owned()))
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_document_that_gets_another_id_is_told_as_a_deletion_of_the_former_one_and_then_as_new() {
    let documents = Documents::start().await;
    documents
        .write(&[document("a", "mv", 1), document("b", "both", 1)])
        .await;
    documents.write(&[document("c", "both", 2)]).await;
    documents.sync("ann").await;
    let worker = documents.world.start_worker().await;
    documents.world.caught_up().await;
    documents.write(&[document("a", "mv2", 2)]).await;
    documents.assert_as_fresh(&["ann"], "moved").await;
    documents.write(&[document("c", "mv2", 3)]).await;
    documents
        .assert_as_fresh(&["ann"], "moved to another")
        .await;
    let expected = versions([("both", 1), ("mv2", 3)]);
    assert_eq!(documents.world.cached().await, expected);
    let expected = [
        (NudgeKind::Deleted, "mv"),
        (NudgeKind::Created, "mv2"),
        (NudgeKind::Updated, "both"),
        (NudgeKind::Updated, "mv2"),
    ];
    assert_eq!(
        documents.told().await,
        expected.map(|(kind, id)| (kind, id.to_owned()))
    );
    worker.stop().await;
}

#[tokio::test]
async fn files_that_are_deleted_and_made_again_are_told_in_that_order() {
    let documents = Documents::start().await;
    let records: Vec<Value> = (0..20)
        .map(|n| document(&format!("k{n}"), &format!("f{n}"), 0))
        .collect();
    documents.write(&records).await;
    let worker = documents.world.start_worker().await;
    documents.world.caught_up().await;
    worker.stop().await;

    // All of it is one batch of the tail's: two rounds one after another, then both halves in one
    // transaction.
    for _ in 0..2 {
        for (n, record) in records.iter().enumerate() {
            documents.write(&[deletion(&format!("k{n}"))]).await;
            documents.write(std::slice::from_ref(record)).await;
        }
    }
    let deletions = (0..20).map(|n| deletion(&format!("k{n}")));
    let both: Vec<Value> = deletions.chain(records.clone()).collect();
    documents.write(&both).await;
    let worker = documents.world.start_worker().await;
    documents.told().await;
    let heard = documents.world.heard.lock().unwrap().clone();
    for n in 0..20 {
        let of_file = heard.iter().filter(|nudge| nudge.id == format!("f{n}"));
        let kinds: Vec<NudgeKind> = of_file.map(|nudge| nudge.change).collect();
        let (apart, at_once) = kinds.split_at(4);
        assert_eq!(
            apart,
            [NudgeKind::Deleted, NudgeKind::Created].repeat(2),
            "f{n}"
        );
        // Within a transaction the log is in the order of `_id`s.
        let either = [
            [NudgeKind::Deleted, NudgeKind::Created],
            [NudgeKind::Updated, NudgeKind::Updated],
        ];
        assert!(
            either.iter().any(|kinds| kinds == at_once),
            "f{n}: {at_once:?}"
        );
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_table_that_is_emptied_and_filled_again_ends_with_nothing_told_as_deleted() {
    let world = World::with_log_retention(DAY).await;
    world.import(&files_of(0..300)).await;
    world.sync().await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    world.convex.clear_tables(&["files"]).await.unwrap();
    let again: Vec<Value> = (0..299).map(|n| file(&format!("f{n}"), n + 1000)).collect();
    world.import(&again).await;
    eventually(async || world.cached().await.len() == 299).await;
    world.caught_up().await;
    assert!(
        world
            .cached()
            .await
            .values()
            .all(|version| *version >= 1000)
    );
    world.heard_all().await;
    let told = world.told();
    assert_eq!(told.len(), 300);
    for (id, kinds) in told {
        let last_is_deletion = kinds.last() == Some(&NudgeKind::Deleted);
        assert_eq!(last_is_deletion, id == "f299", "{id}: {kinds:?}");
        assert!(id == "f299" || !kinds.contains(&NudgeKind::Deleted), "{id}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_ledger_that_knows_no_names_learns_those_of_its_documents() {
    let documents = Documents::start().await;
    documents
        .write(&[document("a", "f", 1), document("b", "f", 2)])
        .await;
    let worker = documents.world.start_worker().await;
    documents.world.caught_up().await;
    worker.stop().await;
    // As an earlier version left it.
    let mut valkey = documents.world.valkey.connection();
    for bucket in 0..16 {
        redis::cmd("DEL")
            .arg(format!("st1:{{tail:{bucket}}}:names"))
            .exec(&mut valkey)
            .unwrap();
    }
    let state = ["st1:{tail}:state", "progress"];
    let progress: String = redis::cmd("HGET").arg(&state).query(&mut valkey).unwrap();
    let mut progress: Value = serde_json::from_str(&progress).unwrap();
    progress.as_object_mut().unwrap().remove("named").unwrap();
    redis::cmd("HSET")
        .arg(&state)
        .arg(progress.to_string())
        .exec(&mut valkey)
        .unwrap();

    let worker = documents.world.start_worker().await;
    documents.write(&[deletion("a")]).await;
    documents.world.caught_up().await;
    documents.write(&[deletion("b")]).await;
    let expected = [NudgeKind::Updated, NudgeKind::Deleted].map(|kind| (kind, "f".to_owned()));
    assert_eq!(documents.told().await, expected);
    worker.stop().await;
}

/// A transaction that puts, moves, deletes and recreates some of a few documents of a few names.
fn transaction(
    random: &mut StdRng,
    there: &mut HashMap<String, bool>,
    version: &mut u64,
) -> Vec<Value> {
    let mut records = Vec::new();
    for _ in 0..random.random_range(1..6) {
        let key = format!("k{}", random.random_range(0..9));
        let is_there = there.entry(key.clone()).or_default();
        if *is_there && random.random_range(0..3) == 0 {
            records.push(deletion(&key));
            *is_there = false;
            // Half of what is deleted is made again at once.
            if random.random_range(0..2) == 0 {
                continue;
            }
        }
        *is_there = true;
        *version += 1;
        let user = ["ann", "ben"][random.random_range(0..2)];
        let id = ["x", "y", "z", ""][random.random_range(0..4)];
        records.push(json!({ "key": key, "user": user, "id": id, "version": *version }));
    }
    records
}

#[tokio::test]
async fn after_any_history_the_cache_and_the_nudges_tell_what_a_fresh_sync_shows() {
    let users = ["ann", "ben"];
    let seed: u64 = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut documents = Documents::start().await;
    documents.world.via = [FilesVia::Functions, FilesVia::Export][random.random_range(0..2)];
    let (mut there, mut version) = (HashMap::new(), 0);
    let mut worker = documents.world.start_worker().await;
    documents.world.caught_up().await;
    for user in users {
        documents.sync(user).await;
    }
    for round in 0..12 {
        for _ in 0..random.random_range(1..12) {
            let records = transaction(&mut random, &mut there, &mut version);
            documents.write(&records).await;
        }
        match random.random_range(0..5) {
            0 => documents.sync("ann").await,
            1 => {
                worker.stop().await;
                // Half of them compare all documents again and again.
                let every = [None, Some(Duration::from_millis(1))][random.random_range(0..2)];
                worker = documents.world.worker_with(KEY, every).await;
            }
            2 => {
                documents.world.caught_up().await;
                documents
                    .world
                    .convex
                    .clear_tables(&["files"])
                    .await
                    .unwrap();
                there.clear();
                // It is noticed when something changes.
                documents.write(&[document("k0", "x", version)]).await;
                there.insert("k0".to_owned(), true);
            }
            _ => {}
        }
        let what = format!("seed {seed}, round {round}");
        documents.assert_as_fresh(&users, &what).await;
    }
    documents.told().await;
    let mut followed: BTreeMap<(String, String), bool> = BTreeMap::new();
    let mut latest: HashMap<(String, String), i64> = HashMap::new();
    for nudge in documents.world.heard.lock().unwrap().iter() {
        let name = (nudge.user.clone(), nudge.id.clone());
        if let Some(former) = &nudge.former_user {
            followed.insert((former.clone(), nudge.id.clone()), false);
        }
        let ts: i64 = nudge.ts.parse().unwrap();
        let before = latest.insert(name.clone(), ts);
        assert!(
            before.is_none_or(|before| before <= ts),
            "seed {seed}: {nudge:?}"
        );
        followed.insert(name, nudge.change != NudgeKind::Deleted);
    }
    for user in users {
        let told: Vec<&String> = followed
            .iter()
            .filter(|((owner, _), is_there)| owner == user && **is_there)
            .map(|((_, id), _)| id)
            .collect();
        let fresh = documents.fresh(user).await;
        assert_eq!(told, fresh.keys().collect::<Vec<_>>(), "seed {seed}");
    }
    worker.stop().await;
}

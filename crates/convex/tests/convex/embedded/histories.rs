//! Random histories of the embedded store, with clients that copy it meanwhile: whatever is written
//! between their requests, they end up with what is there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::follower::{Copy, Follower, Key, SyncFollower, View, snapshot};
use super::server::Server;

/// Tables whose records have a key, one whose records are appended, and one of a component.
const KEYED: [&str; 2] = ["a", "b"];
const LOG: &str = "log";
const NESTED: &str = "outer/inner/t";

#[derive(Clone, Debug)]
enum Step {
    /// Records for a keyed table, each new or in place of the one with its key.
    Upsert(&'static str, Vec<(u8, Value)>),
    /// Deletes by key; a key that is not there is inserted, as the protocol has it.
    Delete(&'static str, Vec<u8>),
    Append(u8),
    /// More than a page of records at once.
    Bulk(&'static str),
    Clear(&'static str),
    /// This many requests of one of the followers.
    Follow(usize, u8),
    /// Documents for the component's table, in place of all it has or besides.
    Nested {
        replace: bool,
        count: u8,
    },
    /// One more follower.
    Join(View),
    /// This many requests of one of the data syncs.
    Sync(usize, u8),
    /// One more data sync.
    JoinSync(View),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let keyed = || prop::sample::select(KEYED.to_vec());
    let table = || prop::sample::select(vec![KEYED[0], KEYED[1], LOG]);
    let step = prop_oneof![
        6 => (keyed(), prop::collection::vec((0..40u8, values()), 1..12)).prop_map(|(t, r)| Step::Upsert(t, r)),
        3 => (keyed(), prop::collection::vec(0..40u8, 1..8)).prop_map(|(t, k)| Step::Delete(t, k)),
        2 => (1..200u8).prop_map(Step::Append),
        1 => keyed().prop_map(Step::Bulk),
        1 => table().prop_map(Step::Clear),
        10 => (0..4usize, 1..4u8).prop_map(|(f, n)| Step::Follow(f, n)),
        2 => views().prop_map(Step::Join),
        1 => (any::<bool>(), 0..60u8).prop_map(|(replace, count)| Step::Nested { replace, count }),
        6 => (0..4usize, 1..4u8).prop_map(|(f, n)| Step::Sync(f, n)),
        2 => views().prop_map(Step::JoinSync),
    ];
    prop::collection::vec(step, 1..40)
}

fn views() -> impl Strategy<Value = View> {
    prop::sample::select(vec![
        View::Everything,
        View::Table("a"),
        View::Table("b"),
        View::Without("log"),
        View::Narrowed("a", "v"),
    ])
}

/// Values that streaming import stores as they are.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(-0.0)),
        Just(json!(i64::MAX as f64)),
        ".{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-z]{1,4}", inner, 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// A store, what should be in it, and the clients that copy it.
struct History {
    server: Server,
    /// The records of keyed tables, by key.
    expected: BTreeMap<&'static str, BTreeMap<u64, Value>>,
    appended: usize,
    nested: usize,
    followers: Vec<Follower>,
    syncs: Vec<SyncFollower>,
    /// Sees everything at once: whose ids belong to a table before it is cleared.
    witness: Follower,
    seen: BTreeSet<Key>,
    /// Documents of cleared tables. They leave no tombstones, so a client that had them keeps them.
    cleared: BTreeSet<Key>,
}

impl History {
    async fn new() -> History {
        let server = Server::start().await;
        for table in KEYED {
            server.add_key(table, "k").await;
        }
        let mut witness = Follower::new(View::Everything);
        witness.catch_up(&server).await;
        History {
            server,
            expected: KEYED.map(|table| (table, BTreeMap::new())).into(),
            appended: 0,
            nested: 0,
            followers: vec![Follower::new(View::Everything)],
            syncs: vec![SyncFollower::new(View::Everything)],
            witness,
            seen: BTreeSet::new(),
            cleared: BTreeSet::new(),
        }
    }

    async fn run(&mut self, step: &Step) {
        match step {
            Step::Upsert(table, records) => {
                let records = records.iter().map(|(k, v)| (u64::from(*k), v.clone()));
                self.upsert(table, records.collect()).await;
            }
            Step::Bulk(table) => {
                let records = (100..1_400).map(|k| (k, Value::Bool(true)));
                self.upsert(table, records.collect()).await;
            }
            Step::Delete(table, keys) => self.delete(table, keys).await,
            Step::Append(count) => {
                let first = self.appended;
                self.appended += usize::from(*count);
                let records = (first..self.appended).map(|n| json!({ "n": n }));
                self.server.import(LOG, None, records).await;
            }
            Step::Clear(table) => self.clear(table).await,
            Step::Follow(which, requests) => {
                let count = self.followers.len();
                let follower = &mut self.followers[which % count];
                for _ in 0..*requests {
                    follower.step(&self.server).await;
                }
            }
            Step::Join(view) => self.followers.push(Follower::new(*view)),
            Step::Nested { replace, count } => self.import_nested(*replace, *count).await,
            Step::Sync(which, requests) => {
                let count = self.syncs.len();
                let sync = &mut self.syncs[which % count];
                for _ in 0..*requests {
                    sync.step(&self.server).await;
                }
            }
            Step::JoinSync(view) => self.syncs.push(SyncFollower::new(*view)),
        }
        self.witness.catch_up(&self.server).await;
        self.seen.extend(self.witness.copy.keys().cloned());
    }

    async fn upsert(&mut self, table: &'static str, records: Vec<(u64, Value)>) {
        let data = records.iter().map(|(k, v)| json!({ "k": k, "v": v }));
        self.server.import(table, Some("k"), data).await;
        self.expected.get_mut(table).unwrap().extend(records);
    }

    async fn delete(&mut self, table: &'static str, keys: &[u8]) {
        let data = keys
            .iter()
            .map(|k| json!({ "k": k, "_ab_cdc_deleted_at": 1 }));
        self.server.import(table, Some("k"), data).await;
        let expected = self.expected.get_mut(table).unwrap();
        for key in keys {
            if expected.remove(&u64::from(*key)).is_none() {
                // A document without `v`.
                expected.insert(u64::from(*key), json!("absent"));
            }
        }
    }

    async fn clear(&mut self, table: &'static str) {
        let body = json!({ "tableNames": [table] });
        let (status, _) = self
            .server
            .put("/api/streaming_import/clear_tables", body)
            .await;
        assert_eq!(status, 200);
        self.forget(table);
        match self.expected.get_mut(table) {
            Some(expected) => expected.clear(),
            None => self.appended = 0,
        }
    }

    async fn import_nested(&mut self, replace: bool, count: u8) {
        let (mode, documents) = (
            if replace { "replace" } else { "append" },
            (0..count).map(|n| json!({ "n": n })),
        );
        let (status, _) = self
            .server
            .import_lines("outer/inner", "t", mode, documents)
            .await;
        assert_eq!(status, 200);
        if replace {
            self.forget(NESTED);
            self.nested = 0;
        }
        self.nested += usize::from(count);
    }

    /// All that was in a table is gone without a tombstone.
    fn forget(&mut self, table: &str) {
        let gone = self.seen.iter().filter(|(name, _)| name == table);
        self.cleared.extend(gone.cloned());
    }

    /// Compares everyone's copy with what is there, and that with what was written.
    async fn check(&mut self) {
        let everything = snapshot(&self.server, View::Everything).await;
        self.check_contents(&everything);
        for follower in &mut self.followers {
            follower.catch_up(&self.server).await;
            let mut copy = follower.copy.clone();
            copy.retain(|key, _| !self.cleared.contains(key));
            let shown = snapshot(&self.server, follower.view).await;
            assert_eq!(shown, project(&everything, follower.view));
            assert_eq!(copy, shown, "{:?}", follower.view);
        }
        for sync in &mut self.syncs {
            sync.catch_up(&self.server).await;
            // Its truncates tell of cleared tables too.
            assert_eq!(
                sync.copy,
                project(&everything, sync.view),
                "{:?}",
                sync.view
            );
        }
    }

    fn check_contents(&self, everything: &Copy) {
        for (table, expected) in &self.expected {
            let rows = everything.iter().filter(|((name, _), _)| name == table);
            let rows = rows.map(|(_, text)| serde_json::from_str::<Value>(text).unwrap());
            let rows = rows.map(|row| {
                let v = row.get("v").cloned().unwrap_or(json!("absent"));
                (row["k"].as_f64().unwrap() as u64, v.to_string())
            });
            let found: Vec<(u64, String)> = rows.collect();
            let count = found.len();
            let found: BTreeMap<u64, String> = found.into_iter().collect();
            assert_eq!(found.len(), count, "each key once");
            let expected = expected.iter().map(|(k, v)| (*k, v.to_string()));
            assert_eq!(found, expected.collect());
        }
        let count = |table: &str| everything.keys().filter(|(name, _)| name == table).count();
        assert_eq!((count(LOG), count(NESTED)), (self.appended, self.nested));
    }
}

/// What a view shows of everything.
fn project(everything: &Copy, view: View) -> Copy {
    let shown = everything
        .iter()
        .filter(|((table, _), _)| view.shows(table));
    let shown = shown.map(|(key, text)| {
        let mut fields: Map<String, Value> = serde_json::from_str(text).unwrap();
        view.narrow(&mut fields);
        (key.clone(), Value::Object(fields).to_string())
    });
    shown.collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn whoever_follows_the_protocol_ends_up_with_what_is_there(steps in steps()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let mut history = History::new().await;
            for step in &steps {
                history.run(step).await;
            }
            history.check().await;
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_keep_up_with_concurrent_writers() {
    let server = Server::start().await;
    server.add_key("a", "k").await;
    let initial = (0..2_500).map(|k| json!({ "k": k, "v": "first" }));
    server.import("a", Some("k"), initial).await;
    let writing = AtomicBool::new(true);
    let views = [
        View::Everything,
        View::Table("a"),
        View::Narrowed("a", "v"),
        View::Without("log"),
    ];
    let write = async {
        let writers = (0..3).map(|writer| {
            let server = &server;
            async move {
                for round in 0..25 {
                    let records = (0..40).map(|n| {
                        let k = (round * 97 + n * 31 + writer * 1_013) % 3_000;
                        match n % 5 {
                            0 => json!({ "k": k, "_ab_cdc_deleted_at": 1 }),
                            _ => json!({ "k": k, "v": [writer, round, n] }),
                        }
                    });
                    server.import("a", Some("k"), records).await;
                    server.import(LOG, None, [json!({ "round": round })]).await;
                }
            }
        });
        join_all(writers).await;
        writing.store(false, Ordering::Relaxed);
    };
    let follow = join_all(views.map(|view| {
        let (server, writing) = (&server, &writing);
        async move {
            let mut follower = Follower::new(view);
            while writing.load(Ordering::Relaxed) {
                follower.step(server).await;
            }
            follower.catch_up(server).await;
            follower
        }
    }));
    let sync = join_all(views.map(|view| {
        let (server, writing) = (&server, &writing);
        async move {
            let mut sync = SyncFollower::new(view);
            while writing.load(Ordering::Relaxed) {
                sync.step(server).await;
            }
            sync.catch_up(server).await;
            sync
        }
    }));
    let ((), followers, syncs) = tokio::join!(write, follow, sync);
    for follower in followers {
        assert_eq!(follower.copy, snapshot(&server, follower.view).await);
    }
    for sync in syncs {
        assert_eq!(sync.copy, snapshot(&server, sync.view).await);
    }
}

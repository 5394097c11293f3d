//! The tail against a real Valkey and a Convex-compatible store whose log is short.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use serde_json::{Value, json};
use sluice_convex::embedded::{Embedded, EmbeddedConfig};
use sluice_convex::{Client, ClientConfig, FilesVia, History, files};
use sluice_jobs::{JobsConfig, TailConfig, run_workers};
use sluice_queue::{QueueConfig, Queues};
use sluice_store::cache::{Cache, CacheConfig, Entry, Overflow};
use sluice_store::documents::DocumentsConfig;
use sluice_store::tail::keys::NUDGES;
use sluice_store::tail::{Known, Nudge, NudgeKind, Settlement, Tail, TailStatus};
use sluice_test_support::TestValkey;
use sluice_valkey::Valkey;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

mod names;

const KEY: &str = "dev:test|0123456789abcdef";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const PATIENCE: Duration = Duration::from_secs(60);

/// Convex, Valkey, and whoever listens there.
struct World {
    valkey: TestValkey,
    convex: Client,
    url: String,
    cache: Cache,
    heard: Arc<Mutex<Vec<Nudge>>>,
    /// How workers read files.
    via: FilesVia,
    _folder: tempfile::TempDir,
}

/// A process that tails until it is dropped.
struct Worker {
    shutdown: Option<DropGuard>,
    ended: JoinHandle<()>,
}

impl Worker {
    async fn stop(mut self) {
        self.shutdown.take();
        self.ended.await.unwrap();
    }
}

impl World {
    async fn with_log_retention(log_retention: Duration) -> World {
        let folder = tempfile::tempdir().unwrap();
        let embedded = Embedded::open(EmbeddedConfig {
            log_retention,
            ..EmbeddedConfig::new(folder.path(), KEY)
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = embedded.unwrap().router();
        tokio::spawn(async move { axum::serve(listener, router).await });
        let convex = client(&url, KEY);
        convex
            .add_primary_key_index("files", &["id"])
            .await
            .unwrap();

        let valkey = TestValkey::start();
        let store = Valkey::at(&valkey.url()).unwrap();
        let cache = Cache::new(&store, CacheConfig::default()).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut subscription = redis::Client::open(valkey.url())
            .unwrap()
            .get_async_pubsub()
            .await
            .unwrap();
        subscription.subscribe(NUDGES).await.unwrap();
        tokio::spawn({
            let heard = heard.clone();
            async move {
                let mut messages = subscription.into_on_message();
                while let Some(message) = messages.next().await {
                    let nudge = serde_json::from_slice(message.get_payload_bytes()).unwrap();
                    heard.lock().unwrap().push(nudge);
                }
            }
        });
        World {
            valkey,
            convex,
            url,
            cache,
            heard,
            via: FilesVia::Functions,
            _folder: folder,
        }
    }

    async fn start_worker(&self) -> Worker {
        self.worker_with(KEY, None).await
    }

    async fn worker_with(&self, key: &str, compare_every: Option<Duration>) -> Worker {
        let valkey = self.valkey.url();
        let queues = Queues::connect(&valkey, QueueConfig::default());
        let client = client(&self.url, key);
        let config = JobsConfig {
            concurrency: 1,
            losses: 3,
            worker_name: "worker".to_owned(),
            host: "test".to_owned(),
            schedules: Vec::new(),
            device_idle: Duration::MAX,
            contents: Default::default(),
            documents: DocumentsConfig::default(),
            drain: Duration::ZERO,
            tail: Some(TailConfig {
                tenant: Some("default".into()),
                history: History::new(client.clone()),
                interval: Duration::from_millis(20),
                compare_every,
            }),
        };
        let shutdown = CancellationToken::new();
        let (queues, cache, token) = (queues.await.unwrap(), self.cache.clone(), shutdown.clone());
        let files = files(client, self.via);
        let ended = tokio::spawn(async move {
            run_workers(queues, cache, files, config, token)
                .await
                .unwrap();
        });
        Worker {
            shutdown: Some(shutdown.drop_guard()),
            ended,
        }
    }

    async fn import(&self, records: &[Value]) {
        for chunk in records.chunks(2000) {
            self.convex
                .import_records("files", &["id"], chunk)
                .await
                .unwrap();
        }
    }

    async fn delete(&self, id: &str) {
        let deletion = json!({ "user": "ann", "id": id, "_ab_cdc_deleted_at": "now" });
        self.import(&[deletion]).await;
    }

    /// Puts all files as Convex has them into a bulk set of ann's.
    async fn sync(&self) {
        let as_of = self.convex.now().await.unwrap();
        let mut walk = History::new(self.convex.clone()).walk(as_of, None);
        let mut staging = self.cache.stage("ann", Overflow::Refuse).await.unwrap();
        while let Some(batch) = walk.next().await.unwrap() {
            let files = batch.changes.into_iter().filter_map(|change| change.file);
            let entries: Vec<Entry> = files
                .map(|file| Entry {
                    id: file.id,
                    doc_id: file.doc_id,
                    json: file.json,
                })
                .collect();
            staging.push(&entries).await.unwrap();
        }
        staging.commit("allOne", as_of).await.unwrap();
    }

    /// Id and version of what is cached of ann's files.
    async fn cached(&self) -> BTreeMap<String, u64> {
        self.cached_of("ann").await
    }

    async fn cached_of(&self, user: &str) -> BTreeMap<String, u64> {
        let (mut cached, mut cursor) = (BTreeMap::new(), None);
        loop {
            let page = self.cache.list(user, cursor, 1000).await.unwrap();
            for json in page.entries {
                let entry: Value = serde_json::from_slice(&json).unwrap();
                let version = entry["version"].as_f64().unwrap() as u64;
                cached.insert(entry["id"].as_str().unwrap().to_owned(), version);
            }
            cursor = page.cursor;
            if cursor.is_none() {
                return cached;
            }
        }
    }

    async fn status(&self) -> TailStatus {
        Tail::new(self.cache.valkey()).status().await.unwrap()
    }

    /// Waits until all that was written up to now is settled, and no walk is under way.
    async fn caught_up(&self) {
        let now = self.convex.now().await.unwrap();
        eventually(async || {
            let progress = self.status().await.progress;
            progress.walk.is_none() && progress.cursor.is_some_and(|cursor| cursor >= now)
        })
        .await;
    }

    /// Waits until everything that was published has come: this is the last of it.
    async fn heard_all(&self) {
        let end = Nudge {
            change: NudgeKind::Deleted,
            user: "end".into(),
            former_user: None,
            id: "end".into(),
            doc_id: "end".into(),
            ts: "0".into(),
        };
        let text = serde_json::to_string(&end).unwrap();
        let () = redis::Commands::publish(&mut self.valkey.connection(), NUDGES, text).unwrap();
        eventually(async || self.heard.lock().unwrap().last() == Some(&end)).await;
        self.heard.lock().unwrap().pop();
    }

    /// What was told of each id, by kind.
    fn told(&self) -> BTreeMap<String, Vec<NudgeKind>> {
        let mut told: BTreeMap<String, Vec<NudgeKind>> = BTreeMap::new();
        for nudge in self.heard.lock().unwrap().iter() {
            told.entry(nudge.id.clone()).or_default().push(nudge.change);
        }
        told
    }

    fn forget_told(&self) {
        self.heard.lock().unwrap().clear();
    }
}

fn client(url: &str, key: &str) -> Client {
    Client::new(ClientConfig::new(url.parse().unwrap(), key.into())).unwrap()
}

fn file(id: &str, version: u64) -> Value {
    json!({ "user": "ann", "id": id, "version": version })
}

fn files_of(ids: std::ops::Range<u64>) -> Vec<Value> {
    ids.map(|n| file(&format!("f{n}"), n)).collect()
}

async fn eventually(mut condition: impl AsyncFnMut() -> bool) {
    let begun = Instant::now();
    while !condition().await {
        assert!(begun.elapsed() < PATIENCE, "gave up waiting");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn versions<const N: usize>(of: [(&str, u64); N]) -> BTreeMap<String, u64> {
    of.map(|(id, version)| (id.to_owned(), version)).into()
}

fn kinds<const N: usize>(of: [(&str, NudgeKind); N]) -> BTreeMap<String, Vec<NudgeKind>> {
    of.map(|(id, kind)| (id.to_owned(), vec![kind])).into()
}

#[tokio::test]
async fn what_was_there_before_the_tail_is_learnt_and_not_told() {
    let world = World::with_log_retention(DAY).await;
    world.import(&files_of(0..3000)).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    assert!(world.told().is_empty());
    // It knows them, though: a tombstone says no more than the `_id`.
    world.delete("f7").await;
    world.import(&[file("f8", 800), file("new", 1)]).await;
    world.caught_up().await;
    let expected = kinds([
        ("f7", NudgeKind::Deleted),
        ("f8", NudgeKind::Updated),
        ("new", NudgeKind::Created),
    ]);
    eventually(async || world.told() == expected).await;
    worker.stop().await;
    assert_eq!(world.status().await.worker, None, "the lease is given back");
}

#[tokio::test]
async fn when_convex_forgot_the_cursor_a_walk_finds_what_changed_and_what_is_gone() {
    let retention = Duration::from_secs(3);
    let world = World::with_log_retention(retention).await;
    world.import(&files_of(0..4)).await;
    world.sync().await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    worker.stop().await;
    assert!(world.told().is_empty());

    world.delete("f0").await;
    world.import(&[file("f1", 100), file("new", 1)]).await;
    tokio::time::sleep(retention + Duration::from_millis(500)).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    let expected = versions([("f1", 100), ("f2", 2), ("f3", 3), ("new", 1)]);
    assert_eq!(world.cached().await, expected);
    let expected = kinds([
        ("f0", NudgeKind::Deleted),
        ("f1", NudgeKind::Updated),
        ("new", NudgeKind::Created),
    ]);
    eventually(async || world.told() == expected).await;
    world.import(&[file("f2", 200)]).await;
    world.caught_up().await;
    assert_eq!(world.cached().await["f2"], 200);
    worker.stop().await;
}

#[tokio::test]
async fn a_table_that_is_emptied_without_tombstones_is_noticed() {
    let world = World::with_log_retention(DAY).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    world.import(&files_of(0..1500)).await;
    world.caught_up().await;
    world.sync().await;
    world.import(&[file("f0", 5)]).await;
    world.caught_up().await;
    eventually(async || world.told().len() == 1500).await;
    world.forget_told();

    // Emptied and filled anew, as a sync in overwrite mode does; with a change that is seen by
    // itself before.
    world.convex.clear_tables(&["files"]).await.unwrap();
    world.import(&[file("f1", 100), file("new", 1)]).await;
    let expected = versions([("f1", 100), ("new", 1)]);
    eventually(async || world.cached().await == expected).await;
    world.caught_up().await;
    world.heard_all().await;
    let told = world.told();
    assert_eq!(told.len(), 1501);
    assert_eq!(told["new"], [NudgeKind::Created]);
    // It is another document under the same id, which came before it was seen that the first had
    // gone.
    assert_eq!(told["f1"], [NudgeKind::Updated, NudgeKind::Updated]);
    let rest = told.iter().filter(|(id, _)| *id != "f1" && *id != "new");
    assert!(
        rest.map(|(_, kinds)| kinds)
            .all(|kinds| *kinds == [NudgeKind::Deleted])
    );
    worker.stop().await;
}

#[tokio::test]
async fn a_scheduled_comparison_finds_what_should_not_be_there() {
    let world = World::with_log_retention(DAY).await;
    world.import(&files_of(0..1200)).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    worker.stop().await;
    // A document that Convex does not have.
    let tail = Tail::new(world.cache.valkey());
    let lead = tail.claim("ghost").await.unwrap().unwrap();
    let ghost = Settlement {
        doc_id: "no-such-document".into(),
        ts: 1_000_000_000_000_000_000,
        file: Some(Known {
            user: "ann".into(),
            id: "ghost".into(),
        }),
        nudges: Vec::new(),
    };
    lead.settle(&[ghost], 1, false).await.unwrap();
    lead.release().await.unwrap();
    let worker = world.worker_with(KEY, Some(Duration::from_millis(1))).await;
    // Deltas go on meanwhile.
    world.import(&[file("f1", 100)]).await;
    world.delete("f2").await;
    let expected = kinds([
        ("f1", NudgeKind::Updated),
        ("f2", NudgeKind::Deleted),
        ("ghost", NudgeKind::Deleted),
    ]);
    eventually(async || world.told() == expected).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_refused_key_is_told_and_the_tail_goes_on_once_another_worker_has_the_right_one() {
    let world = World::with_log_retention(DAY).await;
    world.import(&files_of(0..3)).await;
    let refused = world.worker_with("dev:test|wrong", None).await;
    let trouble = async || {
        world
            .status()
            .await
            .health
            .and_then(|health| health.trouble)
    };
    eventually(async || trouble().await.is_some_and(|why| why.contains("key"))).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    assert_eq!(trouble().await, None);
    worker.stop().await;
    refused.stop().await;
}

#[tokio::test]
async fn a_valkey_that_comes_back_empty_is_filled_anew() {
    let world = World::with_log_retention(DAY).await;
    world.import(&files_of(0..3)).await;
    let worker = world.start_worker().await;
    world.caught_up().await;
    redis::cmd("FLUSHALL")
        .exec(&mut world.valkey.connection())
        .unwrap();
    world.caught_up().await;
    world.delete("f1").await;
    let expected = kinds([("f1", NudgeKind::Deleted)]);
    eventually(async || world.told() == expected).await;
    worker.stop().await;
}

#[tokio::test]
async fn a_convex_that_forgets_everything_at_once_is_not_asked_without_a_pause() {
    let world = World::with_log_retention(Duration::ZERO).await;
    world.import(&files_of(0..3)).await;
    let worker = world.start_worker().await;
    let walks = async || world.status().await.progress.generation;
    let counting = async {
        eventually(async || walks().await >= 2).await;
        let before = walks().await;
        tokio::time::sleep(Duration::from_secs(2)).await;
        walks().await - before
    };
    // Each write makes it forget all that was before.
    let writing = async {
        for version in 3.. {
            world.import(&[file("f0", version)]).await;
        }
    };
    let since = tokio::select! {
        since = counting => since,
        () = writing => unreachable!("it goes on for ever"),
    };
    assert!(since < 12, "{since} walks in two seconds");
    worker.stop().await;
}

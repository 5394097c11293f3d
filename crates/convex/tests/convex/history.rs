//! Walks over the files of all users: resumed, broken, expired, and against a model of what was
//! written.

use std::collections::{BTreeMap, HashSet};

use proptest::prelude::*;
use serde_json::{Value, json};
use sluice_convex::files::history::{DeltaWalk, FullWalk, WalkEnd};
use sluice_convex::{ConvexError, FileChange, History};

use crate::deployment::Deployment;
use crate::scripted::{Answer, Scripted, ok, status};

/// What a copy keeps of a document: when it was written and its size, if it is somebody's file.
type Copy = BTreeMap<Box<str>, (i64, Option<u64>)>;

fn file(n: usize, size: u64) -> Value {
    json!({ "n": n, "id": format!("f{n}"), "user": "u", "size": size })
}

fn keep(copy: &mut Copy, change: &FileChange) {
    let size = change.file.as_ref().map(|file| {
        let json: Value = serde_json::from_slice(&file.json).unwrap();
        json["size"].as_f64().unwrap() as u64
    });
    let known = copy.entry(change.doc_id.clone()).or_default();
    if change.ts >= known.0 {
        *known = (change.ts, size);
    }
}

/// Walks a page, and tells where the next one begins.
async fn walk_page(walk: &mut FullWalk, copy: &mut Copy) -> WalkEnd {
    loop {
        let batch = walk.next().await.unwrap().unwrap();
        batch.changes.iter().for_each(|change| keep(copy, change));
        if let Some(end) = batch.end {
            return end;
        }
    }
}

/// Walks a page of deltas; gives the checkpoint and whether more follows.
async fn delta_page(walk: &mut DeltaWalk, copy: &mut Copy) -> (i64, bool) {
    loop {
        let batch = walk.next().await.unwrap();
        batch.changes.iter().for_each(|change| keep(copy, change));
        if let Some(end) = batch.end {
            return (end.cursor, end.has_more);
        }
    }
}

fn sizes(copy: &Copy) -> Vec<u64> {
    let mut sizes: Vec<u64> = copy.values().filter_map(|&(_, size)| size).collect();
    sizes.sort_unstable();
    sizes
}

#[tokio::test]
async fn a_full_walk_resumed_after_each_page_gives_the_table_as_it_was_at_the_beginning() {
    let deployment = Deployment::start().await;
    let documents: Vec<Value> = (0..3000).map(|n| file(n, n as u64)).collect();
    deployment.put(&documents).await;
    let history = History::new(deployment.client.clone());
    let snapshot = history.now().await.unwrap();

    let (mut copy, mut cursor, mut pages) = (Copy::new(), None, 0);
    loop {
        pages += 1;
        // What is written meanwhile is later than the snapshot.
        deployment.put(&[file(pages, 900_000)]).await;
        let end = walk_page(&mut history.walk(snapshot, cursor), &mut copy).await;
        match end {
            WalkEnd::Page(next) => cursor = Some(next),
            WalkEnd::Table => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(sizes(&copy), (0..3000).collect::<Vec<u64>>());
    let mut ended = history.walk(snapshot, None);
    while ended.next().await.unwrap().is_some() {}
    assert!(ended.next().await.unwrap().is_none());
}

#[tokio::test]
async fn batches_are_small_however_large_a_page_is() {
    let deployment = Deployment::start().await;
    let large = "x".repeat(300_000);
    let documents: Vec<Value> = (0..40)
        .map(|n| json!({ "n": n, "id": format!("f{n}"), "user": "u", "size": n, "fill": large }))
        .collect();
    let history = History::new(deployment.client.clone());
    let before = history.now().await.unwrap();
    deployment.put(&documents).await;
    let snapshot = history.now().await.unwrap();
    let (mut walk, mut documents) = (history.walk(snapshot, None), 0);
    while let Some(batch) = walk.next().await.unwrap() {
        assert!(batch.changes.len() <= 5, "{}", batch.changes.len());
        documents += batch.changes.len();
    }
    assert_eq!(documents, 40);
    let (mut deltas, mut changes) = (history.deltas(before), 0);
    loop {
        let batch = deltas.next().await.unwrap();
        assert!(batch.changes.len() <= 5, "{}", batch.changes.len());
        changes += batch.changes.len();
        if batch.end.is_some_and(|end| !end.has_more) {
            break;
        }
    }
    assert_eq!(changes, 40);
}

#[tokio::test]
async fn a_page_of_deltas_that_breaks_comes_anew_and_loses_nothing() {
    let row = |id: &str, ts: i64| {
        format!(
            r#"{{"_id":"{id}","_ts":{ts},"_deleted":false,"_table":"files","_creationTime":1.5,"user":"u"}}"#
        )
    };
    let whole = format!(
        r#"{{"values":[{},{}],"cursor":9,"hasMore":false}}"#,
        row("a", 5),
        row("b", 5)
    );
    let server = Scripted::start([
        Answer::Broken(
            r#"{"values":[{"_id":"a","_ts":5,"_deleted":false,"_table":"files","_creationTime":1.5,"user":"u"},{"#,
        ),
        ok(whole),
    ])
    .await;
    let mut walk = History::new(server.client(0)).deltas(3);
    let batch = walk.next().await.unwrap();
    let ids: HashSet<_> = batch.changes.iter().map(|change| &*change.doc_id).collect();
    assert_eq!(ids, ["a", "b"].into());
    assert_eq!(batch.end.unwrap().cursor, 9);
    let asked: Vec<Value> = server
        .asked()
        .iter()
        .map(|asked| asked.body["cursor"].clone())
        .collect();
    assert_eq!(asked, [3, 3]);
}

#[tokio::test]
async fn deltas_that_go_back_in_time_or_stand_still_are_refused() {
    let row = |ts: i64| format!(r#"{{"_id":"a","_ts":{ts},"_deleted":true,"_table":"files"}}"#);
    for page in [
        format!(r#"{{"values":[{}],"cursor":9,"hasMore":false}}"#, row(3)),
        format!(
            r#"{{"values":[{},{}],"cursor":9,"hasMore":false}}"#,
            row(6),
            row(5)
        ),
        format!(r#"{{"values":[{}],"cursor":5,"hasMore":false}}"#, row(6)),
        r#"{"values":[],"cursor":3,"hasMore":true}"#.to_owned(),
        format!(
            r#"{{"values":[{}],"cursor":9,"hasMore":false}}"#,
            r#"{"_id":"a","_ts":5.5}"#
        ),
    ] {
        let server = Scripted::start([ok(page.clone())]).await;
        let refused = History::new(server.client(0)).deltas(3).next().await;
        assert!(matches!(refused, Err(ConvexError::Malformed(_))), "{page}");
    }
}

#[tokio::test]
async fn a_snapshot_that_is_forgotten_during_a_page_is_told_from_an_overloaded_server() {
    let fault = || status(503, r#"{"code":"InternalServerError","message":"why"}"#);
    let now = r#"{"values":[],"snapshot":7,"cursor":null,"hasMore":false}"#;
    let server = Scripted::start([fault(), ok(now), fault(), fault()]).await;
    let history = History::new(server.client(0));
    let forgotten = history.walk(5, Some("p2".into())).next().await;
    assert!(matches!(forgotten, Err(ConvexError::CursorExpired { .. })));
    let overloaded = history.walk(5, Some("p2".into())).next().await;
    assert!(overloaded.is_err_and(|error| error.is_retryable()));
}

#[tokio::test]
async fn a_table_that_was_emptied_no_longer_remembers_its_changes() {
    let deployment = Deployment::start().await;
    let history = History::new(deployment.client.clone());
    let before = history.now().await.unwrap();
    deployment.put(&[file(1, 1)]).await;
    let changed = history.deltas(before).next().await.unwrap().changes[0].ts;
    deployment.put(&[file(2, 2)]).await;
    assert!(history.remembers(changed).await.unwrap());
    deployment.client.clear_tables(&["files"]).await.unwrap();
    assert!(!history.remembers(changed).await.unwrap());
    deployment.put(&[file(1, 3)]).await;
    assert!(!history.remembers(changed).await.unwrap());
    let forgotten = history.remembers(5).await;
    assert!(matches!(forgotten, Err(ConvexError::CursorExpired { .. })));
}

#[derive(Debug, Clone)]
enum Event {
    Write(Vec<(u16, u64)>),
    Delete(u16),
    /// The copy takes a page: of the snapshot if that is not walked to its end, else of the deltas.
    Page,
    /// The copy takes a page and dies before it keeps the checkpoint.
    Crash,
}

fn history() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        4 => prop::collection::vec((0..40_u16, 1..1_000_000_u64), 1..30).prop_map(Event::Write),
        2 => (0..40_u16).prop_map(Event::Delete),
        4 => Just(Event::Page),
        1 => Just(Event::Crash),
    ];
    prop::collection::vec(event, 1..40)
}

/// Where a copy goes on.
#[derive(Clone)]
enum Checkpoint {
    Snapshot(i64, Option<String>),
    Deltas(i64),
}

async fn take_page(history: &History, checkpoint: Checkpoint, copy: &mut Copy) -> Checkpoint {
    match checkpoint {
        Checkpoint::Snapshot(snapshot, cursor) => {
            match walk_page(&mut history.walk(snapshot, cursor), copy).await {
                WalkEnd::Page(cursor) => Checkpoint::Snapshot(snapshot, Some(cursor)),
                WalkEnd::Table => Checkpoint::Deltas(snapshot),
            }
        }
        Checkpoint::Deltas(cursor) => {
            Checkpoint::Deltas(delta_page(&mut history.deltas(cursor), copy).await.0)
        }
    }
}

#[test]
fn a_copy_that_follows_a_random_history_through_crashes_equals_the_table() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 12,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    runner
        .run(&history(), |events| {
            runtime.block_on(async {
                let deployment = Deployment::start().await;
                deployment.index_by(&["n"]).await;
                let history = History::new(deployment.client.clone());
                let import = async |records: Vec<Value>| {
                    let imported = deployment.client.import_records("files", &["n"], &records);
                    imported.await.unwrap();
                };
                // More than a page, so that the walk at the beginning can crash too.
                let mut table: BTreeMap<u16, u64> = (100..1300).map(|n| (n, 1)).collect();
                import(table.keys().map(|&n| file(n.into(), 1)).collect()).await;
                let begin = Checkpoint::Snapshot(history.now().await.unwrap(), None);
                let (mut checkpoint, mut copy) = (begin, Copy::new());
                for event in events {
                    match event {
                        Event::Write(files) => {
                            let files: BTreeMap<u16, u64> = files.into_iter().collect();
                            let records = files.iter().map(|(&n, &size)| file(n.into(), size));
                            import(records.collect()).await;
                            table.extend(files);
                        }
                        Event::Delete(n) if table.remove(&n).is_some() => {
                            let deletion = json!({ "n": n, "_ab_cdc_deleted_at": "now" });
                            import(vec![deletion]).await;
                        }
                        Event::Delete(_) => {}
                        Event::Page => {
                            checkpoint = take_page(&history, checkpoint, &mut copy).await;
                        }
                        Event::Crash => {
                            take_page(&history, checkpoint.clone(), &mut copy).await;
                        }
                    }
                }
                loop {
                    checkpoint = take_page(&history, checkpoint, &mut copy).await;
                    let Checkpoint::Deltas(cursor) = checkpoint else {
                        continue;
                    };
                    if !delta_page(&mut history.deltas(cursor), &mut copy).await.1 {
                        break;
                    }
                }
                let mut expected: Vec<u64> = table.values().copied().collect();
                expected.sort_unstable();
                prop_assert_eq!(sizes(&copy), expected);
                Ok(())
            })
        })
        .unwrap();
}

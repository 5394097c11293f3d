//! The tail's lease, progress and ledger against a real Valkey.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use futures_util::StreamExt;
use proptest::prelude::*;
use redis::aio::PubSub;
use sluice_store::StoreError;
use sluice_store::tail::keys::NUDGES;
use sluice_store::tail::{
    Health, Known, LEASE, Lead, LedgerState, Naming, Nudge, NudgeKind, Progress, Settlement,
    SweepCursors, Tail,
};
use sluice_test_support::{LossyWay, TestValkey};
use sluice_valkey::Valkey;

/// Later than what a double could tell apart.
const T: i64 = 1_800_000_000_000_000_000;

fn tail_at(url: &str) -> Tail {
    Tail::new(&Valkey::at(url).unwrap())
}

async fn lead(tail: &Tail) -> Lead {
    let lead = tail.claim("worker").await.unwrap().unwrap();
    lead.fence().await.unwrap();
    lead
}

fn known(id: &str) -> Known {
    Known {
        user: "ann".into(),
        id: id.into(),
    }
}

/// A change of the document `doc_id` at `T + ts`; `None`: it is gone.
fn settlement(doc_id: &str, ts: i64, file: Option<Known>) -> Settlement {
    let nudge = Nudge {
        change: NudgeKind::Updated,
        user: "ann".into(),
        former_user: None,
        id: doc_id.into(),
        doc_id: doc_id.into(),
        ts: (T + ts).to_string(),
    };
    Settlement {
        doc_id: doc_id.into(),
        ts: T + ts,
        file,
        nudges: vec![nudge],
    }
}

async fn listen(valkey: &TestValkey) -> PubSub {
    let client = redis::Client::open(valkey.url()).unwrap();
    let mut subscription = client.get_async_pubsub().await.unwrap();
    subscription.subscribe(NUDGES).await.unwrap();
    subscription
}

/// What was told up to now: document and time.
async fn told(valkey: &TestValkey, subscription: &mut PubSub) -> Vec<(String, i64)> {
    let () = redis::Commands::publish(&mut valkey.connection(), NUDGES, "end").unwrap();
    let mut told = Vec::new();
    let mut messages = subscription.on_message();
    loop {
        let message: String = messages.next().await.unwrap().get_payload().unwrap();
        if message == "end" {
            return told;
        }
        let nudge: Nudge = serde_json::from_str(&message).unwrap();
        told.push((nudge.doc_id, nudge.ts.parse::<i64>().unwrap() - T));
    }
}

fn is_superseded<T>(result: Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Superseded))
}

#[tokio::test]
async fn one_worker_leads_and_the_next_goes_on_where_it_was() {
    let valkey = TestValkey::start();
    let tail = tail_at(&valkey.url());
    assert_eq!(tail.status().await.unwrap().worker, None);
    let first = lead(&tail).await;
    assert_eq!(first.progress(), &Progress::default());
    assert!(tail.claim("other").await.unwrap().is_none());
    let progress = Progress {
        cursor: Some(T),
        ..Progress::default()
    };
    first.save(&progress, &Health::default()).await.unwrap();
    let status = tail.status().await.unwrap();
    assert_eq!(status.worker.as_deref(), Some("worker"));
    assert_eq!(status.progress, progress);

    first.release().await.unwrap();
    let second = tail.claim("other").await.unwrap().unwrap();
    assert_eq!(second.progress(), &progress);
    assert!(second.extend().await.unwrap());
    assert!(!first.extend().await.unwrap());
    first.release().await.unwrap();
    assert!(tail.claim("third").await.unwrap().is_none(), "not its own");

    // Left alone, it runs out.
    tokio::time::sleep(LEASE + std::time::Duration::from_millis(300)).await;
    assert!(!second.extend().await.unwrap());
    assert_eq!(tail.status().await.unwrap().worker, None);
    assert!(tail.claim("third").await.unwrap().is_some());
}

#[tokio::test]
async fn whatever_a_worker_does_after_another_one_took_over_is_refused() {
    let valkey = TestValkey::start();
    let tail = tail_at(&valkey.url());
    let stale = lead(&tail).await;
    let settled = [settlement("a", 1, Some(known("a")))];
    stale.settle(&settled, 1, true).await.unwrap();
    stale.release().await.unwrap();
    let present = lead(&tail).await;
    let mut subscription = listen(&valkey).await;

    let later = [settlement("a", 2, None)];
    assert!(is_superseded(stale.settle(&later, 1, true).await));
    assert!(is_superseded(stale.settle(&later, 1, false).await));
    assert!(is_superseded(stale.look(&[("a", T + 2)], None).await));
    assert!(is_superseded(stale.look(&[("a", T + 2)], Some(2)).await));
    let mut cursors = SweepCursors::default();
    assert!(is_superseded(stale.sweep(Some(2), &mut cursors).await));
    let health = Health::default();
    assert!(is_superseded(
        stale.save(&Progress::default(), &health).await
    ));
    assert!(is_superseded(stale.fence().await));

    assert!(told(&valkey, &mut subscription).await.is_empty());
    let looks = present.look(&[("a", T + 2)], None).await.unwrap();
    assert_eq!(looks, [LedgerState::Known(known("a"))]);
}

#[tokio::test]
async fn the_ledger_knows_what_was_settled_and_nothing_that_went() {
    let valkey = TestValkey::start();
    let lead = lead(&tail_at(&valkey.url())).await;
    let mut subscription = listen(&valkey).await;
    let settlements = [
        settlement("a", 1, Some(known("a"))),
        settlement("b", 1, Some(known("file-b"))),
        settlement("unheard-of", 1, None),
        settlement("b", 2, None),
    ];
    assert_eq!(lead.settle(&settlements, 1, true).await.unwrap(), 3);
    let looks = lead.look(&[("a", T), ("a", T + 1), ("a", T + 3), ("b", T + 3)], None);
    let expected = [
        LedgerState::Settled,
        LedgerState::Settled,
        LedgerState::Known(known("a")),
        LedgerState::Unknown,
    ];
    assert_eq!(looks.await.unwrap(), expected);
    let mut told = told(&valkey, &mut subscription).await;
    told.sort();
    assert_eq!(
        told,
        [("a", 1), ("b", 1), ("b", 2)].map(|(doc, ts)| (doc.to_owned(), ts))
    );
    assert!(lead.look(&[], None).await.unwrap().is_empty());
    assert_eq!(lead.settle(&[], 1, true).await.unwrap(), 0);
}

#[tokio::test]
async fn the_ledger_tells_whether_others_have_a_name_however_often_it_is_asked() {
    let valkey = TestValkey::start();
    let tail = tail_at(&valkey.url());
    let stale = lead(&tail).await;
    stale.release().await.unwrap();
    let lead = lead(&tail).await;
    let (f, g) = (known("f"), known("g"));
    let step = |doc_id, name, has| Naming { doc_id, name, has };
    let steps = [
        step("a", &f, true),
        step("b", &f, true),
        step("b", &g, true),
        step("a", &f, false),
        step("c", &f, true),
        step("b", &f, false),
    ];
    let first = lead.name(&steps).await.unwrap();
    assert_eq!(first, [false, true, false, true, true, true]);
    // What others have is then as it is in the end; of the last step of a name it was so at first,
    // too.
    for _ in 0..2 {
        let again = lead.name(&steps).await.unwrap();
        assert_eq!(again, [true, true, false, true, true, true]);
    }
    let gone = [step("c", &f, false), step("b", &g, false)];
    for _ in 0..2 {
        assert_eq!(lead.name(&gone).await.unwrap(), [false, false]);
    }
    // An `_id` as id is one document's.
    assert_eq!(lead.name(&[step("f", &f, true)]).await.unwrap(), [false]);
    let kept: Vec<String> = redis::Commands::keys(&mut valkey.connection(), "*names").unwrap();
    assert!(kept.is_empty(), "{kept:?}");
    assert!(is_superseded(stale.name(&steps).await));
    assert!(is_superseded(stale.forget_names().await));
}

#[tokio::test]
async fn among_many_names_each_is_found() {
    let valkey = TestValkey::start();
    let lead = lead(&tail_at(&valkey.url())).await;
    let names: Vec<(String, Known)> = (0..20_000)
        .map(|n| (format!("doc-{n}"), known(&format!("file-{n}"))))
        .collect();
    let all = |has| -> Vec<Naming> {
        let steps = names
            .iter()
            .map(|(doc_id, name)| Naming { doc_id, name, has });
        steps.collect()
    };
    assert!(!lead.name(&all(true)).await.unwrap().contains(&true));
    let others: Vec<Naming> = names
        .iter()
        .map(|(_, name)| Naming {
            doc_id: "other",
            name,
            has: true,
        })
        .collect();
    assert!(!lead.name(&others).await.unwrap().contains(&false));
    assert!(!lead.name(&all(false)).await.unwrap().contains(&false));
    lead.forget_names().await.unwrap();
    assert!(!lead.name(&all(true)).await.unwrap().contains(&true));
}

#[tokio::test]
async fn a_user_that_may_not_nudge_settles_nothing() {
    let valkey = TestValkey::start();
    let allow = |right: &str| {
        let mut cmd = redis::cmd("ACL");
        cmd.arg(&[
            "SETUSER", "limited", "on", ">secret", "~*", "&*", "+@all", right,
        ]);
        cmd.exec(&mut valkey.connection()).unwrap();
    };
    allow("-publish");
    let tail = tail_at(&format!(
        "redis://limited:secret@127.0.0.1:{}",
        valkey.port()
    ));
    let lead = lead(&tail).await;
    let settlements = [settlement("a", 1, Some(known("a")))];
    let refused = lead.settle(&settlements, 1, true).await.unwrap_err();
    let fault = refused.fault().map(|fault| fault.name());
    assert_eq!(fault, Some("access_denied"), "{refused}");
    allow("+publish");
    let mut nudges = listen(&valkey).await;
    assert_eq!(lead.settle(&settlements, 1, true).await.unwrap(), 1);
    let nudge: String = nudges
        .on_message()
        .next()
        .await
        .unwrap()
        .get_payload()
        .unwrap();
    assert!(nudge.contains("\"a\""), "{nudge}");
}

#[tokio::test]
async fn nudges_of_one_id_come_in_the_order_of_the_settlements_whatever_their_documents() {
    let valkey = TestValkey::start();
    let lead = lead(&tail_at(&valkey.url())).await;
    let mut subscription = listen(&valkey).await;
    // Each document in its turn has one of seven ids, so that each id is in most buckets.
    let settlements: Vec<Settlement> = (0..500)
        .map(|n| {
            let mut settlement = settlement(&format!("d{n}"), n, Some(known("f")));
            settlement.nudges[0].id = format!("f{}", n % 7);
            settlement
        })
        .collect();
    assert_eq!(lead.settle(&settlements, 1, true).await.unwrap(), 500);
    assert_eq!(lead.settle(&settlements, 1, true).await.unwrap(), 0);
    let told = told(&valkey, &mut subscription).await;
    assert_eq!(told.len(), 500);
    for id in 0..7 {
        let of_id: Vec<i64> = told
            .iter()
            .map(|(_, ts)| *ts)
            .filter(|ts| ts % 7 == id)
            .collect();
        assert!(of_id.is_sorted(), "{of_id:?}");
    }
}

#[tokio::test]
async fn a_call_whose_answer_is_lost_tells_nothing_twice() {
    let valkey = TestValkey::start();
    let way = LossyWay::to(valkey.port()).await;
    let lead = lead(&tail_at(&way.url())).await;
    let warm = [settlement("warm", 0, Some(known("warm")))];
    lead.settle(&warm, 1, true).await.unwrap();
    let mut subscription = listen(&valkey).await;
    let settlements: Vec<_> = (0..50)
        .map(|n| settlement(&format!("d{n}"), n, Some(known("f"))))
        .collect();
    way.lose(1);
    lead.settle(&settlements, 1, true).await.unwrap();
    way.assert_lost();
    assert_eq!(told(&valkey, &mut subscription).await.len(), 50);
    let progress = Progress {
        cursor: Some(T),
        ..Progress::default()
    };
    way.lose(1);
    lead.save(&progress, &Health::default()).await.unwrap();
    way.assert_lost();
}

#[tokio::test]
async fn lost_data_is_noticed_before_anything_is_settled_on_top() {
    let valkey = TestValkey::start();
    let tail = tail_at(&valkey.url());
    let lead = lead(&tail).await;
    let first = [settlement("a", 1, Some(known("a")))];
    lead.settle(&first, 1, true).await.unwrap();
    assert_eq!(lead.look(&[("a", T + 2)], None).await.unwrap().len(), 1);
    let progress = Progress {
        cursor: Some(T + 1),
        ..Progress::default()
    };
    lead.save(&progress, &Health::default()).await.unwrap();
    // The server comes back without what it wrote last.
    redis::cmd("FLUSHALL")
        .exec(&mut valkey.connection())
        .unwrap();
    let look = lead.look(&[("a", T + 3)], None).await;
    assert!(matches!(look, Err(StoreError::DataLost)));
    let save = async || lead.save(&progress, &Health::default()).await;
    assert!(matches!(save().await, Err(StoreError::DataLost)));
    assert!(matches!(lead.extend().await, Err(StoreError::DataLost)));
    // Another worker that goes on from what is there has the lease, which is no loss of data.
    let _other = tail.claim("other").await.unwrap().unwrap();
    assert!(!lead.extend().await.unwrap());
    assert!(is_superseded(save().await));
}

#[tokio::test]
async fn a_walk_marks_what_it_comes_by_and_a_sweep_finds_the_rest() {
    let valkey = TestValkey::start();
    let lead = lead(&tail_at(&valkey.url())).await;
    let names: Vec<String> = (0..3000).map(|n| format!("doc-{n}")).collect();
    for chunk in names.chunks(500) {
        let settlements: Vec<_> = chunk
            .iter()
            .map(|name| settlement(name, 5, Some(known(name))))
            .collect();
        lead.settle(&settlements, 1, true).await.unwrap();
    }
    let (walked, gone) = names.split_at(2000);
    for chunk in walked.chunks(500) {
        let documents: Vec<(&str, i64)> = chunk.iter().map(|name| (&**name, T + 5)).collect();
        let looks = lead.look(&documents, Some(2)).await.unwrap();
        assert!(looks.iter().all(|look| *look == LedgerState::Settled));
    }
    // A walk comes by what a delta settled before it, though not by what only a walk would know.
    let changed = lead.look(&[("doc-0", T + 9), ("new", T + 1)], Some(2));
    let expected = [LedgerState::Known(known("doc-0")), LedgerState::Unknown];
    assert_eq!(changed.await.unwrap(), expected);

    let (mut cursors, mut found) = (SweepCursors::default(), BTreeSet::new());
    while !cursors.are_done() {
        let unmarked = lead.sweep(Some(2), &mut cursors).await.unwrap();
        found.extend(
            unmarked
                .into_iter()
                .map(|unmarked| unmarked.doc_id.to_string()),
        );
    }
    assert_eq!(found, gone.iter().cloned().collect());
}

#[tokio::test]
async fn each_bucket_lies_in_one_slot_of_a_cluster() {
    let valkey = TestValkey::start_with(&["--cluster-enabled", "yes"]);
    let mut connection = valkey.connection();
    redis::cmd("CLUSTER")
        .arg(&["ADDSLOTSRANGE", "0", "16383"])
        .exec(&mut connection)
        .unwrap();
    let state = |connection: &mut redis::Connection| -> String {
        redis::cmd("CLUSTER").arg("INFO").query(connection).unwrap()
    };
    while !state(&mut connection).contains("cluster_state:ok") {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let lead = lead(&tail_at(&valkey.url())).await;
    let settlements: Vec<_> = (0..200)
        .map(|n| settlement(&format!("d{n}"), n, Some(known("f"))))
        .collect();
    assert_eq!(lead.settle(&settlements, 1, true).await.unwrap(), 200);
    lead.save(&Progress::default(), &Health::default())
        .await
        .unwrap();
    lead.sweep(Some(1), &mut SweepCursors::default())
        .await
        .unwrap();
}

/// Transactions, each with the documents that it writes (`true`) or deletes.
fn transactions() -> impl Strategy<Value = Vec<BTreeMap<u8, bool>>> {
    let transaction = prop::collection::btree_map(0..12_u8, prop::bool::weighted(0.7), 1..6);
    prop::collection::vec(transaction, 1..25)
}

#[test]
fn a_history_that_comes_again_from_any_point_in_any_pieces_is_told_once() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let valkey = TestValkey::start();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 60,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let pieces = prop::collection::vec((1..9_usize, prop::bool::weighted(0.3)), 1..60);
    runner
        .run(&(transactions(), pieces), |(transactions, pieces)| {
            runtime.block_on(async {
                redis::cmd("FLUSHALL")
                    .exec(&mut valkey.connection())
                    .unwrap();
                let tail = tail_at(&valkey.url());
                let mut lead = lead(&tail).await;
                let mut subscription = listen(&valkey).await;
                // What Convex would give: a deletion of nothing is no change.
                let (mut table, mut log) = (BTreeMap::new(), Vec::new());
                for (ts, transaction) in transactions.iter().enumerate() {
                    for (doc, written) in transaction {
                        let ts = ts as i64 + 1;
                        if *written {
                            table.insert(*doc, ts);
                        } else if table.remove(doc).is_none() {
                            continue;
                        }
                        let name = format!("doc-{doc}");
                        let file = written.then(|| known(&name));
                        log.push(settlement(&name, ts, file));
                    }
                }
                let mut at = 0_usize;
                for (length, crash) in pieces.into_iter().chain([(usize::MAX, false)]) {
                    let piece = &log[at..log.len().min(at.saturating_add(length))];
                    let documents: Vec<_> = piece.iter().map(|s| (&*s.doc_id, s.ts)).collect();
                    let looks = lead.look(&documents, None).await.unwrap();
                    let due: Vec<_> = piece
                        .iter()
                        .zip(looks)
                        .filter(|(_, look)| *look != LedgerState::Settled)
                        .map(|(settlement, _)| settlement.clone())
                        .collect();
                    lead.settle(&due, 1, true).await.unwrap();
                    if crash {
                        // The checkpoint is that of an earlier moment; another worker goes on from
                        // there.
                        lead.release().await.unwrap();
                        lead = self::lead(&tail).await;
                        at /= 2;
                        while at > 0 && log[at - 1].ts == log[at].ts {
                            at -= 1;
                        }
                    } else {
                        at += piece.len();
                    }
                }
                let mut times: HashMap<(String, i64), u32> = HashMap::new();
                for change in told(&valkey, &mut subscription).await {
                    *times.entry(change).or_default() += 1;
                }
                for change in &log {
                    let key = (change.doc_id.to_string(), change.ts - T);
                    prop_assert_eq!(times.remove(&key), Some(1), "{:?}", key);
                }
                prop_assert!(times.is_empty(), "{:?}", times);
                for doc in 0..12_u8 {
                    let name = format!("doc-{doc}");
                    let look = lead.look(&[(&name, T + 1000)], None).await.unwrap();
                    let is_known = matches!(look[..], [LedgerState::Known(_)]);
                    prop_assert_eq!(is_known, table.contains_key(&doc));
                }
                Ok(())
            })
        })
        .unwrap();
}

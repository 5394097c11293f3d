//! Later revisions and removals, while staging and of what is live.

use bytes::Bytes;
use sluice_store::StoreError;
use sluice_store::cache::{Change, Entry, Overflow, Pushed, Source};

use super::support::{
    AS_OF, Store, entry, entry_of_doc, entry_of_size, put, put_at, remove, remove_at,
};

#[tokio::test]
async fn a_staged_entry_is_replaced_and_removed_by_its_doc_id() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging
        .push(&[
            entry_of_doc("a", "doc-a", "1"),
            entry_of_doc("b", "doc-b", "1"),
            entry("c", "1"),
            entry("d", "1"),
        ])
        .await
        .unwrap();
    let changes = [
        put(entry_of_doc("a", "doc-a", "22")),
        remove("doc-b"),
        put(entry("c", "22")),
        remove("d"),
        remove("never-staged"),
    ];
    staging.amend(&changes, false).await.unwrap();
    // A page read before the removal must not bring the entry back.
    staging
        .push(&[entry_of_doc("b", "doc-b", "1"), entry("d", "1")])
        .await
        .unwrap();
    let expected = Pushed {
        entries: 2,
        skipped: 0,
        bytes: 6,
    };
    assert_eq!(staging.totals(), expected);
    let committed = staging.commit("allOne", AS_OF).await.unwrap();
    assert_eq!((committed.entries, committed.bytes), (2, 6));
    assert_eq!(store.list_all("u", 10).await, ["22", "22"]);
    assert!(store.look("u", "b").await.is_none());
}

#[tokio::test]
async fn a_file_that_is_not_staged_is_added_only_when_asked() {
    let store = Store::start();
    for (add_new, entries) in [(false, 0), (true, 1)] {
        let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
        staging
            .amend(&[put(entry_of_doc("a", "doc-a", "1"))], add_new)
            .await
            .unwrap();
        assert_eq!(staging.totals().entries, entries);
        staging.abandon().await.unwrap();
    }
}

#[tokio::test]
async fn a_staged_entry_whose_id_changes_moves_to_the_new_id() {
    let store = Store::start();
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[entry("doc", "1")]).await.unwrap();
    staging
        .amend(&[put(entry_of_doc("a", "doc", "2"))], false)
        .await
        .unwrap();
    staging
        .amend(&[put(entry_of_doc("b", "doc", "3"))], false)
        .await
        .unwrap();
    staging.commit("allOne", AS_OF).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, ["3"]);
    assert!(store.look("u", "b").await.is_some());
    store.cache.amend("u", &[remove("doc")]).await.unwrap();
    assert!(store.look("u", "b").await.is_none());
}

#[tokio::test]
async fn a_staged_entry_that_grows_past_the_limit_is_refused_or_skipped() {
    let store = Store::with_limit(1_000);
    let grown = [put(entry_of_size("b", 501))];
    let staged = [entry_of_size("a", 500), entry_of_size("b", 500)];

    let mut staging = store.cache.stage("u", Overflow::Refuse).await.unwrap();
    staging.push(&staged).await.unwrap();
    let refused = staging.amend(&grown, false).await;
    assert!(matches!(
        refused,
        Err(StoreError::LimitExceeded { limit: 1_000 })
    ));

    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&staged).await.unwrap();
    staging.amend(&grown, false).await.unwrap();
    staging.amend(&grown, false).await.unwrap();
    let expected = Pushed {
        entries: 1,
        skipped: 1,
        bytes: 500,
    };
    assert_eq!(staging.totals(), expected);
    // What was skipped and is removed then is no longer a file that was left out.
    staging.amend(&[remove("b")], false).await.unwrap();
    assert_eq!(staging.totals().skipped, 0);
}

#[tokio::test]
async fn a_skipped_file_that_changes_stays_counted_unless_it_may_and_does_fit() {
    let store = Store::with_limit(1_000);
    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging
        .push(&[entry_of_size("a", 900), entry_of_size("b", 101)])
        .await
        .unwrap();
    let smaller = [put(entry_of_size("b", 100))];
    staging.amend(&smaller, false).await.unwrap();
    assert_eq!((staging.totals().entries, staging.totals().skipped), (1, 1));
    staging.amend(&smaller, true).await.unwrap();
    assert_eq!((staging.totals().entries, staging.totals().skipped), (2, 0));
}

#[tokio::test]
async fn live_entries_are_refreshed_or_removed_and_single_ones_dropped() {
    let store = Store::start();
    let bulk = [
        entry_of_doc("a", "doc-a", "1"),
        entry_of_doc("b", "doc-b", "1"),
    ];
    store.sync("u", "mostOne", &bulk).await;
    for single in ["s", "t", "kept"] {
        let doc = format!("doc-{single}");
        assert!(store.fill("u", &entry_of_doc(single, &doc, "1")).await);
    }
    let changes = [
        put(entry_of_doc("a", "doc-a", "2")),
        remove("doc-b"),
        put(entry_of_doc("s", "doc-s", "2")),
        remove("doc-t"),
        put(entry("uncached", "2")),
    ];
    store.cache.amend("u", &changes).await.unwrap();
    assert_eq!(
        store.look("u", "a").await,
        Some((Source::Bulk, Bytes::from("2")))
    );
    for gone in ["b", "s", "t", "uncached"] {
        assert!(store.look("u", gone).await.is_none(), "{gone}");
    }
    assert!(store.look("u", "kept").await.is_some());
    let same = [put(entry_of_doc("kept", "doc-kept", "1"))];
    store.cache.amend("u", &same).await.unwrap();
    assert!(
        store.look("u", "kept").await.is_some(),
        "it is that already"
    );
    assert_eq!(store.cache.list("u", None, 10).await.unwrap().total, 2);
    assert_eq!(store.cache.invalidate("u", false).await.unwrap(), 2);
}

#[tokio::test]
async fn of_two_changes_of_a_document_the_later_holds_however_they_arrive() {
    let store = Store::start();
    let put = |ts: i64, id: &str, json: &str| put_at(AS_OF + ts, entry_of_doc(id, "d", json));
    let remove = |ts: i64| remove_at(AS_OF + ts, "d", None);
    let histories: [(Vec<Change>, Option<&str>); 4] = [
        (vec![put(1, "a", "1"), put(2, "a", "2")], Some("2")),
        (vec![put(1, "a", "1"), remove(2)], None),
        (
            vec![put(1, "a", "1"), remove(2), put(3, "a", "3")],
            Some("3"),
        ),
        // A change that the set held when it was committed.
        (vec![put(-1, "a", "0")], None),
    ];
    for (history, expected) in histories {
        store.sync("u", "allOne", &[entry("other", "x")]).await;
        // In order, then all of it again from any point on: as a worker that stood still for long
        // would.
        store.cache.amend("u", &history).await.unwrap();
        for from in 0..history.len() {
            store.cache.amend("u", &history[from..]).await.unwrap();
            for change in &history[..from] {
                let stale = std::slice::from_ref(change);
                store.cache.amend("u", stale).await.unwrap();
            }
            let found = store.look("u", "a").await.map(|(_, json)| json);
            assert_eq!(found.as_deref(), expected.map(str::as_bytes), "{history:?}");
        }
        store.assert_every_key_expires();
    }
}

#[tokio::test]
async fn removing_a_document_leaves_another_one_that_took_over_its_id() {
    let store = Store::start();
    let of = |doc: &str, n: u32| {
        let json = format!(r#"{{"_id":"{doc}","n":{n},"id":"a"}}"#);
        entry_of_doc("a", doc, &json)
    };
    // In one transaction, changes come in the order of `_id`s.
    let ts = AS_OF + 5;
    let changes = [
        put_at(ts, of("doc-new", 2)),
        remove_at(ts, "doc-old", Some("a")),
    ];
    store.sync("u", "allOne", &[of("doc-old", 1)]).await;
    store.cache.amend("u", &changes).await.unwrap();
    let (_, json) = store.look("u", "a").await.unwrap();
    assert!(json.ends_with(br#""n":2,"id":"a"}"#));

    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(&[of("doc-old", 1)]).await.unwrap();
    staging.amend(&changes, true).await.unwrap();
    assert_eq!(staging.totals().entries, 1);
    staging.abandon().await.unwrap();

    let removal = [remove_at(ts + 1, "doc-new", Some("a"))];
    store.cache.amend("u", &removal).await.unwrap();
    assert!(store.look("u", "a").await.is_none());
}

/// A document with the id `a`, as it is cached. A greater `created` is newer.
fn of_a(doc: &str, created: f64, version: u32) -> Entry {
    // Another document is named inside, before its own `_id`.
    let json = format!(
        r#"{{"Of":{{"_id":"doc-x"}},"_creationTime":{created},"_id":"{doc}","id":"a","version":{version}}}"#
    );
    entry_of_doc("a", doc, &json)
}

#[tokio::test]
async fn of_two_documents_with_one_id_the_newer_is_shown_in_whichever_order_they_come() {
    let store = Store::start();
    let (old, new) = (of_a("doc-old", 1.5, 1), of_a("doc-new", 2.5, 2));
    for staged in [[&old, &new], [&new, &old]] {
        for whole in [false, true] {
            let store = Store::start();
            let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
            staging.push(&[entry("other", "x")]).await.unwrap();
            staging
                .push(std::slice::from_ref(if whole { &new } else { staged[0] }))
                .await
                .unwrap();
            let changes = staged.map(|entry| put_at(AS_OF + 1, entry.clone()));
            staging.amend(&changes, true).await.unwrap();
            assert_eq!(staging.totals().entries, 2);
            staging.commit("allOne", AS_OF).await.unwrap();
            assert_eq!(store.look("u", "a").await.unwrap().1, new.json);
            store.cache.amend("u", &changes).await.unwrap();
            assert_eq!(store.look("u", "a").await.unwrap().1, new.json);
            assert_eq!(store.list_all("u", 10).await.len(), 2);
        }
    }

    store.sync("u", "allOne", &[new.clone(), old]).await;
    let touched = of_a("doc-old", 1.5, 3);
    let changes = [put_at(AS_OF + 3, touched.clone())];
    assert!(store.cache.amend("u", &changes).await.unwrap().is_empty());
    assert_eq!(store.look("u", "a").await.unwrap().1, new.json);
    let removal = [remove_at(AS_OF + 4, "doc-new", Some("a"))];
    // Told again to whoever asks again: the first may not have come to look who has the id now.
    for _ in 0..2 {
        assert_eq!(store.cache.amend("u", &removal).await.unwrap(), ["a"]);
    }
    assert!(store.look("u", "a").await.is_none());
    let successor = [put_at(AS_OF + 5, touched.clone())];
    for _ in 0..2 {
        store.cache.succeed("u", &successor).await.unwrap();
        assert_eq!(store.list_all("u", 10).await, [&touched.json]);
    }
    // A worker that stood still since the time before.
    store
        .cache
        .amend("u", &[put_at(AS_OF + 2, new)])
        .await
        .unwrap();
    assert_eq!(store.list_all("u", 10).await, [&touched.json]);
    let removal = [remove_at(AS_OF + 6, "doc-old", Some("a"))];
    store.cache.amend("u", &removal).await.unwrap();
    assert!(store.list_all("u", 10).await.is_empty());
    store.cache.succeed("u", &successor).await.unwrap();
    assert!(store.list_all("u", 10).await.is_empty(), "it went since");
    store.assert_every_key_expires();
}

#[tokio::test]
async fn removing_the_older_of_two_documents_with_one_id_leaves_the_newer() {
    let store = Store::start();
    let (old, new) = (of_a("doc-old", 1.5, 1), of_a("doc-new", 2.5, 2));
    store.sync("u", "allOne", &[new.clone(), old]).await;
    let removal = [remove_at(AS_OF + 1, "doc-old", Some("a"))];
    assert!(store.cache.amend("u", &removal).await.unwrap().is_empty());
    assert_eq!(store.list_all("u", 10).await, [&new.json]);
    // In its stead a third one, which is newer still, and goes again.
    let third = of_a("doc-third", 3.5, 3);
    let changes = [put_at(AS_OF + 2, third.clone())];
    store.cache.amend("u", &changes).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, [&third.json]);
    let removal = [remove_at(AS_OF + 3, "doc-new", Some("a"))];
    assert!(store.cache.amend("u", &removal).await.unwrap().is_empty());
    assert_eq!(store.list_all("u", 10).await, [&third.json]);
}

#[tokio::test]
async fn in_a_set_that_is_not_complete_a_successor_takes_the_place_and_nothing_else_does() {
    let store = Store::start();
    let (old, new) = (of_a("doc-old", 1.5, 1), of_a("doc-new", 2.5, 2));
    store.sync("u", "mostOne", std::slice::from_ref(&new)).await;
    let removal = [remove_at(AS_OF + 1, "doc-new", Some("a"))];
    assert_eq!(store.cache.amend("u", &removal).await.unwrap(), ["a"]);
    let changes = [put_at(AS_OF + 2, old.clone())];
    store.cache.amend("u", &changes).await.unwrap();
    assert!(store.look("u", "a").await.is_none());
    store.cache.succeed("u", &changes).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, [&old.json]);

    let mut staging = store.cache.stage("u", Overflow::Skip).await.unwrap();
    staging.push(std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(staging.amend(&removal, false).await.unwrap(), ["a"]);
    staging.amend(&changes, true).await.unwrap();
    staging.commit("mostOne", AS_OF + 2).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, [&old.json]);
}

#[tokio::test]
async fn a_document_that_leaves_an_id_tells_so_also_where_an_older_one_comes_to_it_at_once() {
    let store = Store::start();
    let [first, second, third] = [1.5, 2.5, 3.5].map(|created| {
        let doc = format!("doc-{created}");
        of_a(&doc, created, 1)
    });
    let all = [third.clone(), second.clone()];
    store.sync("u", "allOne", &all).await;
    let moved = entry_of_doc("b", &third.doc_id, r#"{"id":"b"}"#);
    let changes = [
        put_at(AS_OF + 1, moved),
        put_at(AS_OF + 1, first),
        // The former id, for fetches under way.
        remove_at(AS_OF, &third.doc_id, Some("a")),
    ];
    for _ in 0..2 {
        assert_eq!(store.cache.amend("u", &changes).await.unwrap(), ["a"]);
    }
    let successor = [put_at(AS_OF + 2, second.clone())];
    store.cache.succeed("u", &successor).await.unwrap();
    assert_eq!(store.look("u", "a").await.unwrap().1, second.json);
    assert_eq!(store.list_all("u", 10).await.len(), 2);
}

#[tokio::test]
async fn what_prefetch_brings_of_another_document_does_not_stay_behind_when_that_goes() {
    let store = Store::start();
    let (old, new) = (of_a("doc-old", 1.5, 1), of_a("doc-new", 2.5, 2));
    store.sync("u", "allOne", &[old]).await;
    // It is fetched before the change that made it is applied.
    let fetched = [new.clone()];
    let epoch = store.cache.epoch("u").await.unwrap();
    let prefetched = store.cache.prefetch("u", epoch, AS_OF + 5, &fetched);
    prefetched.await.unwrap();
    let changes = [put_at(AS_OF + 4, new.clone())];
    store.cache.amend("u", &changes).await.unwrap();
    assert_eq!(store.list_all("u", 10).await, [&new.json]);
    let removals = [
        remove_at(AS_OF + 6, "doc-new", Some("a")),
        remove_at(AS_OF + 6, "doc-old", Some("a")),
    ];
    store.cache.amend("u", &removals).await.unwrap();
    assert!(store.list_all("u", 10).await.is_empty());
}

#[tokio::test]
async fn many_users_are_amended_in_one_round_trip() {
    let store = Store::start();
    for user in ["u", "v"] {
        store.sync(user, "allOne", &[entry("a", "1")]).await;
    }
    let changes = [
        ("u", vec![put(entry("a", "2")), put(entry("b", "2"))]),
        ("nobody", vec![put(entry("a", "2"))]),
        ("v", vec![remove("a"), remove("never-cached")]),
    ];
    assert_eq!(store.cache.amend_all(&changes).await.unwrap().touched, 3);
    assert_eq!(store.list_all("u", 10).await, ["2", "2"]);
    assert!(store.list_all("v", 10).await.is_empty());
    assert!(!store.cache.has_any("nobody").await.unwrap());
    assert_eq!(store.cache.amend_all::<&str>(&[]).await.unwrap().touched, 0);
}

#[tokio::test]
async fn a_complete_set_gains_new_files_and_another_does_not() {
    let store = Store::start();
    for (kind, gains) in [("allOne", true), ("allTwo", true), ("mostOne", false)] {
        store.sync("u", kind, &[entry("a", "1")]).await;
        let new = [put(entry_of_doc("n", "doc-n", "2"))];
        store.cache.amend("u", &new).await.unwrap();
        store.cache.amend("u", &new).await.unwrap();
        let listed = store.list_all("u", 10).await.len();
        assert_eq!(listed, if gains { 2 } else { 1 }, "{kind}");
    }
}

#[tokio::test]
async fn a_file_that_was_removed_and_comes_back_is_listed_once() {
    let store = Store::start();
    store
        .sync("u", "allOne", &[entry("a", "1"), entry("b", "1")])
        .await;
    store.cache.amend("u", &[remove("a")]).await.unwrap();
    store
        .cache
        .amend("u", &[put(entry("a", "2"))])
        .await
        .unwrap();
    assert_eq!(store.list_all("u", 10).await, ["2", "1"]);
}

#[tokio::test]
async fn a_set_with_skipped_files_gains_none() {
    let store = Store::with_limit(100);
    store
        .sync("u", "allTwo", &[entry("a", "1"), entry_of_size("big", 200)])
        .await;
    store
        .cache
        .amend("u", &[put(entry("n", "2"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_none());
}

#[tokio::test]
async fn the_live_set_never_grows_past_the_limit() {
    let store = Store::with_limit(1_000);
    store
        .sync(
            "u",
            "allOne",
            &[entry_of_size("a", 500), entry_of_size("b", 500)],
        )
        .await;
    store
        .cache
        .amend("u", &[put(entry_of_size("a", 501))])
        .await
        .unwrap();
    assert!(store.look("u", "a").await.is_none());
    assert_eq!(store.list_all("u", 10).await.len(), 1);
    // A file is missing from the set now: it is no longer complete, and what is new stays out.
    store
        .cache
        .amend("u", &[put(entry("n", "1"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_none());
}

#[tokio::test]
async fn a_new_file_in_an_empty_complete_set_expires_with_it() {
    let store = Store::start();
    store.sync("u", "allOne", &[]).await;
    store
        .cache
        .amend("u", &[put(entry("n", "1"))])
        .await
        .unwrap();
    assert!(store.look("u", "n").await.is_some());
    store.assert_every_key_expires();
}

#[tokio::test]
async fn a_change_seen_during_a_fetch_keeps_the_fetched_revision_out() {
    let store = Store::start();
    let fetched = entry_of_doc("a", "doc-a", "1");
    for change in [
        put(entry_of_doc("a", "doc-a", "2")),
        remove_at(AS_OF, "doc-a", Some("a")),
    ] {
        let lookup = store.cache.read("u", "a").await.unwrap();
        let lease = lookup.fetch_lease.unwrap();
        store.cache.amend("u", &[change]).await.unwrap();
        assert!(!store.cache.fill("u", lease, &fetched).await.unwrap());
        assert!(!store.cache.has_any("u").await.unwrap());
    }
    // The next fetch is free to begin, and to be cached.
    assert!(store.fill("u", &fetched).await);
}

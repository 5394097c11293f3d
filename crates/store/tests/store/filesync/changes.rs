//! The log of a share, snapshots, and changes that are sent again.

use serde_json::json;
use sluice_store::filesync::{CursorFault, FilesyncError, Strategy};

use super::support::{Store, caller, delete, file, folder, place, update};

#[tokio::test]
async fn a_change_is_in_the_tree_and_in_the_log() {
    let store = Store::start();
    let share = store.share().await;
    let version = store.version(&share, "f", "one");
    store.one(&share, "a", None, 0, folder("d", "/Docs")).await;
    let item = store
        .one(&share, "a", None, 0, file("f", "/docs/plan.txt", &version))
        .await;
    assert_eq!(item["outcome"], "applied");
    assert_eq!(item["path"], "/Docs/plan.txt");
    assert_eq!(item["position"], 3);
    assert_eq!(store.paths(&share).await, ["/Docs", "/Docs/plan.txt"]);
    let log = store.log(&share).await;
    let last = &log[2];
    assert_eq!(last["change_type"], "created");
    assert_eq!(last["new_path"], "/Docs/plan.txt");
    assert_eq!(last["parent_id"], "d");
    assert_eq!(last["version_id"], version.as_str());
    assert_eq!(
        last["metadata"],
        json!({"size": 3, "sha256": "hash-of-one"})
    );
    assert_eq!(last["changed_by"], "usr_1");
    assert_eq!(last["device_id"], "a");
    assert_eq!(last["share_id"], share.as_str());
    assert_eq!(last["tenant_id"], "acme");
}

#[tokio::test]
async fn a_change_that_is_sent_again_gets_the_first_answer() {
    let store = Store::start();
    let share = store.share().await;
    let mut change = folder("d", "/d");
    change["id"] = json!("c1");
    let first = store.one(&share, "a", None, 0, change.clone()).await;
    store
        .one(
            &share,
            "b",
            None,
            9999.min(store.head(&share).await),
            delete("folder", "d"),
        )
        .await;
    let again = store.one(&share, "a", None, 0, change.clone()).await;
    assert_eq!(first, again);
    assert_eq!(store.head(&share).await, 3);
    // Another device's equal id is another change.
    let other = store.one(&share, "b", None, 3, change.clone()).await;
    assert_ne!(other["outcome"], "rejected", "{other}");

    change["new_path"] = json!("/other");
    let reused = store.send(&share, "a", None, 0, vec![change]).await;
    assert!(
        matches!(reused, Err(FilesyncError::Interrupted(_))),
        "{reused:?}"
    );
}

#[tokio::test]
async fn a_batch_makes_a_folder_and_what_is_in_it_and_tells_the_cursor_to_adopt() {
    let store = Store::start();
    let share = store.share().await;
    let head = store.head(&share).await;
    let changes = vec![
        folder("x", "/x"),
        folder("y", "/x/y"),
        folder("z", "/x/y/z"),
    ];
    let answer = store.send(&share, "a", None, head, changes).await.unwrap();
    assert_eq!(answer.cursor, head + 3);
    store.one(&share, "b", None, head, folder("o", "/o")).await;
    let answer = store
        .send(&share, "a", None, head + 3, vec![folder("p", "/p")])
        .await;
    assert_eq!(answer.unwrap().cursor, head + 3);
}

#[tokio::test]
async fn pages_are_dense_and_a_cursor_of_another_history_is_refused() {
    let store = Store::start();
    let share = store.share().await;
    store.folders(&share, 5).await;
    let owner = caller("usr_1");
    let page = store
        .files
        .changes(&owner, &share, Some(2), None, 2)
        .await
        .unwrap();
    assert_eq!(
        (page.cursor, page.has_more, page.changes.len()),
        (4, true, 2)
    );
    let id = page.last_change_id.unwrap();
    let next = store
        .files
        .changes(&owner, &share, Some(4), Some(&id), 10)
        .await
        .unwrap();
    assert_eq!(
        (next.cursor, next.has_more, next.changes.len()),
        (6, false, 2)
    );
    let empty = store
        .files
        .changes(&owner, &share, Some(6), None, 10)
        .await
        .unwrap();
    assert_eq!((empty.cursor, empty.has_more), (6, false));
    assert_eq!(empty.last_change_id, next.last_change_id);
    for (after, since) in [(7, None), (4, Some("chg_other"))] {
        let refused = store
            .files
            .changes(&owner, &share, Some(after), since, 10)
            .await;
        let reason = CursorFault::HistoryChanged;
        assert!(
            matches!(refused, Err(FilesyncError::CursorInvalid(fault)) if fault == reason),
            "{after}"
        );
    }
}

#[tokio::test]
async fn what_is_in_a_deleted_folder_is_gone_and_names_are_free_again() {
    let store = Store::start();
    let share = store.share().await;
    let changes = vec![
        folder("x", "/x"),
        folder("y", "/x/y"),
        folder("z", "/x/y/z"),
    ];
    store.send(&share, "a", None, 0, changes).await.unwrap();
    let item = store.one(&share, "a", None, 4, delete("folder", "x")).await;
    assert_eq!(item["position"], 5);
    assert!(store.paths(&share).await.is_empty());
    store.one(&share, "a", None, 5, folder("x2", "/x")).await;
    assert_eq!(store.paths(&share).await, ["/x"]);
}

#[tokio::test]
async fn a_folder_of_any_size_is_moved_by_one_entry() {
    let store = Store::start();
    let share = store.share().await;
    let changes = vec![folder("x", "/x"), folder("y", "/x/y"), folder("t", "/t")];
    store.send(&share, "a", None, 0, changes).await.unwrap();
    let item = store
        .one(
            &share,
            "a",
            None,
            4,
            place("folder", "x", "/x", "/t/renamed"),
        )
        .await;
    assert_eq!(item["position"], 5);
    assert_eq!(
        store.paths(&share).await,
        ["/t", "/t/renamed", "/t/renamed/y"]
    );
    let log = store.log(&share).await;
    assert_eq!(log[4]["change_type"], "moved");
    assert_eq!(log[4]["old_path"], "/x");
    assert_eq!(log[4]["new_path"], "/t/renamed");
    let case = store
        .one(
            &share,
            "a",
            None,
            5,
            place("folder", "y", "/t/renamed/y", "/t/renamed/Y"),
        )
        .await;
    assert_eq!(case["outcome"], "applied");
    assert_eq!(store.log(&share).await[5]["change_type"], "renamed");
}

#[tokio::test]
async fn metadata_is_kept_key_by_key() {
    let store = Store::start();
    let share = store.share().await;
    let mut make = folder("d", "/d");
    make["metadata"] = json!({"colour": "red", "tags": [], "mime_type": "x/y"});
    store.one(&share, "a", None, 0, make).await;
    let meta = json!({"resource_type": "folder", "change_type": "updated", "resource_id": "d", "metadata": {"tags": ["a/b"], "size": 7}});
    store.one(&share, "b", None, 0, meta).await;
    let tree = store.tree(&share).await;
    assert_eq!(
        tree[0]["metadata"],
        json!({"colour": "red", "tags": ["a/b"], "mime_type": "x/y"})
    );
}

#[tokio::test]
async fn an_old_version_is_restored_by_naming_it() {
    let store = Store::start();
    let share = store.share().await;
    let one = store.version(&share, "f", "one");
    let two = store.version(&share, "f", "two");
    store.one(&share, "a", None, 0, file("f", "/f", &one)).await;
    store
        .one(&share, "a", None, 2, update("f", &two, &one))
        .await;
    let back = store
        .one(&share, "a", None, 3, update("f", &one, &two))
        .await;
    assert_eq!(back["outcome"], "applied");
    assert_eq!(store.tree(&share).await[0]["version_id"], one.as_str());
}

#[tokio::test]
async fn what_builds_on_a_refused_change_is_skipped() {
    let store = Store::start();
    let share = store.share().await;
    let changes = vec![
        folder("bad", "/a:b"),
        folder("in", "/a:b/c"),
        json!({"resource_type": "folder", "change_type": "created", "resource_id": "by", "parent_id": "bad", "new_path": "/x"}),
        folder("good", "/good"),
    ];
    let answer = store
        .send(&share, "a", Some(Strategy::KeepBoth), 0, changes)
        .await
        .unwrap();
    let outcomes: Vec<serde_json::Value> = answer
        .conflicts
        .iter()
        .map(|it| serde_json::from_str(it.get()).unwrap())
        .collect();
    let outcomes: Vec<_> = outcomes
        .iter()
        .map(|it| it["outcome"].as_str().unwrap())
        .collect();
    assert_eq!(outcomes, ["rejected", "skip", "skip"]);
    assert_eq!(answer.applied.len(), 1);
}

//! What users of comparable systems lost files by.

use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use sluice_store::filesync::{
    Batch, CursorFault, FilesyncError, Grantee, Interruption, Level, NewShare, Retention,
    ShareChange, ShareSettings, Strategy,
};

use super::support::{Store, caller, change, delete, file, folder, place, update};

fn moved(id: &str, parent: &str) -> Value {
    json!({"resource_type": "folder", "change_type": "moved", "resource_id": id, "parent_id": parent})
}

#[tokio::test]
async fn a_reader_sees_every_position_once_while_many_write() {
    let store = Rc::new(Store::start());
    let share = store.share().await;
    let writers = (0..8).map(|writer| {
        let (store, share) = (store.clone(), share.clone());
        async move {
            for number in 0..125 {
                let id = format!("w{writer}n{number}");
                store
                    .one(&share, "a", None, 0, folder(&id, &format!("/{id}")))
                    .await;
            }
        }
    });
    let reader = async {
        let (mut cursor, mut seen) = (0, Vec::new());
        while seen.len() < 1_001 {
            let owner = caller("usr_1");
            let page = store
                .files
                .changes(&owner, &share, Some(cursor), None, 100)
                .await
                .unwrap();
            assert!(page.changes.is_empty() || page.cursor > cursor);
            cursor = page.cursor;
            for change in &page.changes {
                let change: Value = serde_json::from_str(change.get()).unwrap();
                seen.push(change["position"].as_u64().unwrap());
            }
        }
        assert!(seen.iter().copied().eq(1..=1_001));
    };
    tokio::join!(futures_util::future::join_all(writers), reader);
}

#[tokio::test]
async fn twenty_folders_that_are_deleted_are_twenty_entries_of_one_page_each() {
    let store = Store::start();
    let share = store.share().await;
    store.folders(&share, 20).await;
    let head = store.head(&share).await;
    for number in 0..20 {
        store
            .one(
                &share,
                "b",
                None,
                head,
                delete("folder", &format!("d{number}")),
            )
            .await;
    }
    let owner = caller("usr_1");
    let (mut cursor, mut gone) = (head, Vec::new());
    loop {
        let page = store
            .files
            .changes(&owner, &share, Some(cursor), None, 1)
            .await
            .unwrap();
        let Some(entry) = page.changes.first() else {
            break;
        };
        let entry: Value = serde_json::from_str(entry.get()).unwrap();
        assert_eq!(page.cursor, cursor + 1);
        assert_eq!(page.has_more, page.cursor < head + 20);
        cursor = page.cursor;
        gone.push(entry["resource_id"].as_str().unwrap().to_owned());
    }
    gone.sort();
    gone.dedup();
    assert_eq!(gone.len(), 20);
}

#[tokio::test]
async fn a_busy_share_is_not_seen_in_the_pages_of_another() {
    let store = Store::start();
    let (quiet, busy) = (store.share().await, store.share().await);
    store.folders(&busy, 10).await;
    let owner = caller("usr_1");
    let page = store
        .files
        .changes(&owner, &quiet, Some(1), None, 10)
        .await
        .unwrap();
    assert_eq!(
        (page.cursor, page.has_more, page.changes.len()),
        (1, false, 0)
    );
    let feed = store.files.feed(&owner, Some(0), None, 5).await.unwrap();
    assert_eq!((feed.cursor, feed.has_more), (5, true));
    let rest = store.files.feed(&owner, Some(5), None, 100).await.unwrap();
    assert_eq!(
        (rest.cursor, rest.has_more, rest.changes.len()),
        (12, false, 7)
    );
}

#[tokio::test]
async fn a_server_that_lost_its_last_second_is_noticed_and_nothing_is_taken_for_it() {
    let store = Store::start();
    let share = store.share().await;
    store
        .one(&share, "a", None, 0, folder("kept", "/kept"))
        .await;
    let lost = store
        .one(&share, "a", None, 0, folder("lost", "/lost"))
        .await;
    let owner = caller("usr_1");
    let before = store
        .files
        .changes(&owner, &share, Some(2), None, 10)
        .await
        .unwrap();
    let id = before.last_change_id.unwrap();
    // As it is after a restart without the last write.
    let key = format!("sf1:{{acme}}:share:{share}");
    let mut connection = store.server.connection();
    let position = lost["position"].as_u64().unwrap();
    let () = redis::pipe()
        .cmd("HSET")
        .arg(&key)
        .arg(("head", position - 1))
        .cmd("XTRIM")
        .arg(format!("{key}:log"))
        .arg(("MAXLEN", 0))
        .cmd("DEL")
        .arg(format!("{key}:log"))
        .cmd("HSET")
        .arg(&key)
        .arg(("floor", position))
        .arg(("floor_id", "chg_kept"))
        .query(&mut connection)
        .unwrap();
    let ahead = store
        .files
        .changes(&owner, &share, Some(position), Some(&id), 10)
        .await;
    assert!(matches!(
        ahead,
        Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged))
    ));
    let base = store
        .send(&share, "a", None, position, vec![folder("n", "/n")])
        .await;
    assert!(matches!(
        base,
        Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged))
    ));
    // Another entry takes the position.
    store
        .one(&share, "b", None, 0, folder("other", "/other"))
        .await;
    let other = store
        .files
        .changes(&owner, &share, Some(position), Some(&id), 10)
        .await;
    assert!(matches!(
        other,
        Err(FilesyncError::CursorInvalid(CursorFault::HistoryChanged))
    ));
}

#[tokio::test]
async fn a_file_in_a_folder_that_was_just_deleted_comes_at_consecutive_positions_with_its_chain() {
    let store = Store::start();
    let share = store.share().await;
    let made = vec![folder("x", "/x"), folder("y", "/x/y")];
    store.send(&share, "a", None, 0, made).await.unwrap();
    store.one(&share, "a", None, 3, delete("folder", "x")).await;
    let version = store.version(&share, "f", "one");
    let item = store
        .one(
            &share,
            "b",
            Some(Strategy::KeepBoth),
            3,
            file("f", "/x/y/f", &version),
        )
        .await;
    assert_eq!(item["outcome"], "revived");
    let log = store.log(&share).await;
    let last: Vec<_> = log[4..]
        .iter()
        .map(|it| it["new_path"].as_str().unwrap())
        .collect();
    assert_eq!(last, ["/x", "/x/y", "/x/y/f"]);
    assert_eq!(log[4]["metadata"]["restored"], true);
    assert_eq!(log[4]["resource_id"], "x");
    store.assert_sound(&share).await;
}

#[tokio::test]
async fn a_folder_that_holds_more_than_its_device_knew_is_not_deleted() {
    let store = Store::start();
    let share = store.share().await;
    let made = vec![folder("x", "/x"), folder("y", "/x/y"), folder("z", "/x/z")];
    store.send(&share, "a", None, 0, made).await.unwrap();
    let mut partial = delete("folder", "x");
    partial["metadata"] = json!({"descendants": 1});
    let item = store
        .one(&share, "b", Some(Strategy::ServerWins), 4, partial.clone())
        .await;
    assert_eq!(
        (&item["outcome"], &item["reason"]),
        (&json!("dropped"), &json!("inner_changed"))
    );
    partial["metadata"] = json!({"descendants": 2});
    let item = store
        .one(&share, "b", Some(Strategy::ServerWins), 4, partial)
        .await;
    assert_eq!(item["outcome"], "applied");
}

#[tokio::test]
async fn a_folder_cannot_be_moved_into_itself_and_of_two_into_each_other_one_is() {
    let store = Store::start();
    let share = store.share().await;
    let made = vec![folder("a", "/a"), folder("b", "/b"), folder("c", "/a/c")];
    store.send(&share, "a", None, 0, made).await.unwrap();
    for parent in ["a", "c"] {
        let item = store.one(&share, "a", None, 4, moved("a", parent)).await;
        assert_eq!(
            (&item["outcome"], &item["code"]),
            (&json!("rejected"), &json!("SYNC_INVALID_MOVE"))
        );
    }
    let strategy = Some(Strategy::ServerWins);
    let (one, other) = tokio::join!(
        store.one(&share, "a", strategy, 4, moved("a", "b")),
        store.one(&share, "b", strategy, 4, moved("b", "a")),
    );
    let mut outcomes = [
        one["outcome"].as_str().unwrap(),
        other["outcome"].as_str().unwrap(),
    ];
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["applied", "dropped"]);
    store.assert_sound(&share).await;
}

#[tokio::test]
async fn who_may_only_read_changes_nothing_and_who_may_not_learns_nothing() {
    let store = Store::start();
    let share = store.share().await;
    let reader = Grantee::User("usr_2".into());
    store
        .files
        .grant(&caller("usr_1"), &share, &reader, Level::Read)
        .await
        .unwrap();
    store.device("usr_2", "a");
    store.device("usr_3", "a");
    let batch = |share: &str| Batch {
        device: "a".into(),
        share: share.into(),
        strategy: None,
        base_cursor: Some(0),
        sent_at: None,
        is_confirmed: false,
        changes: vec![change(folder("d", "/d"))],
    };
    let head = store.head(&share).await;
    let forbidden = store.files.apply(&caller("usr_2"), &batch(&share)).await;
    assert!(matches!(forbidden, Err(FilesyncError::Forbidden)));
    for id in [share.as_str(), "shr_none"] {
        let stranger = caller("usr_3");
        let refused = store.files.apply(&stranger, &batch(id)).await;
        assert!(
            matches!(refused, Err(FilesyncError::NotFound("share"))),
            "{id}"
        );
        let refused = store.files.changes(&stranger, id, Some(0), None, 1).await;
        assert!(
            matches!(refused, Err(FilesyncError::NotFound("share"))),
            "{id}"
        );
        let refused = store.files.snapshot(&stranger, id, None, 1, None).await;
        assert!(
            matches!(refused, Err(FilesyncError::NotFound("share"))),
            "{id}"
        );
    }
    assert_eq!(store.head(&share).await, head);
}

#[tokio::test]
async fn files_that_lose_again_and_again_do_not_stack_suffixes() {
    let store = Store::start();
    let share = store.share().await;
    let mut name = "/f.txt".to_owned();
    for number in 0..2 {
        let id = format!("f{number}");
        let version = store.version(&share, &id, &format!("content {number}"));
        store
            .one(&share, "a", None, 0, file(&id, &name, &version))
            .await;
        let loser = format!("l{number}");
        let version = store.version(&share, &loser, &format!("other {number}"));
        let item = store
            .one(
                &share,
                "b",
                Some(Strategy::KeepBoth),
                0,
                file(&loser, &name, &version),
            )
            .await;
        let path = item["path"].as_str().unwrap().to_owned();
        assert_eq!(path.matches("conflicted copy").count(), 1, "{path}");
        if number == 0 {
            name = path;
            store
                .one(
                    &share,
                    "a",
                    None,
                    99.min(store.head(&share).await),
                    delete("file", &loser),
                )
                .await;
        }
    }
    store.assert_sound(&share).await;
}

#[tokio::test]
async fn names_that_one_system_does_not_take_are_refused_where_they_have_to_be_portable() {
    let store = Store::start();
    let share = store.share().await;
    store.one(&share, "a", None, 0, folder("d", "/dir a")).await;
    for name in ["/dir a.", "/con", "/a:b"] {
        let item = store.one(&share, "a", None, 0, folder("e", name)).await;
        assert_eq!(item["code"], "SYNC_NAME", "{name}");
    }
    let free = NewShare {
        name: "free".into(),
        settings: ShareSettings {
            portable_names: false,
            ..ShareSettings::default()
        },
    };
    let free = store
        .files
        .create_share(&caller("usr_1"), &free)
        .await
        .unwrap()
        .id;
    let item = store.one(&free, "a", None, 0, folder("e", "/a:b")).await;
    assert_eq!(item["outcome"], "applied");
    let unicode = store
        .one(&free, "a", None, 0, folder("u", "/Cafe\u{301}"))
        .await;
    assert_eq!(unicode["path"], "/Caf\u{e9}");
    let same = store.one(&free, "b", None, 0, folder("v", "/CAFÉ")).await;
    assert_eq!(
        (&same["outcome"], &same["resource_id"]),
        (&json!("noop"), &json!("u"))
    );
}

#[tokio::test]
async fn a_version_of_another_file_cannot_be_applied() {
    let store = Store::start();
    let share = store.share().await;
    let one = store.version(&share, "f", "one");
    let other = store.version(&share, "g", "two");
    store.one(&share, "a", None, 0, file("f", "/f", &one)).await;
    let item = store
        .one(&share, "a", None, 2, update("f", &other, &one))
        .await;
    assert_eq!(
        (&item["outcome"], &item["code"]),
        (&json!("rejected"), &json!("NOT_FOUND"))
    );
}

#[tokio::test]
async fn more_than_the_guard_of_a_share_lets_pass_is_deleted_only_when_it_is_confirmed() {
    let store = Store::start();
    let share = store.share().await;
    let guarded = ShareChange {
        mass_delete_limit: Some(Some(50)),
        ..ShareChange::default()
    };
    store
        .files
        .change_share(&caller("usr_1"), &share, &guarded)
        .await
        .unwrap();
    store.folders(&share, 4).await;
    let head = store.head(&share).await;
    let all: Vec<_> = (0..4)
        .map(|number| delete("folder", &format!("d{number}")))
        .collect();
    let held = store.send(&share, "a", None, head, all.clone()).await;
    let Err(FilesyncError::Interrupted(held)) = held else {
        panic!("{held:?}")
    };
    assert!(matches!(held.reason, Interruption::MassDelete));
    assert_eq!((held.index, held.applied.len()), (2, 2));
    let batch = Batch {
        device: "a".into(),
        share: share.clone(),
        strategy: None,
        base_cursor: Some(head),
        sent_at: None,
        is_confirmed: true,
        changes: all.into_iter().map(change).collect(),
    };
    store.files.apply(&caller("usr_1"), &batch).await.unwrap();
    assert!(store.paths(&share).await.is_empty());
}

#[tokio::test]
async fn a_conflict_that_is_held_is_resolved_once_and_says_how() {
    let store = Store::start();
    let share = store.share().await;
    let one = store.version(&share, "f", "one");
    store.one(&share, "a", None, 0, file("f", "/f", &one)).await;
    let two = store.version(&share, "f", "two");
    store
        .one(&share, "a", None, 2, update("f", &two, &one))
        .await;
    let three = store.version(&share, "f", "three");
    let manual = Some(Strategy::Manual);
    let held = store
        .one(&share, "b", manual, 2, update("f", &three, &one))
        .await;
    assert_eq!(held["outcome"], "held");
    // Another change of the device goes into the same conflict.
    let four = store.version(&share, "f", "four");
    let again = store
        .one(&share, "b", manual, 2, update("f", &four, &one))
        .await;
    assert_eq!(again["conflict_id"], held["conflict_id"]);

    // What it was before stays a version of the file, and the versions that are compared stay with the
    // conflict, however old they are.
    let state = |version: &str| {
        let key = format!("share:{share}:version:{version}");
        store.field(&key, "state")
    };
    let trim = async || {
        tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        let at_once = Retention {
            age: std::time::Duration::ZERO,
            version_age: std::time::Duration::ZERO,
            ..Retention::default()
        };
        store.files.trim("acme", &share, &at_once).await.unwrap();
    };
    let states = || [&one, &two, &three, &four].map(|version| state(version));
    let kept = || Some("kept".to_owned());
    assert_eq!(states(), [kept(), kept(), kept(), Some("held".into())]);
    trim().await;
    assert_eq!(states(), [kept(), kept(), None, Some("held".into())]);

    let owner = caller("usr_1");
    let id = held["conflict_id"].as_str().unwrap();
    let resolved = store
        .files
        .resolve_conflict(&owner, &share, id, Strategy::KeepBoth)
        .await
        .unwrap();
    let resolved: Value = serde_json::from_str(resolved.json.get()).unwrap();
    assert_eq!(resolved["resolution"], "KEEP_BOTH");
    assert_eq!(resolved["result"]["outcome"], "copied");
    assert_eq!(resolved["result"]["version_id"], four.as_str());
    let other = store
        .files
        .resolve_conflict(&owner, &share, id, Strategy::ClientWins)
        .await;
    assert!(matches!(other, Err(FilesyncError::ResolvedOtherwise(by)) if by == "KEEP_BOTH"));
    assert_eq!(store.paths(&share).await.len(), 2);
    store.assert_sound(&share).await;

    // With its resolution all of that is as old as it is.
    trim().await;
    assert_eq!(states(), [None, kept(), None, kept()]);
    let gone = store
        .files
        .resolve_conflict(&owner, &share, id, Strategy::KeepBoth)
        .await;
    assert!(matches!(gone, Err(FilesyncError::NotFound(_))));
}

#[tokio::test]
async fn the_floor_of_a_trimmed_log_is_told_and_what_was_deleted_below_it_is_removed() {
    let store = Store::start();
    let share = store.share().await;
    let version = store.version(&share, "f", "one");
    let made = vec![
        folder("x", "/x"),
        folder("y", "/x/y"),
        file("f", "/x/y/f", &version),
    ];
    store.send(&share, "a", None, 0, made).await.unwrap();
    let mut removed = delete("folder", "x");
    removed["id"] = json!("c1");
    let first = store.one(&share, "a", None, 4, removed.clone()).await;
    store.folders(&share, 6).await;
    let keep = |entries| Retention {
        age: Duration::ZERO,
        entries,
        ..Retention::default()
    };
    store.files.trim("acme", &share, &keep(8)).await.unwrap();
    assert_eq!(store.one(&share, "a", None, 4, removed).await, first);

    store.files.trim("acme", &share, &keep(5)).await.unwrap();
    let owner = caller("usr_1");
    let expired = store.files.changes(&owner, &share, Some(3), None, 10).await;
    assert!(matches!(
        expired,
        Err(FilesyncError::CursorInvalid(CursorFault::Expired))
    ));
    let head = store.head(&share).await;
    let page = store
        .files
        .changes(&owner, &share, Some(head - 5), None, 10)
        .await
        .unwrap();
    assert_eq!((page.floor, page.changes.len()), (head - 4, 5));
    let mut connection = store.server.connection();
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query(&mut connection).unwrap();
    let of_deleted = |key: &&String| {
        [":x", ":y", ":f", ":x:0", ":y:0"]
            .iter()
            .any(|end| key.ends_with(end))
    };
    let left: Vec<_> = keys.iter().filter(of_deleted).collect();
    assert!(left.is_empty(), "{left:?}");
    let garbage: Vec<String> = redis::cmd("ZRANGE")
        .arg("sf1:{acme}:garbage")
        .arg((0, -1))
        .query(&mut connection)
        .unwrap();
    assert_eq!(garbage, [format!("{share} {version}")]);
}

#[tokio::test]
async fn a_folder_that_a_device_holds_in_part_is_renamed_by_one_entry() {
    let store = Store::start();
    let share = store.share().await;
    let made = vec![folder("x", "/x"), folder("y", "/x/y"), folder("z", "/x/z")];
    store.send(&share, "a", None, 0, made).await.unwrap();
    let item = store
        .one(&share, "b", None, 4, place("folder", "x", "/x", "/w"))
        .await;
    assert_eq!(item["position"], 5);
    assert_eq!(store.paths(&share).await, ["/w", "/w/y", "/w/z"]);
}

#[tokio::test]
async fn a_folder_that_was_deleted_does_not_come_back_in_itself() {
    let store = Store::start();
    let share = store.share().await;
    let made = vec![
        folder("x", "/x"),
        folder("y", "/x/y"),
        folder("z", "/x/y/z"),
    ];
    store.send(&share, "a", None, 0, made).await.unwrap();
    store.one(&share, "a", None, 4, delete("folder", "x")).await;
    for parent in ["x", "y", "z"] {
        let mut again = folder("x", "/again");
        again["parent_id"] = json!(parent);
        for change in [moved("x", parent), again] {
            let item = store
                .one(&share, "b", Some(Strategy::ClientWins), 4, change)
                .await;
            assert_eq!(item["code"], "SYNC_INVALID_MOVE", "{parent} {item}");
        }
    }
    assert!(store.paths(&share).await.is_empty());
    store.assert_sound(&share).await;
}

#[tokio::test]
async fn of_a_share_that_was_deleted_nothing_is_left_but_its_name() {
    let store = Store::start();
    let share = store.share().await;
    let version = store.version(&share, "f", "one");
    let made = vec![
        folder("x", "/x"),
        folder("y", "/x/y"),
        file("f", "/x/y/f", &version),
    ];
    store.send(&share, "a", None, 0, made).await.unwrap();
    let other = store.version(&share, "f", "two");
    let update = update("f", &other, "ver_none");
    store
        .one(&share, "b", Some(Strategy::ServerWins), 1, update)
        .await;
    store
        .files
        .delete_share(&caller("usr_1"), &share)
        .await
        .unwrap();
    assert_eq!(
        store.files.removed_shares("acme").await.unwrap(),
        std::slice::from_ref(&share)
    );
    store.files.remove_share("acme", &share).await.unwrap();
    assert!(store.files.removed_shares("acme").await.unwrap().is_empty());
    let prefix = format!("sf1:{{acme}}:share:{share}");
    let left = store.server.keys(&format!("{prefix}*"));
    assert_eq!(left, [prefix]);
    assert!(store.server.keys("sf1:{acme}:home:*").is_empty());
    let kept = Retention {
        entries: 0,
        ..Retention::default()
    };
    store.files.trim_feed("acme", &kept).await.unwrap();
    let feed = store
        .files
        .feed(&caller("usr_1"), None, None, 10)
        .await
        .unwrap();
    assert!(feed.floor > 1, "{feed:?}");
}

#[tokio::test]
async fn a_node_that_would_lie_too_deep_is_refused_also_when_its_parent_is_named_by_id() {
    let store = Store::start();
    let share = store.share().await;
    let path = |levels: usize| "/a".repeat(levels);
    let made = (1..=64).map(|level| folder(&format!("d{level}"), &path(level)));
    store
        .send(&share, "a", None, 0, made.collect())
        .await
        .unwrap();
    let mut deeper = folder("d65", "/b");
    deeper["parent_id"] = json!("d64");
    let item = store.one(&share, "a", None, 0, deeper).await;
    assert_eq!(item["code"], "SYNC_NAME");
    let rule = "the path must have 64 levels and 4096 bytes at most";
    assert_eq!(item["detail"], rule);
}

#[tokio::test]
async fn times_are_kept_as_they_are_given_and_an_older_version_comes_back_at_a_new_position() {
    let store = Store::start();
    let share = store.share().await;
    let times = [
        Some("1913-04-05T06:07:08Z"),
        Some("2099-01-01T00:00:00.000Z"),
        None,
    ];
    let mut versions = Vec::<String>::new();
    for (at, time) in times.into_iter().enumerate() {
        let version = store.version(&share, "f", &format!("content {at}"));
        let mut edit = match versions.last() {
            None => file("f", "/f", &version),
            Some(base) => update("f", &version, base),
        };
        if let Some(time) = time {
            edit["metadata"] = json!({"modified_at": time});
        }
        let item = store.one(&share, "a", None, at as u64 + 1, edit).await;
        assert_eq!(item["position"], at + 2, "{item}");
        versions.push(version);
    }
    let told: Vec<_> = store.log(&share).await;
    let told: Vec<_> = told[1..]
        .iter()
        .map(|it| it["metadata"]["modified_at"].as_str())
        .collect();
    // What a change does not say stays as it was.
    assert_eq!(told, [times[0], times[1], times[1]]);

    let restore = update("f", &versions[0], &versions[2]);
    let restored = store.one(&share, "a", None, 4, restore).await;
    assert_eq!(
        (&restored["outcome"], &restored["position"]),
        (&json!("applied"), &json!(5))
    );
    assert_eq!(
        store.tree(&share).await[0]["version_id"],
        versions[0].as_str()
    );
}

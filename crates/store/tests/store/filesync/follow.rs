//! What happens to documents of Convex, in the shares of their owners.

use serde_json::{Value, json};
use sluice_store::filesync::{Followed, Happened, Strategy, share_of};

use super::support::{Store, caller, file, place};

fn followed(doc_id: &str, ts: i64, json: Option<Value>) -> Followed {
    Followed {
        user: "usr_1".into(),
        doc_id: doc_id.into(),
        ts,
        what: json.map_or(Happened::Gone, |it| Happened::Put(it.to_string().into())),
    }
}

/// The changes of the user's share: type, path, and what `n` of the document is.
async fn told(store: &Store) -> Vec<(String, String, Value)> {
    let log = store.log(&share_of("usr_1")).await;
    let log = log.iter().filter(|it| it["resource_type"] == "file");
    log.map(|it| {
        assert_eq!(it["changed_by"], "convex");
        let text = |name: &str| it[name].as_str().map(str::to_owned);
        let path = text("new_path").or(text("old_path")).unwrap();
        (
            text("change_type").unwrap(),
            path,
            it["metadata"]["n"].clone(),
        )
    })
    .collect()
}

#[tokio::test]
async fn what_happens_to_a_document_is_entered_once_and_in_order() {
    let store = Store::start();
    let changes = [
        followed("doc1", 1, Some(json!({"n": 1, "old": true}))),
        followed("doc1", 2, Some(json!({"n": 2}))),
        followed("doc1", 3, None),
        followed("doc1", 4, Some(json!({"n": 4}))),
        followed("doc2", 5, Some(json!({"n": 5}))),
        followed("doc3", 6, None),
    ];
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 5);
    // All of it, and the end of it, once more: as after a crash.
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 0);
    assert_eq!(store.files.follow("acme", &changes[2..3]).await.unwrap(), 0);
    let entry = |kind: &str, path: &str, n: Value| (kind.to_owned(), path.to_owned(), n);
    assert_eq!(
        told(&store).await,
        [
            entry("created", "/doc1", json!(1)),
            entry("updated", "/doc1", json!(2)),
            entry("deleted", "/doc1", json!(2)),
            entry("created", "/doc1", json!(4)),
            entry("created", "/doc2", json!(5)),
        ]
    );
    let share = share_of("usr_1");
    store.assert_sound(&share).await;
    let tree = store.tree(&share).await;
    assert_eq!(tree[0]["metadata"], json!({"n": 4}));
    assert_eq!(
        store
            .files
            .share(&caller("usr_1"), &share)
            .await
            .unwrap()
            .owner,
        "usr_1"
    );
    assert!(store.files.share(&caller("usr_2"), &share).await.is_err());
}

/// A document that names a share and a path.
fn placed(doc_id: &str, ts: i64, share: &str, path: &str) -> Followed {
    followed(
        doc_id,
        ts,
        Some(json!({"n": ts, "share_id": share, "path": path})),
    )
}

/// The type and the paths of each change of a share behind its creation.
async fn moves(store: &Store, share: &str) -> Vec<[String; 3]> {
    let log = store.log(share).await;
    let text = |it: &Value, name: &str| it[name].as_str().unwrap_or_default().to_owned();
    let moves = log[1..].iter();
    moves
        .map(|it| ["change_type", "old_path", "new_path"].map(|name| text(it, name)))
        .collect()
}

#[tokio::test]
async fn a_document_that_names_a_share_and_a_path_is_there_with_the_folders_on_the_way() {
    let store = Store::start();
    let share = store.share().await;
    let changes = [
        placed("doc1", 1, &share, "/a/b/one.txt"),
        placed("doc2", 2, &share, "/a/two.txt"),
        placed("doc1", 3, &share, "/a/b/one.txt"),
        placed("doc1", 4, &share, "/a/uno.txt"),
        placed("doc2", 5, &share, "/a/dos.txt"),
        followed("doc2", 6, None),
    ];
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 6);
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 0);
    let expected = [
        ["created", "", "/a"],
        ["created", "", "/a/b"],
        ["created", "", "/a/b/one.txt"],
        ["created", "", "/a/two.txt"],
        ["updated", "", "/a/b/one.txt"],
        ["moved", "/a/b/one.txt", "/a/uno.txt"],
        ["renamed", "/a/two.txt", "/a/dos.txt"],
        ["deleted", "/a/dos.txt", ""],
    ];
    assert_eq!(moves(&store, &share).await, expected);
    store.assert_sound(&share).await;
    // What a document says goes with its entry, also when it moves.
    assert_eq!(store.log(&share).await[6]["metadata"]["n"], 4);
    let (owner, implicit) = (caller("usr_1"), share_of("usr_1"));
    let implicit = store.files.share(&owner, &implicit).await;
    assert!(implicit.is_err(), "nothing is in it");
}

#[tokio::test]
async fn a_document_goes_from_share_to_share_and_is_in_one() {
    let store = Store::start();
    let (one, two) = (store.share().await, store.share().await);
    let home = share_of("usr_1");
    let changes = [
        followed("doc1", 1, Some(json!({}))),
        placed("doc1", 2, &one, "/x"),
        placed("doc1", 3, &two, "/x"),
        placed("doc1", 4, &one, "/y"),
        followed("doc1", 5, Some(json!({}))),
        placed("doc1", 6, &two, "/z"),
    ];
    for _ in 0..2 {
        store.files.follow("acme", &changes).await.unwrap();
        assert_eq!(store.paths(&one).await, [""; 0]);
        assert_eq!(store.paths(&two).await, ["/z"]);
        assert_eq!(store.paths(&home).await, [""; 0]);
    }
    for share in [&one, &two, &home] {
        store.assert_sound(share).await;
    }
    // Its owner may change, and it is deleted, where it is.
    let left = Followed {
        what: Happened::Left,
        ..followed("doc1", 7, None)
    };
    store.files.follow("acme", &[left]).await.unwrap();
    assert_eq!(store.paths(&two).await, ["/z"]);
    store
        .files
        .follow("acme", &[followed("doc1", 8, None)])
        .await
        .unwrap();
    assert_eq!(store.paths(&two).await, [""; 0]);
}

#[tokio::test]
async fn a_document_that_names_no_share_that_is_there_or_no_path_is_where_it_is_without() {
    let store = Store::start();
    let share = store.share().await;
    let changes = [
        placed("doc1", 1, "shr_none", "/x/one.txt"),
        placed("doc2", 2, &share, "no path"),
        placed("doc3", 3, &share, "/a/../b"),
        placed("doc4", 4, "not an id", "/y"),
    ];
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 4);
    assert_eq!(store.paths(&share).await, ["/doc2", "/doc3"]);
    let home = share_of("usr_1");
    assert_eq!(store.paths(&home).await, ["/x", "/x/one.txt", "/y"]);
}

#[tokio::test]
async fn names_that_are_taken_are_passed_by_and_what_a_device_moved_stays_there() {
    let store = Store::start();
    let share = store.share().await;
    let manual = Some(Strategy::Manual);
    let version = store.version(&share, "own", "bytes");
    store
        .one(&share, "a", manual, 1, file("own", "/plan", &version))
        .await;
    let first = [
        placed("doc1", 1, &share, "/PLAN"),
        placed("doc2", 2, &share, "/plan/inner"),
    ];
    store.files.follow("acme", &first).await.unwrap();
    assert_eq!(
        store.paths(&share).await,
        ["/PLAN~", "/plan", "/plan~~", "/plan~~/inner"]
    );
    let head = store.head(&share).await;
    let own = place("file", "doc1", "/PLAN~", "/mine");
    store.one(&share, "a", manual, head, own).await;
    let later = [placed("doc1", 3, &share, "/PLAN")];
    store.files.follow("acme", &later).await.unwrap();
    assert!(store.paths(&share).await.contains(&"/mine".to_owned()));
    let elsewhere = [placed("doc1", 4, &share, "/other")];
    store.files.follow("acme", &elsewhere).await.unwrap();
    assert!(store.paths(&share).await.contains(&"/other".to_owned()));
    store.assert_sound(&share).await;
}

#[tokio::test]
async fn more_documents_than_one_call_takes_are_entered_in_order() {
    let store = Store::start();
    let changes: Vec<Followed> = (0..300)
        .map(|n| followed(&format!("doc{}", n % 150), n + 1, Some(json!({"n": n}))))
        .collect();
    assert_eq!(store.files.follow("acme", &changes).await.unwrap(), 300);
    let told = told(&store).await;
    let numbers: Vec<_> = told.iter().map(|it| it.2.as_i64().unwrap()).collect();
    assert_eq!(numbers, (0..300).collect::<Vec<_>>());
    store.assert_sound(&share_of("usr_1")).await;
}

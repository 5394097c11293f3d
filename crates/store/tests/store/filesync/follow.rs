//! What happens to documents of Convex, in the shares of their owners.

use serde_json::{Value, json};
use sluice_store::filesync::{Followed, share_of};

use super::support::{Store, caller};

fn followed(doc_id: &str, ts: i64, json: Option<Value>) -> Followed {
    Followed {
        user: "usr_1".into(),
        doc_id: doc_id.into(),
        ts,
        json: json.map(|it| it.to_string().into()),
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

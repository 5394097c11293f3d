//! One user's files, by functions and by export, from the embedded deployment over HTTP.
#![allow(clippy::unwrap_used, missing_docs)]

mod deployment;

use std::collections::{HashMap, HashSet};

use deployment::Deployment;
use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sluice_convex::{ChangePage, ConvexError, File, FileChange, Files};

/// Users whose names need care in JSON, and in comparing.
const USERS: [&str; 3] = ["usr_1", "a \"quoted\\\" é𝄞", "usr_10"];

/// `count` documents of each user; every fifth has no `id`, some have one that cannot be an id.
fn documents(count: usize) -> Vec<Value> {
    let mut documents = Vec::new();
    for n in 0..count {
        for (u, user) in USERS.iter().enumerate() {
            let mut document = json!({
                "n": n * USERS.len() + u, "user": user, "id": format!("file-{n}"),
                "filenameEnc": "A+/=\\\"{[".repeat(n % 600), "size": n as f64 + 0.5,
                "thumbs": { "mobile": "x", "id": "inner", "values": ["}", "\\"] },
            });
            match n % 10 {
                0 => drop(document.as_object_mut().unwrap().remove("id")),
                5 => document["id"] = json!(7),
                _ => {}
            }
            documents.push(document);
        }
    }
    documents
}

async fn newest_first(files: &dyn Files, user: &str) -> Vec<File> {
    let batches: Vec<Vec<File>> = files.newest_first(user).try_collect().await.unwrap();
    for batch in &batches {
        let bytes: usize = batch.iter().map(|file| file.json.len()).sum();
        assert!(!batch.is_empty() && batch.len() <= 512 && bytes < 3 << 20);
    }
    batches.concat()
}

/// With the JSON as a value: the ways differ in the order of members.
fn comparable(files: &[File]) -> Vec<(&str, &str, &str, f64, Value)> {
    let file = |file: &'_ File| serde_json::from_slice(&file.json).unwrap();
    files
        .iter()
        .map(|f| (&*f.id, &*f.doc_id, &*f.user, f.created, file(f)))
        .collect()
}

#[tokio::test]
async fn both_ways_give_the_same_files_newest_first() {
    let deployment = Deployment::start().await;
    let documents = documents(2000);
    deployment.put(&documents).await;
    let [functions, export] = deployment.ways();
    for user in USERS {
        let files = newest_first(&*functions, user).await;
        let exported = newest_first(&*export, user).await;
        let files = comparable(&files);
        assert_eq!(files, comparable(&exported));

        let order = |file: &(&str, &str, &str, f64, Value)| (file.3, file.1.to_owned());
        assert!(files.is_sorted_by(|a, b| order(a) > order(b)));
        let mut written: HashMap<u64, &Value> = (documents.iter())
            .filter(|document| document["user"] == user)
            .map(|document| (document["n"].as_u64().unwrap(), document))
            .collect();
        for (id, doc_id, owner, created, file) in files {
            let number = file["n"].as_f64().unwrap() as u64;
            let mut expected = written.remove(&number).unwrap().clone();
            assert_eq!(
                (id, owner),
                (expected["id"].as_str().unwrap_or(doc_id), user)
            );
            expected["n"] = json!(number as f64);
            expected["id"] = json!(id);
            expected["_id"] = json!(doc_id);
            expected["_creationTime"] = json!(created);
            assert_eq!(file, expected);
        }
        assert!(written.is_empty());
    }
    assert_eq!(newest_first(&*functions, "nobody").await, []);
    assert_eq!(newest_first(&*export, "nobody").await, []);
}

#[tokio::test]
async fn files_are_got_by_id_in_the_order_asked_for() {
    let deployment = Deployment::start().await;
    deployment.put(&documents(300)).await;
    let [functions, export] = deployment.ways();
    let [user, other, _] = USERS;
    let mine = newest_first(&*functions, user).await;
    let theirs = newest_first(&*functions, other).await;
    // Twice over: all of mine backwards, some of another's by `_id`, and some of nobody's.
    let mut ids: Vec<String> = mine.iter().rev().map(|file| file.id.to_string()).collect();
    ids.insert(3, "nothing".into());
    ids.extend(theirs.iter().take(5).map(|file| file.doc_id.to_string()));
    let expected: Vec<_> = mine.into_iter().rev().collect();
    for files in [&functions, &export] {
        let got = files.get_many(user, &ids).await.unwrap();
        assert_eq!(comparable(&got), comparable(&expected));
        assert_eq!(files.get_many(user, &[]).await.unwrap(), []);
        assert_eq!(files.get_many("nobody", &ids[..1]).await.unwrap(), []);
    }
    let by_doc_id = [expected[1].doc_id.to_string()];
    for files in [functions, export] {
        assert_eq!(
            comparable(&files.get_many(user, &by_doc_id).await.unwrap()),
            comparable(&expected[1..2])
        );
    }
}

#[tokio::test]
async fn files_are_deleted_once_and_only_those_of_the_user() {
    let deployment = Deployment::start().await;
    let mut documents = documents(700);
    documents.retain(|document| document["id"].is_string());
    for files in deployment.ways() {
        deployment.put(&documents).await;
        let [user, other, _] = USERS;
        let others = newest_first(&*files, other).await;
        assert!(files.any(user).await.unwrap());
        let some = files.list_ids(user, 50).await.unwrap();
        assert_eq!(some.iter().collect::<HashSet<_>>().len(), 50);
        assert_eq!(files.delete(other, &some).await.unwrap(), 0);
        assert_eq!(files.delete(user, &some).await.unwrap(), 50);
        assert_eq!(files.delete(user, &some).await.unwrap(), 0);

        let rest = files.list_ids(user, usize::MAX).await.unwrap();
        assert_eq!(rest.len(), others.len() - 50);
        assert_eq!(files.delete(user, &rest).await.unwrap(), rest.len() as u64);
        assert!(!files.any(user).await.unwrap());
        assert_eq!(newest_first(&*files, user).await, []);
        assert_eq!(
            comparable(&newest_first(&*files, other).await),
            comparable(&others)
        );
    }
}

#[tokio::test]
async fn without_functions_a_file_without_an_id_cannot_be_deleted() {
    let deployment = Deployment::start().await;
    let documents = [
        json!({ "n": 1, "user": "u" }),
        json!({ "n": 2, "user": "u", "id": "f" }),
    ];
    deployment.put(&documents).await;
    let [functions, export] = deployment.ways();
    let ids = export.list_ids("u", 10).await.unwrap();
    // First what can be deleted is, then the rest is refused.
    assert_eq!(export.delete("u", &ids).await.unwrap(), 1);
    let error = export.delete("u", &ids).await.unwrap_err();
    assert!(matches!(error, ConvexError::NeedsFunctions(_)) && !error.is_retryable());
    assert_eq!(functions.delete("u", &ids).await.unwrap(), 1);
    assert_eq!(export.delete("u", &ids).await.unwrap(), 0);
}

#[tokio::test]
async fn changes_are_told_in_order_and_once() {
    let deployment = Deployment::start().await;
    let [functions, export] = deployment.ways();
    deployment
        .put(&[json!({ "n": 1, "user": "u", "id": "old" })])
        .await;
    let since = functions.now().await.unwrap();
    let put = |n: usize, user: Option<&str>| json!({ "n": n, "user": user, "id": format!("f{n}") });
    let many: Vec<_> = (2..402).map(|n| put(n, Some("u"))).collect();
    deployment.put(&many).await;
    deployment.put(&[put(2, Some("v"))]).await;
    deployment.put(&[put(3, None)]).await;
    let doomed = functions.get_many("u", &["f4".into()]).await.unwrap();
    functions
        .delete("u", &[doomed[0].doc_id.to_string()])
        .await
        .unwrap();

    let pages: Vec<ChangePage> = export.changes(since).try_collect().await.unwrap();
    let changes: Vec<_> = pages.iter().flat_map(|page| &page.changes).collect();
    assert_eq!(changes.len(), 403);
    let FileChange::Put(first) = changes[0] else {
        panic!("{:?}", changes[0])
    };
    let json: Value = serde_json::from_slice(&first.json).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 5, "{json}");
    assert!(
        matches!(changes[400], FileChange::Put(file) if &*file.id == "f2" && &*file.user == "v")
    );
    let f3 = changes[..400].iter().find_map(|change| match change {
        FileChange::Put(file) if &*file.id == "f3" => Some(file.doc_id.clone()),
        _ => None,
    });
    assert_eq!(
        changes[401],
        &FileChange::Removed {
            doc_id: f3.unwrap()
        }
    );
    assert_eq!(
        changes[402],
        &FileChange::Removed {
            doc_id: doomed[0].doc_id.clone()
        }
    );

    let cursor = pages.last().unwrap().cursor;
    let after: Vec<ChangePage> = export.changes(cursor).try_collect().await.unwrap();
    assert!(after.len() == 1 && after[0].changes.is_empty() && after[0].cursor >= cursor);
    let expired: Result<Vec<ChangePage>, _> = export.changes(1).try_collect().await;
    assert!(
        matches!(expired, Err(ConvexError::CursorExpired { .. })),
        "{expired:?}"
    );
}

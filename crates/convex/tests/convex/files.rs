//! One user's files, by functions and by export, from the embedded deployment over HTTP.

use std::collections::{HashMap, HashSet};

use futures_util::TryStreamExt;
use serde_json::{Value, json};
use sluice_convex::files::history::DeltaBatch;
use sluice_convex::{ConvexError, File, FileChange, Files};

use crate::deployment::{BY_OWNER, Deployment};

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
    checked(batches)
}

fn checked(batches: Vec<Vec<File>>) -> Vec<File> {
    for batch in &batches {
        let bytes: usize = batch.iter().map(|file| file.json.len()).sum();
        assert!(!batch.is_empty() && batch.len() <= 512 && bytes < 3 << 20);
    }
    batches.concat()
}

/// The files in the order they come in, and that the batches are small.
async fn get_many(files: &dyn Files, user: &str, ids: &[String]) -> Vec<File> {
    let batches: Vec<Vec<File>> = files.get_many(user, ids).try_collect().await.unwrap();
    checked(batches)
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
        let got = get_many(&**files, user, &ids).await;
        assert_eq!(comparable(&got), comparable(&expected));
        assert_eq!(get_many(&**files, user, &[]).await, []);
        assert_eq!(get_many(&**files, "nobody", &ids[..1]).await, []);
    }
    // By `_id`, also of a file that has an `id`, and one twice.
    let by_doc_id = [1, 0, 1].map(|n: usize| expected[n].doc_id.to_string());
    let named = [1, 0, 1].map(|n: usize| expected[n].clone());
    for files in [functions, export] {
        let got = get_many(&*files, user, &by_doc_id).await;
        assert_eq!(comparable(&got), comparable(&named));
    }
}

#[tokio::test]
async fn an_id_goes_before_a_document_id() {
    let deployment = Deployment::start().await;
    let put = |n: usize, id: &str| json!({ "n": n, "user": "u", "id": id });
    deployment.put(&[put(1, "first")]).await;
    let [functions, export] = deployment.ways();
    let first = get_many(&*functions, "u", &["first".into()]).await;
    let ids = [first[0].doc_id.to_string()];
    for files in [&functions, &export] {
        assert_eq!(&*get_many(&**files, "u", &ids).await[0].id, "first");
    }
    deployment.put(&[put(2, &ids[0])]).await;
    for files in [&functions, &export] {
        let got = get_many(&**files, "u", &ids).await;
        assert!(got.len() == 1 && got[0].doc_id != first[0].doc_id);
    }
}

#[tokio::test]
async fn of_several_files_with_one_id_the_newest_is_got() {
    let deployment = Deployment::start().await;
    let put = |n: usize| json!({ "n": n, "user": "u", "id": format!("file-{}", n % 2) });
    for n in 0..24 {
        deployment.put(&[put(n)]).await;
    }
    // The last change is none of the newest's.
    deployment.put(&[put(0), put(1)]).await;
    let [functions, export] = deployment.ways();
    let newest = newest_first(&*functions, "u").await;
    let expected = comparable(&newest[..2]);
    let ids = ["file-1", "file-0"].map(str::to_owned);
    for files in [functions, export] {
        let got = get_many(&*files, "u", &ids).await;
        assert_eq!(comparable(&got), expected);
    }
}

/// A megabyte of the user `u`.
fn large(n: usize) -> Value {
    json!({ "n": n, "user": "u", "id": format!("file-{n}"), "thumb": "x".repeat(1_000_000) })
}

#[tokio::test]
async fn large_files_are_got_in_order_and_deleted() {
    const COUNT: usize = 20;
    let deployment = Deployment::start().await;
    for files in deployment.ways() {
        for n in 0..COUNT {
            deployment.append(&[large(n)]).await;
        }
        // In no order that the table has, and with an id that no file has.
        let mut ids: Vec<String> = (0..COUNT)
            .map(|n| format!("file-{}", n * 7 % COUNT))
            .collect();
        let expected = ids.clone();
        ids.insert(9, "nothing".into());
        let got = get_many(&*files, "u", &ids).await;
        assert!(got.iter().all(|file| file.json.len() > 1_000_000));
        let got: Vec<_> = got.into_iter().map(|file| file.id.to_string()).collect();
        assert_eq!(got, expected);

        let doomed = files.list_ids("u", usize::MAX).await.unwrap();
        assert_eq!(files.delete("u", &doomed).await.unwrap(), COUNT as u64);
        assert!(!files.any("u").await.unwrap());
    }
}

#[tokio::test]
async fn files_are_deleted_once_and_only_those_of_the_user() {
    let deployment = Deployment::start().await;
    let mut documents = documents(700);
    documents.retain(|document| document["id"].is_string());
    for files in deployment.ways() {
        deployment.put(&documents).await;
        deployment.index_by(&BY_OWNER).await;
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
    deployment.append(&documents).await;
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
async fn a_table_without_an_index_gets_one_by_owner_and_id_to_delete_by() {
    let deployment = Deployment::start().await;
    let files = ["u", "v"].map(|user| json!({ "user": user, "id": "same" }));
    deployment.append(&files).await;
    let [_, export] = deployment.ways();
    let ids = export.list_ids("v", 10).await.unwrap();
    assert_eq!(export.delete("v", &ids).await.unwrap(), 1);
    assert!(export.any("u").await.unwrap() && !export.any("v").await.unwrap());
    let import = deployment.client.import_records("files", &BY_OWNER, &files);
    import.await.unwrap();
}

#[tokio::test]
async fn deleting_through_an_index_by_id_leaves_it_and_what_others_have() {
    let deployment = Deployment::start().await;
    let documents = [
        json!({ "user": "v", "id": "shared" }),
        json!({ "id": "nobodys" }),
        json!({ "user": "u", "id": "mine" }),
        json!({ "user": "u", "id": "shared" }),
        json!({ "user": "u", "id": "nobodys" }),
        json!({ "user": "v", "id": "theirs" }),
    ];
    deployment.append(&documents).await;
    deployment.index_by(&["id"]).await;
    let [functions, export] = deployment.ways();
    let ids = export.list_ids("u", 10).await.unwrap();
    assert_eq!(export.delete("u", &ids).await.unwrap(), 1);
    let error = export.delete("u", &ids).await.unwrap_err();
    assert!(matches!(error, ConvexError::NeedsFunctions(_)), "{error}");

    let mut left: Vec<Value> = Vec::new();
    for user in ["v", "u"] {
        for file in newest_first(&*functions, user).await {
            left.push(json!({ "user": user, "id": file.id }));
        }
    }
    let [shared, _, _, own, nobodys, theirs] = &documents;
    assert_eq!(
        [theirs, shared, nobodys, own],
        *left.iter().collect::<Vec<_>>()
    );
    let import = deployment
        .client
        .import_records("files", &["id"], &documents);
    import.await.unwrap();
}

#[tokio::test]
async fn deleting_leaves_an_index_that_does_not_serve_and_asks_for_the_functions() {
    let deployment = Deployment::start().await;
    let documents = [json!({ "n": 1, "user": "u", "id": "f" })];
    deployment.put(&documents).await;
    let [functions, export] = deployment.ways();
    let ids = export.list_ids("u", 10).await.unwrap();
    let error = export.delete("u", &ids).await.unwrap_err();
    assert!(matches!(error, ConvexError::NeedsFunctions(_)) && !error.is_retryable());
    assert!(functions.any("u").await.unwrap());
    let import = deployment
        .client
        .import_records("files", &["n"], &documents);
    import.await.unwrap();
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
    let doomed = get_many(&*functions, "u", &["f4".into()]).await;
    functions
        .delete("u", &[doomed[0].doc_id.to_string()])
        .await
        .unwrap();

    let pages: Vec<DeltaBatch> = export.changes(since).try_collect().await.unwrap();
    let changes: Vec<&FileChange> = pages.iter().flat_map(|page| &page.changes).collect();
    assert_eq!(changes.len(), 403);
    let times: Vec<i64> = changes.iter().map(|change| change.ts).collect();
    assert!(times[0] > since && times.is_sorted());
    let file = |at: usize| changes[at].file.as_ref().unwrap();
    let json: Value = serde_json::from_slice(&file(0).json).unwrap();
    assert_eq!(json.as_object().unwrap().len(), 5, "{json}");
    assert_eq!((&*file(400).id, &*file(400).user), ("f2", "v"));
    let f3 = (0..400).find(|&at| &*file(at).id == "f3").unwrap();
    for (at, doc_id) in [(401, &changes[f3].doc_id), (402, &doomed[0].doc_id)] {
        assert_eq!((&changes[at].doc_id, &changes[at].file), (doc_id, &None));
    }

    let cursor = pages.last().unwrap().end.as_ref().unwrap().cursor;
    let after: Vec<DeltaBatch> = export.changes(cursor).try_collect().await.unwrap();
    assert!(after.len() == 1 && after[0].changes.is_empty());
    assert!(after[0].end.as_ref().unwrap().cursor >= cursor);
    let expired: Result<Vec<DeltaBatch>, _> = export.changes(1).try_collect().await;
    assert!(
        matches!(expired, Err(ConvexError::CursorExpired { .. })),
        "{expired:?}"
    );
}

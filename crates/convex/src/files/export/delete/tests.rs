#![allow(clippy::unwrap_used)]

use bytes::Bytes;
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::embedded::{Embedded, EmbeddedConfig};
use crate::files::document::Document;
use crate::{Client, ClientConfig};

#[tokio::test]
async fn a_deletion_that_came_too_late_leaves_nothing_behind() {
    let folder = tempfile::tempdir().unwrap();
    let embedded = Embedded::open(EmbeddedConfig::new(folder.path(), "dev:test|key")).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap())
        .parse()
        .unwrap();
    let router = embedded.router();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let files =
        ExportFiles::new(Client::new(ClientConfig::new(url, "dev:test|key".into())).unwrap());
    files.ready_index().await.unwrap();
    let documents = ["gone", "here", "kept"].map(|id| json!({ "user": "u", "id": id }));
    files
        .client
        .import_records(TABLE, &BY_OWNER, &documents[1..])
        .await
        .unwrap();
    let all = files.list_ids("u", 10).await.unwrap();

    // As if "gone" had been deleted by someone else after this one looked.
    let ids = HashSet::from(["gone".to_owned(), "here".to_owned()]);
    assert_eq!(files.delete_by(&BY_OWNER, "u", ids, &all).await.unwrap(), 1);

    let left: Vec<_> = files.newest_first("u").try_collect().await.unwrap();
    let left: Vec<_> = left.concat().into_iter().map(|file| file.id).collect();
    assert_eq!(left, ["kept".into()]);
    server.abort();
}

#[test]
fn a_file_written_anew_is_not_taken_for_a_deletion() {
    let file = |json: &'static str| {
        let document = Document::read(Bytes::from_static(json.as_bytes())).unwrap();
        document.file().unwrap().unwrap()
    };
    let deletion = r#"{"_creationTime":1,"_id":"d","_ts":1,"_deleted":false,"id":"f","user":"u"}"#;
    assert!(is_deletion(&file(deletion)));
    assert!(!is_deletion(&file(
        r#"{"_creationTime":1,"_id":"d","id":"f","size":1,"user":"u"}"#
    )));
}

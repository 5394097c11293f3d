//! The functions of the embedded store.

use reqwest::Method;
use serde_json::{Value, json};

use super::server::{Server, answer};

fn file(user: &str, n: usize) -> Value {
    json!({ "id": format!("file_{n}"), "user": user, "size": n, "filenameEnc": "x".repeat(100) })
}

fn ids(page: &Value) -> Vec<&str> {
    page.as_array()
        .unwrap()
        .iter()
        .map(|d| d["id"].as_str().unwrap())
        .collect()
}

/// All pages of a user's files.
async fn pages(server: &Server, user: &str, options: Value) -> Vec<Value> {
    let mut pages = Vec::new();
    let mut options = options;
    options["cursor"] = Value::Null;
    loop {
        let answer = server
            .query(
                "sluice:byUser",
                json!({ "user": user, "paginationOpts": options }),
            )
            .await;
        assert_eq!(answer["status"], json!("success"), "{answer}");
        let value = answer["value"].clone();
        options["cursor"] = value["continueCursor"].clone();
        let done = value["isDone"].as_bool().unwrap();
        pages.push(value["page"].clone());
        if done {
            return pages;
        }
    }
}

#[tokio::test]
async fn a_users_files_come_newest_first_in_pages() {
    let server = Server::start().await;
    let records = (0..100).map(|n| file(if n % 3 == 0 { "a" } else { "b" }, n));
    server.import("files", None, records).await;
    let pages = pages(&server, "a", json!({ "numItems": 10 })).await;
    assert_eq!(
        pages.iter().map(|page| ids(page).len()).collect::<Vec<_>>(),
        [10, 10, 10, 4]
    );
    let found: Vec<String> = pages.iter().flat_map(ids).map(str::to_owned).collect();
    let expected: Vec<String> = (0..100)
        .step_by(3)
        .rev()
        .map(|n| format!("file_{n}"))
        .collect();
    assert_eq!(found, expected);
    assert!(pages[0][0].get("_ts").is_none() && pages[0][0]["_id"].is_string());
}

#[tokio::test]
async fn a_page_stops_before_its_bytes_run_out_but_has_one_document() {
    let server = Server::start().await;
    server
        .import("files", None, (0..10).map(|n| file("a", n)))
        .await;
    let all = pages(&server, "a", json!({ "numItems": 100 })).await;
    let size = all[0][9].to_string().len();
    let counts = async |bytes: usize| {
        let pages = pages(
            &server,
            "a",
            json!({ "numItems": 100, "maximumBytesRead": bytes }),
        )
        .await;
        pages.iter().map(|page| ids(page).len()).collect::<Vec<_>>()
    };
    assert_eq!(counts(4 * size + size / 2).await, [4, 4, 2]);
    assert_eq!(counts(1).await, [1; 10]);
}

#[tokio::test]
async fn pages_stay_whole_while_files_come_and_go() {
    let server = Server::start().await;
    server
        .import("files", None, (0..6).map(|n| file("a", n)))
        .await;
    let page = async |cursor: Value| {
        let options = json!({ "numItems": 2, "cursor": cursor });
        server
            .query(
                "sluice:byUser",
                json!({ "user": "a", "paginationOpts": options }),
            )
            .await["value"]
            .clone()
    };
    let first = page(Value::Null).await;
    assert_eq!(ids(&first["page"]), ["file_5", "file_4"]);
    // The document under the cursor goes, a newer one comes.
    server
        .mutation(
            "sluice:remove",
            json!({ "user": "a", "docIds": [first["page"][1]["_id"]] }),
        )
        .await;
    server.import("files", None, [file("a", 6)]).await;
    let second = page(first["continueCursor"].clone()).await;
    assert_eq!(ids(&second["page"]), ["file_3", "file_2"]);
    let foreign = json!({ "user": "b", "paginationOpts": { "numItems": 2, "cursor": first["continueCursor"] } });
    assert_eq!(
        server.query("sluice:byUser", foreign).await["status"],
        json!("error")
    );
}

#[tokio::test]
async fn files_are_found_by_id_and_by_document_id_of_their_user_only() {
    let server = Server::start().await;
    let mut unnamed = file("a", 9);
    unnamed.as_object_mut().unwrap().remove("id");
    server
        .import(
            "files",
            None,
            [file("a", 1), file("a", 2), file("b", 3), unnamed],
        )
        .await;
    let documents = server.documents("files").await;
    let id_of = |n: f64| documents.iter().find(|d| d["size"] == json!(n)).unwrap()["_id"].clone();
    let wanted = json!([
        "file_2",
        "file_3",
        id_of(9.0),
        id_of(3.0),
        "nothing",
        "file_1"
    ]);
    let answer = server
        .query("sluice:getMany", json!({ "user": "a", "ids": wanted }))
        .await;
    let value = &answer["value"];
    assert_eq!(value["answered"], json!(6.0));
    let sizes: Vec<f64> = value["page"]
        .as_array()
        .unwrap()
        .iter()
        .map(|d| d["size"].as_f64().unwrap())
        .collect();
    assert_eq!(sizes, [2.0, 9.0, 1.0]);
}

#[tokio::test]
async fn removing_is_idempotent_and_spares_other_users() {
    let server = Server::start().await;
    server
        .import("files", None, [file("a", 1), file("a", 2), file("b", 3)])
        .await;
    let ids: Vec<Value> = server
        .documents("files")
        .await
        .iter()
        .map(|d| d["_id"].clone())
        .collect();
    let remove = async || {
        server
            .mutation("sluice:remove", json!({ "user": "a", "docIds": ids }))
            .await
    };
    assert_eq!(
        remove().await["value"],
        json!({ "deleted": 2.0, "answered": 3.0 })
    );
    assert_eq!(
        remove().await["value"],
        json!({ "deleted": 0.0, "answered": 3.0 })
    );
    let left = server.documents("files").await;
    assert_eq!((left.len(), &left[0]["user"]), (1, &json!("b")));
    assert_eq!(
        pages(&server, "a", json!({ "numItems": 5 })).await,
        [json!([])]
    );
}

#[tokio::test]
async fn of_large_files_a_call_answers_the_first_few() {
    let server = Server::start().await;
    let large = |n: usize| json!({ "id": format!("file_{n}"), "user": "a", "thumb": "x".repeat(1_000_000) });
    for n in 0..9 {
        server.import("files", None, [large(n)]).await;
    }
    let wanted: Vec<String> = (0..9).map(|n| format!("file_{n}")).collect();
    let mut doc_ids = Vec::new();
    let mut calls = Vec::new();
    while doc_ids.len() < 9 {
        let left = &wanted[doc_ids.len()..];
        let answer = server
            .query("sluice:getMany", json!({ "user": "a", "ids": left }))
            .await;
        let page = answer["value"]["page"].as_array().unwrap();
        assert_eq!(answer["value"]["answered"], json!(page.len() as f64));
        assert_eq!(ids(&answer["value"]["page"]), left[..page.len()]);
        doc_ids.extend(page.iter().map(|file| file["_id"].clone()));
        calls.push(page.len());
    }
    assert_eq!(calls, [5, 4]);
    let remove = async |ids: &[Value]| {
        let args = json!({ "user": "a", "docIds": ids });
        server.mutation("sluice:remove", args).await["value"].clone()
    };
    let some = json!({ "deleted": 5.0, "answered": 5.0 });
    assert_eq!(remove(&doc_ids).await, some);
    // What is gone costs nothing.
    let rest = json!({ "deleted": 4.0, "answered": 9.0 });
    assert_eq!(remove(&doc_ids).await, rest);
}

#[tokio::test]
async fn calls_that_go_wrong_are_answered_with_200_and_an_error() {
    let server = Server::start().await;
    let unknown = server.query("other:fn", json!({})).await;
    assert_eq!(unknown["status"], json!("error"));
    assert!(
        unknown["errorMessage"]
            .as_str()
            .unwrap()
            .contains("Could not find public function")
    );
    for (path, args) in [
        (
            "sluice:byUser",
            json!({ "user": 1, "paginationOpts": { "numItems": 1, "cursor": null } }),
        ),
        ("sluice:byUser", json!({ "user": "a" })),
        (
            "sluice:byUser",
            json!({ "user": "a", "paginationOpts": { "numItems": 0, "cursor": null } }),
        ),
        ("sluice:getMany", json!({ "user": "a", "ids": [1] })),
        ("sluice:remove", json!({ "user": "a", "docIds": [] })),
    ] {
        assert_eq!(
            server.query(path, args).await["status"],
            json!("error"),
            "{path}"
        );
    }
    let none = server
        .query(
            "sluice:byUser",
            json!({ "user": "a", "paginationOpts": { "numItems": 1, "cursor": null } }),
        )
        .await;
    assert_eq!(none["value"]["isDone"], json!(true));
}

#[tokio::test]
async fn queries_go_by_get_too_and_args_may_be_an_array() {
    let server = Server::start().await;
    server.import("files", None, [file("a", 1)]).await;
    let args = json!([{ "user": "a", "ids": ["file_1"] }]);
    let request = server
        .request(Method::GET, "/api/query")
        .query(&[("path", "sluice:getMany"), ("args", &args.to_string())]);
    let (status, body) = answer(request).await;
    let found = body["value"]["page"].as_array().unwrap().len();
    assert_eq!((status, found), (200, 1));
}

#[tokio::test]
async fn arguments_that_a_function_does_not_have_or_that_are_too_many_are_refused() {
    let server = Server::start().await;
    let args = json!({ "user": "a", "ids": [], "more": 1 });
    let refused = server.query("sluice:getMany", args).await;
    let message = refused["errorMessage"].as_str().unwrap();
    assert!(
        message.contains("ArgumentValidationError") && message.contains("`more`"),
        "{message}"
    );
    let ids: Vec<String> = (0..9_000).map(|n| n.to_string()).collect();
    let call = json!({ "path": "sluice:getMany", "args": { "user": "a", "ids": ids } });
    let (status, body) = server.post("/api/query", call).await;
    assert_eq!((status, &body["code"]), (400, &json!("ArrayTooLong")));
}

#[tokio::test]
async fn the_functions_are_there_by_their_older_names_too() {
    let server = Server::start().await;
    server.import("files", None, [file("a", 1)]).await;
    for module in ["sluice", "sluice.js", "files", "files.js"] {
        let args = json!({ "user": "a", "ids": [] });
        let answer = server.query(&format!("{module}:getMany"), args).await;
        assert_eq!(answer["value"], json!({ "page": [], "answered": 0.0 }));
    }
    for path in [
        "other:getMany",
        "getMany",
        "sluice:get",
        "sluice/files:getMany",
    ] {
        let answer = server.query(path, json!({ "user": "a", "ids": [] })).await;
        let message = answer["errorMessage"].as_str().unwrap();
        assert!(
            message.starts_with("Could not find public function"),
            "{path}"
        );
    }
}

//! How the client bears slow, broken and wrong answers.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt;
use serde_json::json;
use sluice_convex::client::{DeltasRequest, QueryEnd, SnapshotRequest};
use sluice_convex::{Client, ClientConfig, ConvexError, FilesVia, files};

use crate::scripted::{Answer, Scripted, ok, status};

const BUSY: &str = r#"{"code":"Overloaded","message":"later"}"#;

fn snapshot() -> SnapshotRequest {
    SnapshotRequest {
        table: "files".into(),
        snapshot: Some(7),
        cursor: None,
    }
}

fn page(ids: &[&str], cursor: Option<&str>) -> Answer {
    let values: Vec<_> = ids
        .iter()
        .map(|id| json!({ "_id": id, "_table": "files", "_creationTime": 1.5, "user": "u" }))
        .collect();
    ok(
        json!({ "values": values, "snapshot": 7, "cursor": cursor, "hasMore": cursor.is_some() })
            .to_string(),
    )
}

#[tokio::test]
async fn an_overloaded_server_is_asked_again() {
    let server = Scripted::start([status(503, BUSY), status(500, ""), ok("null")]).await;
    server.client(2).ping().await.unwrap();
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn retries_are_bounded() {
    let server = Scripted::start((0..5).map(|_| status(503, BUSY))).await;
    let error = server.client(2).ping().await.unwrap_err();
    assert!(
        matches!(&error, ConvexError::Status { status: 503, code, .. } if code == "Overloaded")
    );
    assert!(error.is_retryable());
    assert_eq!(server.asked().len(), 3);
}

#[tokio::test]
async fn the_server_says_when_to_come_back() {
    let wait = Answer::Plain(429, "retry-after", "1", BUSY.into());
    let server = Scripted::start([wait, ok("null")]).await;
    let started = Instant::now();
    server.client(1).ping().await.unwrap();
    assert!(started.elapsed() >= Duration::from_secs(1));
}

#[tokio::test]
async fn refusals_are_typed_and_not_repeated() {
    let refusal = |number, code| {
        status(
            number,
            json!({ "code": code, "message": "why" }).to_string(),
        )
    };
    let server = Scripted::start([
        refusal(401, "BadAdminKey"),
        refusal(403, "OperationNotPermitted"),
        refusal(400, "InvalidWindowToReadDocuments"),
        refusal(400, "BadJsonBody"),
        status(404, ""),
        Answer::Plain(302, "location", "/elsewhere", String::new()),
    ])
    .await;
    let client = server.client(4);
    let deltas = || {
        client.document_deltas(DeltasRequest {
            table: "files".into(),
            cursor: 1,
        })
    };
    let mut errors = Vec::new();
    for _ in 0..6 {
        errors.push(deltas().await.err().unwrap());
    }
    assert!(matches!(errors[0], ConvexError::Unauthorized { .. }));
    assert!(
        matches!(&errors[1], ConvexError::Forbidden { code, .. } if code == "OperationNotPermitted")
    );
    assert!(matches!(errors[2], ConvexError::CursorExpired { .. }));
    assert!(matches!(errors[3], ConvexError::Status { status: 400, .. }));
    assert!(matches!(errors[4], ConvexError::Status { status: 404, .. }));
    assert!(matches!(errors[5], ConvexError::Status { status: 302, .. }));
    assert!(errors.iter().all(|error| !error.is_retryable()));
    assert_eq!(server.asked().len(), 6);
}

#[tokio::test]
async fn every_refusal_of_the_export_has_its_type() {
    let kind = |error: ConvexError| match error {
        ConvexError::Unauthorized { .. } => "unauthorized",
        ConvexError::Forbidden { .. } => "forbidden",
        ConvexError::CursorExpired { .. } => "expired",
        ConvexError::CursorUnknown { .. } => "unknown",
        ConvexError::SnapshotTooNew { .. } => "too new",
        ConvexError::Status { .. } if error.is_retryable() => "passing",
        ConvexError::Status { .. } => "refused",
        error => panic!("{error:?}"),
    };
    for (number, code, expected) in [
        (401, "BadAdminKey", "unauthorized"),
        (403, "BadDeployKey", "forbidden"),
        (403, "OperationNotPermitted", "forbidden"),
        (403, "StreamingExportNotEnabled", "forbidden"),
        (400, "InvalidHeaderFailure", "refused"),
        (400, "InvalidAdminKey", "refused"),
        (400, "HeaderParseFailure", "refused"),
        (400, "InvalidClientVersion", "refused"),
        (400, "ClientVersionUnsupported", "refused"),
        (400, "BadQueryArgs", "refused"),
        (400, "BadJsonBody", "refused"),
        (400, "BadFormat", "refused"),
        (400, "InvalidListSnapshotCursor", "unknown"),
        (400, "DocumentDeltasCursorRequired", "unknown"),
        (400, "SnapshotTooNew", "too new"),
        (400, "SnapshotTooOld", "expired"),
        (400, "InvalidWindowToReadDocuments", "expired"),
        (408, "", "passing"),
        (429, "TooManyRequests", "passing"),
        (500, "InternalServerError", "passing"),
        (503, "InternalServerError", "passing"),
    ] {
        let body = json!({ "code": code, "message": "why" }).to_string();
        let server = Scripted::start([status(number, body)]).await;
        let error = server.client(0).list_snapshot(snapshot()).await.err();
        assert_eq!(kind(error.unwrap()), expected, "{number} {code}");
    }
}

#[tokio::test]
async fn silence_ends_an_attempt() {
    let server = Scripted::start([
        Answer::Silent,
        ok("null"),
        Answer::Silent,
        Answer::Stuck("nu"),
    ])
    .await;
    server.client(1).ping().await.unwrap();
    for _ in 0..2 {
        let error = server.client(0).ping().await.unwrap_err();
        assert!(
            matches!(error, ConvexError::Timeout(_)) && error.is_retryable(),
            "{error}"
        );
    }
}

#[tokio::test]
async fn nobody_listening_is_retryable() {
    // Bound and closed again, so that nothing else has the port.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut config = ClientConfig::new(url.parse().unwrap(), "s3cret".into());
    config.retries = 1;
    let error = Client::new(config).unwrap().ping().await.unwrap_err();
    assert!(
        matches!(error, ConvexError::Transport(_)) && error.is_retryable(),
        "{error}"
    );
}

#[tokio::test]
async fn a_page_begins_anew_until_a_document_was_given() {
    for broken in [
        Answer::Broken(r#"{"values":[{"_id":"#),
        Answer::Stuck(r#"{"values":["#),
    ] {
        let server = Scripted::start([broken, page(&["a", "b"], None)]).await;
        let mut rows = server.client(1).list_snapshot(snapshot()).await.unwrap();
        assert!(rows.next().await.unwrap().is_some());
        assert!(rows.next().await.unwrap().is_some());
        assert!(rows.next().await.unwrap().is_none());
        assert_eq!(rows.finish().await.unwrap().cursor, None);
        assert_eq!(server.asked().len(), 2);
    }
}

#[tokio::test]
async fn a_page_that_breaks_later_is_the_callers_to_ask_for_again() {
    let server = Scripted::start([Answer::Broken(r#"{"values":[{"_id":"a"},{"_id""#)]).await;
    let mut rows = server.client(4).list_snapshot(snapshot()).await.unwrap();
    assert_eq!(&rows.next().await.unwrap().unwrap()[..], br#"{"_id":"a"}"#);
    assert!(rows.next().await.unwrap_err().is_retryable());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn a_page_read_whole_has_each_document_once_however_it_broke() {
    let server = Scripted::start([
        Answer::Broken(r#"{"values":[{"_id":"a"},{"_id""#),
        // Cut short, but the connection ends well.
        ok(r#"{"values":[{"_id":"a"},{"_id":"b"}"#),
        page(&["a", "b"], Some("next")),
    ])
    .await;
    let rows = server.client(2).list_snapshot(snapshot()).await.unwrap();
    let (rows, end) = rows.page().await.unwrap();
    assert_eq!(
        (rows.len(), end.snapshot, end.cursor.as_deref()),
        (2, 7, Some("next"))
    );
}

#[tokio::test]
async fn what_is_no_page_is_malformed_and_not_asked_for_again() {
    let huge = format!(r#"{{"values":[{{"a":"{}"}}]}}"#, "x".repeat(9 << 20));
    let bodies = [
        "<html>busy</html>",
        "[]",
        r#"{"values":[]}"#,
        r#"{"values":[3]}"#,
        r#"{"values":[],"snapshot":1.5,"cursor":null,"hasMore":false}"#,
        r#"{"values":[],"snapshot":1,"cursor":null,"hasMore":true}"#,
        &huge,
    ];
    let server = Scripted::start(bodies.map(ok)).await;
    for body in bodies {
        let rows = server.client(4).list_snapshot(snapshot()).await.unwrap();
        let error = rows.page().await.unwrap_err();
        let body = &body[..body.len().min(60)];
        assert!(
            matches!(error, ConvexError::Malformed(_)),
            "{body}: {error}"
        );
    }
    assert_eq!(server.asked().len(), bodies.len());
}

#[tokio::test]
async fn functions_that_fail_and_functions_that_are_missing_are_told_apart() {
    let message = "Could not find public function for 'files:byUser'. Did you forget to run it?";
    let missing = json!({ "status": "error", "errorMessage": message });
    let failed = json!({ "status": "error", "errorMessage": "Uncaught Error: no", "logLines": [] });
    let server = Scripted::start([
        ok(missing.to_string()),
        status(560, missing.to_string()),
        ok(failed.to_string()),
        ok(r#"{"status":"success","value":{"deleted":3.0}}"#),
    ])
    .await;
    let client = server.client(4);
    for expected_missing in [true, true, false] {
        let args = json!({});
        let rows = client.query::<QueryEnd>("files:byUser", &args).await;
        match rows.unwrap().page().await.unwrap_err() {
            ConvexError::FunctionMissing { path } => {
                assert!(expected_missing && path == "files:byUser")
            }
            ConvexError::Function { message, .. } => {
                assert!(!expected_missing && message == "Uncaught Error: no")
            }
            other => panic!("{other}"),
        }
    }
    let value: serde_json::Value = client.mutation("files:remove", &json!({})).await.unwrap();
    assert_eq!(value, json!({ "deleted": 3.0 }));
    assert_eq!(server.asked().len(), 4);
}

#[tokio::test]
async fn the_key_goes_into_the_header_and_nowhere_else() {
    let server = Scripted::start([ok("null"), status(401, "{}")]).await;
    let config = ClientConfig::new(server.url.parse().unwrap(), "prod:cat|s3cret".into());
    let client = server.client(0);
    client.ping().await.unwrap();
    let asked = &server.asked()[0];
    assert_eq!(asked.headers["authorization"], "Convex prod:cat|s3cret");
    assert!(
        asked.headers["convex-client"]
            .to_str()
            .unwrap()
            .starts_with("sluice-")
    );
    let refused = client.ping().await.unwrap_err();
    let gone = Client::new(ClientConfig {
        url: "http://127.0.0.1:1/?q=s3cret".parse().unwrap(),
        retries: 0,
        ..config.clone()
    });
    let gone = gone.unwrap().ping().await.unwrap_err();
    let shown = format!(
        "{asked} {config:?} {client:?} {refused} {refused:?} {gone} {gone:?}",
        asked = asked.path
    );
    assert!(!shown.contains("s3cret"), "{shown}");
    let unfit = Client::new(ClientConfig {
        deploy_key: "s3cret\n".into(),
        ..config
    })
    .unwrap_err();
    assert!(!unfit.to_string().contains("s3cret"));
}

#[tokio::test]
async fn a_walk_asks_again_for_a_page_that_breaks_and_loses_nothing() {
    let server = Scripted::start([
        page(&[], None),
        page(&["a"], Some("p2")),
        Answer::Broken(
            r#"{"values":[{"_id":"b","_table":"files","_creationTime":1.5,"user":"u"},{"#,
        ),
        page(&["b", "c"], None),
    ])
    .await;
    let files = files(server.client(0), FilesVia::Export);
    let batches: Vec<_> = files.newest_first("u").try_collect().await.unwrap();
    let ids: Vec<_> = batches.concat().into_iter().map(|file| file.id).collect();
    assert_eq!(ids, ["c".into(), "b".into(), "a".into()]);
    let asked = server.asked();
    assert_eq!(asked[3].body["cursor"], "p2");
    assert_eq!(asked[3].body["snapshot"], 7);
}

#[tokio::test]
async fn auto_looks_for_the_functions_once() {
    let missing =
        r#"{"status":"error","errorMessage":"Could not find public function for 'files:getMany'"}"#;
    let there = r#"{"status":"success","value":{"page":[],"answered":0.0}}"#;
    let none = r#"{"status":"success","value":{"page":[],"isDone":true,"continueCursor":"e"}}"#;

    let server = Scripted::start([
        status(503, BUSY),
        ok(missing),
        ok(missing),
        page(&[], None),
        page(&["a"], None),
        page(&[], None),
        page(&[], None),
    ])
    .await;
    let export = files(server.client(0), FilesVia::Auto);
    assert!(export.any("u").await.unwrap_err().is_retryable());
    assert!(export.any("u").await.unwrap());
    assert!(!export.any("u").await.unwrap());
    let asked = server.asked();
    assert_eq!(
        asked
            .iter()
            .filter(|asked| asked.path == "/api/query")
            .count(),
        3
    );

    let server = Scripted::start([ok(there), ok(none), ok(none)]).await;
    let functions = files(server.client(0), FilesVia::Auto);
    assert!(!functions.any("u").await.unwrap());
    assert!(!functions.any("u").await.unwrap());
    let paths: Vec<_> = server
        .asked()
        .into_iter()
        .map(|a| a.body["path"].clone())
        .collect();
    assert_eq!(paths, ["sluice:getMany", "sluice:byUser", "sluice:byUser"]);
}

#[tokio::test]
async fn functions_are_known_by_their_answer_and_not_by_their_name_alone() {
    let missing = r#"{"status":"error","errorMessage":"Could not find public function"}"#;
    let there = r#"{"status":"success","value":{"page":[],"answered":0.0}}"#;
    let none = r#"{"status":"success","value":{"page":[],"isDone":true,"continueCursor":"e"}}"#;

    // Deployed under the names of before.
    let server = Scripted::start([ok(missing), ok(there), ok(none)]).await;
    let older = files(server.client(0), FilesVia::Auto);
    assert!(!older.any("u").await.unwrap());
    assert_eq!(server.asked()[2].body["path"], "files:byUser");

    // The application's own.
    for own in [
        r#"{"status":"error","errorMessage":"ArgumentValidationError: Object is missing `ids`"}"#,
        r#"{"status":"success","value":[]}"#,
        r#"{"status":"success","value":null}"#,
        r#"{"status":"success","value":{"page":[]}}"#,
        r#"{"status":"success","value":{"page":[],"answered":0.0,"more":false}}"#,
        r#"{"status":"success","value":{"page":[{"_id":"a"}],"answered":0.0}}"#,
        r#"{"status":"success","value":{"page":[],"isDone":true,"continueCursor":"e"}}"#,
    ] {
        for answers in [[missing, own], [own, missing]] {
            let mut script: Vec<_> = answers.map(ok).into();
            script.extend([page(&[], None), page(&["a"], None)]);
            let server = Scripted::start(script).await;
            let export = files(server.client(0), FilesVia::Auto);
            assert!(export.any("u").await.unwrap(), "{own}");

            let server = Scripted::start(answers.map(ok)).await;
            let functions = files(server.client(0), FilesVia::Functions);
            let error = functions.any("u").await.unwrap_err();
            assert!(
                matches!(error, ConvexError::ForeignFunction { .. }),
                "{own}"
            );
            assert!(!error.is_retryable());
            assert!(error.to_string().contains("files_via"), "{error}");
        }
    }

    // Neither; and what is no answer decides nothing.
    let server = Scripted::start([
        ok(missing),
        ok(missing),
        ok(missing),
        status(503, BUSY),
        ok(there),
        ok(none),
    ])
    .await;
    let functions = files(server.client(0), FilesVia::Functions);
    let error = functions.any("u").await.unwrap_err();
    assert!(matches!(error, ConvexError::FunctionMissing { .. }));
    assert!(error.to_string().contains("files_via"), "{error}");
    assert!(functions.any("u").await.unwrap_err().is_retryable());
    assert!(!functions.any("u").await.unwrap());
}

#[tokio::test]
async fn what_a_function_leaves_over_is_asked_for_again() {
    let success =
        |value: serde_json::Value| ok(json!({ "status": "success", "value": value }).to_string());
    let file = |id: &str| json!({ "_id": id, "_creationTime": 1.5, "user": "u" });
    let server = Scripted::start([
        success(json!({ "page": [], "answered": 0.0 })),
        success(json!({ "page": [file("a")], "answered": 2.0 })),
        success(json!({ "page": [file("c")], "answered": 1 })),
        success(json!({ "deleted": 1.0, "answered": 2.0 })),
        success(json!({ "deleted": 1.0, "answered": 1.0 })),
        success(json!({ "page": [], "answered": 0 })),
        success(json!({ "deleted": 0, "answered": 4 })),
    ])
    .await;
    let files = files(server.client(0), FilesVia::Functions);
    let ids = ["a", "b", "c"].map(str::to_owned);
    let got: Vec<_> = files.get_many("u", &ids).try_collect().await.unwrap();
    let got: Vec<_> = got.concat().into_iter().map(|file| file.id).collect();
    assert_eq!(got, ["a".into(), "c".into()]);
    assert_eq!(files.delete("u", &ids).await.unwrap(), 2);
    let asked: Vec<_> = server.asked().into_iter().map(|call| call.body).collect();
    let named = |name: &str| {
        asked
            .iter()
            .filter_map(|b| b["args"].get(name).cloned())
            .collect::<Vec<_>>()
    };
    let expected = [json!([]), json!(["a", "b", "c"]), json!(["c"])];
    assert_eq!(named("ids"), expected);
    assert_eq!(named("docIds"), [json!(["a", "b", "c"]), json!(["c"])]);

    // Neither nothing nor more than all can be an answer.
    let got: Result<Vec<_>, _> = files.get_many("u", &ids).try_collect().await;
    assert!(matches!(got, Err(ConvexError::Malformed(_))), "{got:?}");
    let deleted = files.delete("u", &ids).await;
    assert!(
        matches!(deleted, Err(ConvexError::Malformed(_))),
        "{deleted:?}"
    );
}

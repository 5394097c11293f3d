use axum::body::BodyDataStream;
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use sluice_api::auth::Scope;
use tower::ServiceExt as _;

use crate::app::{App, LONG, get, token};
use crate::documents::{ALL, at, call, create};

/// The events of one document as a client reads them.
struct Events {
    stream: BodyDataStream,
    text: String,
}

impl Events {
    async fn open(app: &App, id: &str, last_event_id: Option<&str>) -> Self {
        let mut request = get(&at(&format!("{id}/events")), &token(&[Scope::DocsRead]));
        if let Some(last) = last_event_id {
            let headers = request.headers_mut();
            headers.insert("last-event-id", last.parse().unwrap());
        }
        let response = app.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), 200);
        Self {
            stream: response.into_body().into_data_stream(),
            text: String::new(),
        }
    }

    /// The next event's name, id and data; none at the end.
    async fn next(&mut self) -> Option<(String, String, Value)> {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    let line = event.lines().find_map(|line| line.strip_prefix(name));
                    line.unwrap_or_default().to_owned()
                };
                let data = serde_json::from_str(&field("data: "));
                if let Ok(data) = data {
                    return Some((field("event: "), field("id: "), data));
                }
            } else {
                let chunk = tokio::time::timeout(LONG, self.stream.next());
                let chunk = chunk.await.expect("no event")?.unwrap();
                self.text += std::str::from_utf8(&chunk).unwrap();
            }
        }
    }

    async fn expect(&mut self, name: &str, id: &str) -> Value {
        let (its_name, its_id, data) = self.next().await.expect("no more events");
        // The id is the revision, with when the document was created.
        let version = match id {
            "" => String::new(),
            revision => format!("{revision}-{}", data["createdAt"]),
        };
        assert_eq!((its_name.as_str(), its_id), (name, version));
        data
    }
}

#[tokio::test]
async fn a_watched_document_streams_what_it_is_and_every_change() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 1})).await;
    let mut events = Events::open(&app, "a", None).await;
    let present = events.expect("present", "1").await;
    assert_eq!(present, app.get(&at("a"), ALL).await.json());

    call(&app, "PUT", &at("a"), &json!({"data": {"n": 2}})).await;
    let changed = events.expect("change", "2").await;
    assert_eq!(changed, app.get(&at("a"), ALL).await.json());
    call(&app, "DELETE", &at("a"), &Value::Null).await;
    assert_eq!(events.expect("change", "3").await["deleted"], true);
    call(&app, "POST", &at("a/restore"), &Value::Null).await;
    assert_eq!(events.expect("change", "4").await["data"]["n"], 2);
}

#[tokio::test]
async fn a_stream_goes_on_after_the_last_event_that_was_seen() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({"n": 1})).await;
    for n in 2..=20 {
        call(&app, "PUT", &at("a"), &json!({"data": {"n": n}})).await;
    }
    let mut events = Events::open(&app, "a", Some("3")).await;
    for n in 4..=20 {
        assert_eq!(
            events.expect("change", &n.to_string()).await["data"]["n"],
            n
        );
    }
    for none_of_it in [
        "21",
        "20-1",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        let mut events = Events::open(&app, "a", Some(none_of_it)).await;
        events.expect("reset", "20").await;
    }
}

#[tokio::test]
async fn the_end_of_a_document_ends_its_stream() {
    let app = App::start_with_json().await;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let soon = now.unwrap().as_millis() as u64 + 500;
    let body = json!({"id": "a", "data": {}, "expiresAt": soon});
    call(&app, "POST", "/api/sync/session/documents", &body).await;
    let mut events = Events::open(&app, "a", None).await;
    events.expect("present", "1").await;
    let gone = events.expect("gone", "").await;
    assert_eq!(gone, json!({"service": "session", "id": "a"}));
    assert!(events.next().await.is_none());
    let again = app.get(&at("a/events"), ALL).await;
    assert_eq!(again.error(), (404, "not_found".into()));
}

#[tokio::test]
async fn a_shutdown_ends_the_streams_of_documents() {
    let app = App::start_with_json().await;
    create(&app, "a", json!({})).await;
    let mut events = Events::open(&app, "a", None).await;
    events.expect("present", "1").await;
    app.shutdown.cancel();
    assert!(events.next().await.is_none());
}
